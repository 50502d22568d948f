// The page's parts by their names, and what is written into them.

/** @param {string} id @returns {HTMLElement} */
export function part(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found;
}

/** @param {string} id */
export function button(id) {
  return /** @type {HTMLButtonElement} */ (part(id));
}

/** @param {string} id */
export function field(id) {
  return /** @type {HTMLInputElement} */ (part(id));
}

/** @param {string} id */
export function choice(id) {
  return /** @type {HTMLSelectElement} */ (part(id));
}

/** @param {string} id */
export function canvas(id) {
  return /** @type {HTMLCanvasElement} */ (part(id));
}

/** @param {string} id @param {string} words */
export function put(id, words) {
  const place = part(id);
  if (place.textContent !== words) place.textContent = words;
}

/** @param {string} id @param {string} value */
export function setUnlessTyping(id, value) {
  const input = field(id);
  if (document.activeElement !== input) input.value = value;
}

/** @template {keyof HTMLElementTagNameMap} Tag @param {Tag} tag @param {string} words */
export function element(tag, words) {
  const made = document.createElement(tag);
  made.textContent = words;
  if (made instanceof HTMLButtonElement) made.type = "button";
  return made;
}

/** @param {string} words */
export function none(words) {
  const line = element("li", words);
  line.className = "none";
  return line;
}

/** @param {string} id @param {[string, string][]} pairs */
export function definitions(id, pairs) {
  const list = part(id);
  const stamp = JSON.stringify(pairs);
  if (list.dataset.stamp === stamp) return;
  list.dataset.stamp = stamp;
  list.replaceChildren(...pairs.flatMap(([name, words]) => [element("dt", name), element("dd", words)]));
}

/** @param {string} words @returns {Promise<boolean>} */
export function asks(words) {
  const dialog = /** @type {HTMLDialogElement} */ (part("question"));
  put("question-words", words);
  dialog.showModal();
  return new Promise((resolve) => {
    let said = false;
    part("question-yes").onclick = () => {
      said = true;
      dialog.close();
    };
    part("question-no").onclick = () => dialog.close();
    dialog.onclose = () => resolve(said);
  });
}
