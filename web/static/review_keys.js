// Keys of the case's page: one table for what they do and for the dialog that explains them.

import { element, part } from "./setup_dom.js";

/** @typedef {{keys: string[], name: string, does: string, press: (shift: boolean) => void, repeats?: boolean, when?: () => boolean}} Key */

/** @param {Key[]} table of several entries for a key the first counts whose ``when`` holds */
export function listen(table) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isWriting(event) || isOfElement(event)) return;
    if (/** @type {HTMLDialogElement} */ (part("keys")).open) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const entry = table.find((one) => one.keys.includes(key) && (one.when?.() ?? true));
    if (entry === undefined) return;
    event.preventDefault();
    if (event.repeat && !entry.repeats) return;
    entry.press(event.shiftKey);
  });
  const told = table.filter((entry, i) => table.findIndex((one) => one.does === entry.does) === i);
  part("keys-list").replaceChildren(...told.map(explained));
}

/**
 * What is typed is no order.
 * @param {KeyboardEvent} event
 */
function isWriting({ target, key }) {
  if (key === "Escape") return false;
  return target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}

/**
 * Space and Enter press the button that has the focus, arrows go from tab to tab.
 * @param {KeyboardEvent} event
 */
function isOfElement({ target, key }) {
  if (!(target instanceof HTMLElement)) return false;
  if (target.getAttribute("role") === "tab" && /^Arrow/.test(key)) return true;
  return (key === " " || key === "Enter") && target.closest("button, a, summary") !== null;
}

/** @param {Key} entry */
function explained(entry) {
  const row = element("tr", "");
  const key = element("td", "");
  key.append(element("kbd", entry.name));
  row.append(key, element("td", entry.does));
  return row;
}
