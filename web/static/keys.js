// Keys and foot pedals, which are keyboards: one table for what they do and for the page that explains them.

import { make, part } from "./dom.js";

/**
 * @typedef {{keys: string[], pedal?: string, does: string, press?: () => void, hold?: import("./hold.js").Hold}} Key
 * ``keys``: as KeyboardEvent.key has them, letters small. ``hold``: acts only where it is held.
 */

/**
 * Listen for the keys of a table and explain them in the dialog.
 * @param {Key[]} table
 */
export function listen(table) {
  const known = new Map(table.flatMap((entry) => entry.keys.map((key) => [key, entry])));
  // On the window and before any element: whatever has the focus, a dialog or a button, no key is lost to it.
  window.addEventListener(
    "keydown",
    (event) => {
      const entry = known.get(nameOf(event));
      if (entry === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      if (event.repeat) return;
      entry.press?.();
      entry.hold?.press();
    },
    true,
  );
  window.addEventListener("keyup", (event) => known.get(nameOf(event))?.hold?.release(), true);
  // A key that is let go of in another window is never told of.
  window.addEventListener("blur", () => table.forEach((entry) => entry.hold?.release()));
  // A finger leaves no focus behind: Enter or Space of a pedal would press what was touched last.
  window.addEventListener("mousedown", (event) => {
    if (event.target instanceof Element && event.target.closest("button")) event.preventDefault();
  });
  part("keys-list").replaceChildren(...table.map(explained));
}

/**
 * The key's own name, or that of its place on a keyboard of another script.
 * @param {KeyboardEvent} event
 */
function nameOf(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const isForeignLetter = key.length === 1 && key > "\u007f";
  return isForeignLetter && event.code.startsWith("Key") ? event.code.slice(3).toLowerCase() : key;
}

/** @param {Key} entry */
function explained(entry) {
  const row = make("tr");
  const key = make("td");
  key.append(make("kbd", entry.keys[0].length === 1 ? entry.keys[0].toUpperCase() : entry.keys[0]));
  row.append(key, make("td", entry.pedal ?? ""), make("td", entry.hold === undefined ? entry.does : `${entry.does} (hold)`));
  return row;
}
