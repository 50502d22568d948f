// What the parts of the setup page share: what is drawn, on which pictures, and what was last heard.

import { put, part } from "./setup_dom.js";
import { History } from "./setup_history.js";
import * as plans from "./setup_plan.js";

/** @typedef {import("./setup_plan.js").Setup} Setup */
/** @typedef {import("./setup_plan.js").View} View */

const USUAL_FIELD_MM = 160;

/**
 * `shown`: what the board shows. `slot`: the view of pictures whose view nobody knows. `heard`: the newest words from the
 * server. `seen`: the findings of the newest picture. `widths`: of needles lately, in pixels. `faults`: of what is drawn.
 * `plan`: the version that is in use, and the last pulse before it was. `board` and `refresh`, which shows everything anew, are there once the page is.
 * @type {{history: History<Setup>, pictures: import("./setup_plan.js").Pictures, shown: View | "live", slot: View, tab: string,
 *         heard: any, seen: any, plan: {version: string | null, since: number}, liveBitmap: ImageBitmap | null, widths: number[],
 *         faults: import("./setup_checks.js").Fault[], board: import("./setup_board.js").Board, refresh: () => void}}
 */
export const desk = {
  history: new History(plans.NOTHING),
  pictures: {},
  shown: "live",
  slot: "ap",
  tab: "zones",
  heard: null,
  seen: null,
  plan: { version: null, since: -1 },
  liveBitmap: null,
  widths: [],
  faults: [],
  board: /** @type {any} */ (null),
  refresh: () => {},
};

/** @param {View | "live"} view */
export function zonesOf(view) {
  return desk.history.present.zones.filter((zone) => zone.view === view);
}

/**
 * The best that is known of a view's scale.
 * @param {View} view
 */
export function mmPerPxOf(view) {
  const known = desk.history.present.mm_per_px ?? desk.pictures[view]?.scale?.mm_per_px ?? desk.seen?.scale?.mm_per_px;
  return known ?? USUAL_FIELD_MM / (desk.pictures[view]?.bitmap.width ?? 512);
}

/** @param {Setup} setup @param {string | null} [step] */
export function commit(setup, step = null) {
  desk.history.commit(setup, step);
  desk.refresh();
}

/**
 * The view to draw on; says what is missing where there is none.
 * @returns {View | null}
 */
export function drawable() {
  if (desk.shown !== "live" && desk.pictures[desk.shown] !== undefined) return desk.shown;
  say("Freeze a picture first: on a moving one nothing can be drawn.", true);
  return null;
}

/**
 * Do something that may be refused, and say so.
 * @param {() => Promise<unknown>} work
 */
export async function told(work) {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    say(error.message, true);
  }
}

/** @param {string} words @param {boolean} [refused] */
export function say(words, refused = false) {
  put("answer", words);
  part("answer").dataset.refused = String(refused);
}
