// The panel of the x-ray field: its outline and polarity as found, corrected, and found again.

import { commit, desk, say, zonesOf } from "./setup_desk.js";
import { asks, button, definitions } from "./setup_dom.js";
import { hull } from "./setup_geometry.js";
import * as plans from "./setup_plan.js";
import * as server from "./setup_server.js";

/** @typedef {import("./setup_geometry.js").Point} Point */

export const FIELD = "field";

/** Bring the words about the field up to date. */
export function showField() {
  const found = desk.shown === "live" ? desk.seen?.field_px : (desk.pictures[desk.shown]?.field ?? desk.seen?.field_px);
  const pinned = desk.heard?.health?.pinned ?? [];
  const of = (/** @type {string} */ what) => (pinned.includes(what) ? "corrected" : "as found");
  const now = desk.seen?.field_px;
  definitions("field-words", [
    ["Outline", `${found?.kind ?? "not found"}, ${of("outline")}`],
    ["Bones are shown", now ? `${now.bone_dark ? "dark" : "bright"}, ${of("polarity")}` : "?"],
  ]);
  button("field-use").disabled = desk.history.present.field === null;
}

/** Make the outline that was found one that can be dragged. */
export function editField() {
  const found = desk.shown === "live" ? desk.seen?.field_px : desk.pictures[desk.shown]?.field;
  if (!found) return say("No X-ray field has been found yet.", true);
  commit({ ...desk.history.present, field: plans.fieldOf(found) });
  desk.board.select(FIELD);
}

/** Draw an outline anew. */
export function drawField() {
  if (desk.shown === "live" && desk.liveBitmap === null) return;
  desk.board.draw({
    isLine: false,
    least: 3,
    most: 64,
    colour: "#e8eef4",
    // A field has no dents: what is drawn with one is taken without.
    done: (corners) => commit({ ...desk.history.present, field: { isCircle: false, corners: hull(corners) } }),
  });
  desk.board.canvas.focus();
}

/**
 * Correct the field; what is not named stays as it is.
 * @param {{outline?: Point[] | null, boneDark?: boolean | null}} by @param {string} words
 */
export async function pinField(by, words) {
  const pinned = desk.heard?.health?.pinned ?? [];
  const field = desk.seen?.field_px;
  const outline = by.outline !== undefined ? by.outline : pinned.includes("outline") ? field?.polygon : null;
  const boneDark = by.boneDark !== undefined ? by.boneDark : pinned.includes("polarity") ? field?.bone_dark : null;
  await server.pinField(desk.heard?.case ?? "", outline ?? null, boneDark ?? null);
  say(words);
}

/** Turn the polarity over, once that is confirmed. */
export async function flip() {
  const now = desk.seen?.field_px?.bone_dark;
  if (now === undefined) return say("No X-ray field has been found yet.", true);
  const other = desk.shown === "live" ? desk.slot : desk.shown;
  const lost = plans.VIEWS.filter((view) => view !== other && zonesOf(view).length).map(
    (view) => plans.VIEW_WORDS[view],
  );
  const words = lost.length ? ` The zones of the ${lost.join(" and ")} view must then be laid on a new picture.` : "";
  if (await asks(`Show bones ${now ? "bright" : "dark"} from now on? New references are taken.${words}`)) {
    await pinField({ boneDark: !now }, "The polarity is turned. Freeze a new picture before you use a plan.");
  }
}

/** Pin the outline that is drawn. */
export async function useField() {
  if (desk.history.present.field === null) return;
  await pinField(
    { outline: plans.fieldOutline(desk.history.present.field) },
    "The X-ray field is what you drew, until you let it be found again.",
  );
}
