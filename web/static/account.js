// Who looks at this page, told in its footer, with a way to log out and in again. `data-role` on the body says what the
// log-in may do: "viewer", "operator", or "none" while nobody is logged in. What gives orders is a button.order.

/** The code that the live line closes with where nobody is logged in any more. */
export const LOGGED_OUT = 4401;

// And back to this page; asked for on purpose, also by somebody who is logged in.
const LOG_IN = `login.html?anew&next=${encodeURIComponent(location.pathname.slice(1))}`;

/** @typedef {{account: string | null, role: "viewer" | "operator" | null}} Me */

export class Account {
  /** @param {HTMLElement} place where it is told */
  constructor(place) {
    this.loggedOut = false;
    this.place = place;
    void this.ask();
  }

  /**
   * The live line has closed, or works again.
   * @param {boolean} loggedOut whether it closed because nobody is logged in
   */
  note(loggedOut) {
    if (loggedOut === this.loggedOut) return;
    this.loggedOut = loggedOut;
    if (loggedOut) this.show({ account: null, role: null });
    else void this.ask();
  }

  async ask() {
    const answer = await fetch("me").catch(() => null);
    // Without an answer the live line tells what is wrong.
    if (answer?.ok) this.show(await answer.json());
  }

  /** @param {Me} me */
  show(me) {
    document.body.dataset.role = me.role ?? "none";
    for (const button of document.querySelectorAll("button.order")) {
      /** @type {HTMLButtonElement} */ (button).disabled = me.role === "viewer";
    }
    if (me.role === null) {
      this.place.replaceChildren("Logged out.", logInLink("Log in"));
    } else if (me.account === null) {
      // On the service's own machine nobody logs in, and nobody is told of it.
      this.place.replaceChildren();
    } else if (me.role === "viewer") {
      this.place.replaceChildren(`${me.account} sees only`, logInLink("Log in as operator"), this.logOutButton());
    } else {
      this.place.replaceChildren(`${me.account} may give orders`, this.logOutButton());
    }
  }

  logOutButton() {
    const button = document.createElement("button");
    button.id = "log-out";
    button.type = "button";
    button.textContent = "Log out";
    button.addEventListener("click", () => void this.logOut());
    return button;
  }

  async logOut() {
    const answer = await fetch("logout", { method: "POST" }).catch(() => null);
    // A fresh page: nothing of the patient is left on it, and nothing sounds any more.
    if (answer?.ok) location.assign(LOG_IN);
  }
}

/** @param {string} words */
function logInLink(words) {
  const link = document.createElement("a");
  link.id = "log-in";
  link.href = LOG_IN;
  link.textContent = words;
  return link;
}
