// The page's parts, written only where they differ: it is told the same thing many times a second.

/** @param {string} id @returns {HTMLElement} */
export function part(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no part named ${id}`);
  return element;
}

/** @param {string} id @returns {HTMLCanvasElement} */
export function canvas(id) {
  return /** @type {HTMLCanvasElement} */ (part(id));
}

/** @param {Element} element @param {string} words */
export function put(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

/** @param {Element} element @param {string} name @param {string} value */
export function mark(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * Give an element these children, only where they differ from what it shows.
 * @param {HTMLElement} element @param {unknown} content what decides whether they differ
 * @param {() => Element[]} children
 */
export function rebuild(element, content, children) {
  const stamp = JSON.stringify(content);
  if (element.dataset.stamp === stamp) return;
  element.dataset.stamp = stamp;
  element.replaceChildren(...children());
}

/** @param {string} tag @param {string} [words] @param {string} [name] @returns {HTMLElement} */
export function make(tag, words = "", name = "") {
  const element = document.createElement(tag);
  element.textContent = words;
  if (name) element.className = name;
  return element;
}

/**
 * Write a button's words and leave its key.
 * @param {HTMLElement} button @param {string} words
 */
export function label(button, words) {
  const text = button.firstChild;
  if (text !== null && text.nodeValue !== `${words} `) text.nodeValue = `${words} `;
}

/**
 * An age as it is read.
 * @param {number} ageMs
 */
export function ageWords(ageMs) {
  if (!Number.isFinite(ageMs)) return "";
  if (ageMs < 1000) return `${(Math.round(ageMs / 10) * 10).toFixed(0)} ms`;
  if (ageMs < 60_000) return `${(ageMs / 1000).toFixed(ageMs < 10_000 ? 1 : 0)} s`;
  return `${Math.floor(ageMs / 60_000)} min ${Math.floor((ageMs % 60_000) / 1000)} s`;
}
