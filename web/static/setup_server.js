// What the setup page asks the server; whatever it refuses comes as one sentence in an Error.

import { asked, said } from "./server.js";

export { Refusal } from "./server.js";

/** @typedef {import("./setup_plan.js").Plan} Plan */
/** @typedef {import("./setup_plan.js").View} View */
/** @typedef {{name: string, saved_at: string, version: string | null, zones: number, views: string[], trouble: string | null}} KeptPlan */
/** @typedef {{name: string, unit: string, about: string, default: number, least: number, most: number}} Limit */

/** @returns {Promise<any>} how things look */
export async function look() {
  return (await asked("styles.json")).json();
}

/** @returns {Promise<Limit[]>} */
export async function limits() {
  return (await asked("setup/limits")).json();
}

/** @returns {Promise<{view_id: number, view: View | null, t_s: number}[]>} the latest first */
export async function storedViews() {
  return (await asked("setup/pictures")).json();
}

/** @param {"newest" | number} which @returns {Promise<{header: any, bitmap: ImageBitmap}>} */
export async function picture(which) {
  const data = await (await asked(`setup/pictures/${which}`)).arrayBuffer();
  const length = new DataView(data).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const jpeg = new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" });
  return { header, bitmap: await createImageBitmap(jpeg) };
}

/** @returns {Promise<KeptPlan[]>} the newest first */
export async function plans() {
  return (await asked("setup/plans")).json();
}

/** @param {string} name @returns {Promise<Plan>} */
export async function plan(name) {
  return (await asked(`setup/plans/${encodeURIComponent(name)}`)).json();
}

/**
 * The same plan, if it is one.
 * @param {unknown} plan @returns {Promise<Plan>}
 */
export async function checked(plan) {
  return (await asked("setup/checked", said("POST", plan))).json();
}

/** @param {string} name @param {Plan} kept @param {boolean} replace @returns {Promise<{version: string}>} */
export async function save(name, kept, replace) {
  const query = replace ? "?replace=true" : "";
  return (await asked(`setup/plans/${encodeURIComponent(name)}${query}`, said("PUT", kept))).json();
}

/** @param {string} ofCase @param {Plan} used @param {{view: View, pulse: number}[]} drawn_on @returns {Promise<{version: string}>} */
export async function use(ofCase, used, drawn_on) {
  return (
    await asked("setup/use", said("POST", { case: ofCase, order: { kind: "plan", plan: used, drawn_on } }))
  ).json();
}

/** @param {string} ofCase @param {import("./setup_geometry.js").Point[] | null} polygon_px @param {boolean | null} bone_dark */
export async function pinField(ofCase, polygon_px, bone_dark) {
  await asked("setup/field", said("POST", { case: ofCase, order: { kind: "field", polygon_px, bone_dark } }));
}

/** @typedef {{spec: string, kind: string, name: string, words: string, may_open: boolean, in_use: boolean}} Offer */

/** @returns {Promise<Offer[]>} */
export async function sources() {
  return (await asked("setup/sources")).json();
}

/** @param {string} source @returns {Promise<ImageBitmap>} what it shows now */
export async function preview(source) {
  return createImageBitmap(await (await asked("setup/preview", said("POST", { source }))).blob());
}

/** @param {string} ofCase @param {string} source @param {boolean} confirmed */
export async function choose(ofCase, source, confirmed) {
  await asked("setup/source", said("POST", { case: ofCase, order: { kind: "source", source, confirmed } }));
}

/** @param {string} ofCase @param {boolean} confirmed */
export async function nextPatient(ofCase, confirmed) {
  await asked("setup/next-patient", said("POST", { case: ofCase, order: { kind: "next_patient", confirmed } }));
}
