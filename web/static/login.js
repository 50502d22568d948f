// Logs in by a name and its password, or by a token; then on to the page that was asked for.

export {};

// Another page of this service and nothing else: what stands in the address may come from anybody.
const OWN_PAGE = /^[a-z0-9-]+\.html$/;

const asked = new URLSearchParams(location.search);
const said = /** @type {HTMLElement} */ (document.getElementById("said"));

for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void logIn(form);
  });
}
// Who is logged in already was sent here by a link from elsewhere, which brings no cookie; a page's own says "anew".
if (!asked.has("anew") && (await isLoggedIn())) goOn();

async function isLoggedIn() {
  try {
    return (await (await fetch("me")).json()).role !== null;
  } catch {
    return false;
  }
}

/** @param {HTMLFormElement} form */
async function logIn(form) {
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
  button.disabled = true;
  say("");
  try {
    const answer = await fetch("login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(Object.fromEntries(new FormData(form))),
    });
    if (answer.ok) {
      goOn();
      return;
    }
    const { error, wait_s: waitS } = await answer.json();
    say(waitS === undefined ? `${capital(error)}.` : `${capital(error)}. Try again in ${waitS} s.`);
  } catch {
    say("The server does not answer. Try again.");
  } finally {
    button.disabled = false;
  }
  const secret = /** @type {HTMLInputElement} */ (form.querySelector("input[type=password]"));
  secret.value = "";
  secret.focus();
}

function goOn() {
  const next = asked.get("next") ?? "";
  location.replace(OWN_PAGE.test(next) ? next : "./");
}

function say(/** @type {string} */ words) {
  said.textContent = words;
}

function capital(/** @type {string} */ words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}
