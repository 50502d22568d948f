// What the review pages ask the server.

import { asked, said } from "./server.js";

/** @typedef {{id: string, began: string, duration_s: number, frames: number, source: string, tags: string[], keep: boolean, state: string, complete: boolean, alerts: Record<string, number>, bytes: number}} Entry */
/** @typedef {{id: number, kind: string, priority: string, state: string, t_s: number, zone: string | null, needle: number | null, text: string, technical: boolean, active: boolean, by: string | null, first_seen_t_s: number | null}} Alert */
/** @typedef {{at: string, by: string, alert: number | null, t_s: number, verdict: string, note: string, kind: string | null, zone: string | null, withdrawn: boolean}} Judgement */
/** @typedef {{states: [number, string][], phases: [number, string][], views: [number, string | null][], cement_mm2: [number, number | null][], depths: Record<string, [number, number | null][]>}} Course */
/** @typedef {{id: string, header: any, state: string, frames: number, missing: string[], damaged: number[], mm_per_px: number | null, zones: string[], course: Course, alerts: Alert[], commands: {t_s: number | null, by: string, kind: string}[], judgements: Judgement[], alert_kinds: string[], version: string, live: boolean}} Case */
/** @typedef {{frame: number, t_s: number, findings: any, strokes: import("./stage.js").Stroke[], alerts: Alert[], status: string | null}} Moment */
/** @typedef {{kind: string, from_s: number, to_s: number, text: string}} Difference */
/** @typedef {{begun: boolean, running: boolean, complete: boolean, frames?: number, done?: number, error?: string | null, not_obeyed?: string[], unreadable?: number, differences?: Difference[], software?: string}} Progress */

/** @returns {Promise<any>} how things look */
export async function look() {
  return (await asked("styles.json")).json();
}

/** @returns {Promise<Entry[]>} the newest first */
export async function cases() {
  return (await asked("review/cases")).json();
}

/** @param {string} id @returns {Promise<Case>} */
export async function openCase(id) {
  return (await asked(placeOf(id))).json();
}

/** @param {string} id @returns {Promise<Float64Array>} of each frame, in seconds */
export async function times(id) {
  return new Float64Array(await (await asked(`${placeOf(id)}/times`)).arrayBuffer());
}

/** @param {string} id @param {number} frame @param {"jpg" | "png"} form */
export function pictureAddress(id, frame, form) {
  return `${placeOf(id)}/pictures/${frame}.${form}`;
}

/**
 * A frame as it was recorded. ``state``: "whole", "damaged" or "no_signal".
 * @param {string} id @param {number} frame @param {"jpg" | "png"} form
 * @returns {Promise<{bitmap: ImageBitmap, state: string}>}
 */
export async function picture(id, frame, form) {
  const answer = await asked(pictureAddress(id, frame, form));
  const state = answer.headers.get("Fluoroguide-Frame") ?? "damaged";
  return { bitmap: await createImageBitmap(await answer.blob()), state };
}

/** @param {string} id @param {number} frame @param {boolean} recomputed @returns {Promise<Moment>} */
export async function moment(id, frame, recomputed) {
  return (await asked(`${placeOf(id)}/moments/${frame}${recomputed ? "?recomputed=true" : ""}`)).json();
}

/** @param {string} id @param {Partial<Judgement>} judgement @returns {Promise<Judgement>} */
export async function judge(id, judgement) {
  return (await asked(`${placeOf(id)}/judgements`, said("POST", judgement))).json();
}

/** @param {string} id @returns {Promise<Progress>} */
export async function progress(id) {
  return (await asked(`${placeOf(id)}/recomputed`)).json();
}

/** @param {string} id */
export async function recompute(id) {
  await asked(`${placeOf(id)}/recomputed`, { method: "POST" });
}

/** @param {string} id */
export async function stopRecomputing(id) {
  await asked(`${placeOf(id)}/recomputed`, { method: "DELETE" });
}

/** @param {string} id @param {string[]} tags */
export async function setTags(id, tags) {
  await asked(`${placeOf(id)}/tags`, said("PUT", { tags }));
}

/** @param {string} id @param {boolean} keep */
export async function setKeep(id, keep) {
  await asked(`${placeOf(id)}/keep`, said("PUT", { keep }));
}

/** @param {string} id */
export function labelsAddress(id) {
  return `${placeOf(id)}/labels.zip`;
}

/** @param {string} id */
function placeOf(id) {
  return `review/cases/${encodeURIComponent(id)}`;
}
