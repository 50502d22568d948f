// The list of recorded cases: searched as it is typed, reached by keys.

import { Account } from "./account.js";
import { showLive } from "./review_live.js";
import * as server from "./review_server.js";
import { clock, dateWords, kindWords, sizeWords, sourceWords } from "./review_words.js";
import { choice, element, field, part, put } from "./setup_dom.js";

/** @typedef {import("./review_server.js").Entry} Entry */

const ANY = "";
const NO_ALERT = "none";
const SOME_ALERT = "any";
const STATES = /** @type {Record<string, string>} */ ({
  complete: "complete",
  recording: "being recorded",
  broken_off: "broke off",
});

/** @type {Entry[]} */
let entries = [];

new Account(part("account"));
void showLive();
part("search").addEventListener("input", show);
part("search").addEventListener("change", show);
part("search").addEventListener("reset", () => setTimeout(show));
part("search").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("keydown", move);
try {
  entries = await server.cases();
  fillChoices();
  show();
} catch (error) {
  put("count", error instanceof Error ? error.message : String(error));
}

function fillChoices() {
  const tags = [...new Set(entries.flatMap((entry) => entry.tags))].sort();
  const kinds = [...new Set(entries.flatMap((entry) => Object.keys(entry.alerts)))].sort();
  fill("tag", [[ANY, "any"], ...tags.map((tag) => /** @type {[string, string]} */ ([tag, tag]))]);
  fill("alert", [
    [ANY, "all cases"],
    [SOME_ALERT, "with an alert"],
    [NO_ALERT, "without an alert"],
    ...kinds.map((kind) => /** @type {[string, string]} */ ([kind, kindWords(kind)])),
  ]);
}

/** @param {string} id @param {[string, string][]} options */
function fill(id, options) {
  choice(id).replaceChildren(...options.map(([value, words]) => new Option(words, value)));
}

function show() {
  const found = entries.filter(isWanted);
  put("count", `${found.length} of ${entries.length} cases`);
  part("cases").replaceChildren(...found.map(row));
}

/** @param {Entry} entry */
function isWanted(entry) {
  const text = [entry.id, entry.source, ...entry.tags, dateWords(entry.began)].join(" ").toLowerCase();
  const wanted = field("words").value.toLowerCase().split(/\s+/);
  const day = dateWords(entry.began).slice(0, 10);
  const [from, to] = [field("from").value, field("to").value];
  const minutes = entry.duration_s / 60;
  const [least, most] = [field("least").value, field("most").value];
  const tag = choice("tag").value;
  return (
    wanted.every((word) => text.includes(word)) &&
    (from === "" || day >= from) &&
    (to === "" || day <= to) &&
    (tag === ANY || entry.tags.includes(tag)) &&
    (least === "" || minutes >= Number(least)) &&
    (most === "" || minutes <= Number(most)) &&
    hasWantedAlert(entry)
  );
}

/** @param {Entry} entry */
function hasWantedAlert(entry) {
  const wanted = choice("alert").value;
  const kinds = Object.keys(entry.alerts);
  if (wanted === SOME_ALERT) return kinds.length > 0;
  if (wanted === NO_ALERT) return kinds.length === 0;
  return wanted === ANY || kinds.includes(wanted);
}

/** @param {Entry} entry */
function row(entry) {
  const line = element("tr", "");
  const link = element("a", dateWords(entry.began));
  link.href = `review-case.html#${encodeURIComponent(entry.id)}`;
  link.title = entry.id;
  const first = element("th", "");
  first.scope = "row";
  first.append(link);
  const alerts = Object.entries(entry.alerts).map(([kind, count]) => `${kindWords(kind)}${count > 1 ? ` ×${count}` : ""}`);
  const state = `${STATES[entry.state] ?? entry.state}${entry.keep ? ", kept" : ""}`;
  const words = [
    clock(entry.duration_s),
    sourceWords(entry.source),
    alerts.join(", ") || "none raised",
    entry.tags.join(", "),
    state,
    sizeWords(entry.bytes),
  ];
  line.append(first, ...words.map((text) => element("td", text)));
  return line;
}

/**
 * Up and down go from case to case, / to the search.
 * @param {KeyboardEvent} event
 */
function move(event) {
  const inField = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  if (event.key === "/" && !inField) {
    event.preventDefault();
    field("words").focus();
    return;
  }
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  // In a choice or a number these keys have their own meaning.
  if (by === undefined || (inField && event.target !== field("words"))) return;
  const links = /** @type {HTMLElement[]} */ ([...part("cases").querySelectorAll("a")]);
  if (links.length === 0) return;
  event.preventDefault();
  const now = links.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  links[Math.min(Math.max(now + by, 0), links.length - 1)].focus();
}
