// The panel of plans: kept, loaded, copied from and put to use.

import { commit, desk, mmPerPxOf, say, told, zonesOf } from "./setup_desk.js";
import { asks, button, element, field, none, part, put } from "./setup_dom.js";
import * as plans from "./setup_plan.js";
import * as server from "./setup_server.js";

/** @typedef {import("./setup_plan.js").Setup} Setup */

/** @type {{setup: Setup, version: string} | null} what was last put to use from here */
let used = null;

/** Ask which plans there are, and list them, the newest first. */
export async function listPlans() {
  const kept = await server.plans();
  button("copy-last").disabled = !kept.some((plan) => plan.trouble === null);
  // The same list again must not move under a finger.
  const stamp = JSON.stringify(kept);
  if (part("plans").dataset.stamp === stamp) return;
  part("plans").dataset.stamp = stamp;
  part("plans").replaceChildren(...(kept.length ? kept.map(planLine) : [none("None yet.")]));
}

/** @param {server.KeptPlan} kept */
function planLine(kept) {
  const line = document.createElement("li");
  const views = kept.views.map((view) => (view === "ap" ? "AP" : view)).join(", ");
  const summary = [new Date(kept.saved_at).toLocaleString(), `${kept.zones} zones`, ...(views ? [views] : [])].join(
    " · ",
  );
  const words = kept.trouble ?? summary;
  const small = element("span", words);
  small.className = "small";
  line.append(element("strong", kept.name), small);
  if (kept.trouble === null) {
    for (const [text, act] of /** @type {const} */ ([
      ["Load", load],
      ["Copy zones", copy],
    ])) {
      const press = element("button", text);
      press.setAttribute("aria-label", `${text} of ${kept.name}`);
      press.addEventListener("click", () => void told(async () => act(await server.plan(kept.name), kept.name)));
      line.append(press);
    }
  }
  return line;
}

/**
 * The size of the pictures that are drawn on here.
 * @returns {[number, number] | null}
 */
function size() {
  const bitmap = desk.pictures.ap?.bitmap ?? desk.pictures.lateral?.bitmap ?? desk.liveBitmap;
  return bitmap === null ? null : [bitmap.width, bitmap.height];
}

/** @param {import("./setup_plan.js").Plan} plan @param {string} name */
function load(plan, name) {
  commit(plans.setupOf(plan, size(), desk.slot));
  say(`“${name}” is loaded; its zones lie as on the pictures that it was drawn on: look at each.`);
}

/** @param {import("./setup_plan.js").Plan} plan @param {string} name */
function copy(plan, name) {
  const zones = plans.zonesOf(plan, size(), desk.slot);
  if (!zones.length) return say(`“${name}” has no zones.`, true);
  const views = new Set(zones.map((zone) => zone.view));
  commit({
    ...desk.history.present,
    zones: [...desk.history.present.zones.filter((zone) => !views.has(zone.view)), ...zones],
  });
  say(`${zones.length} zones of “${name}” are laid as they were: move each to where it belongs.`);
}

/** @param {File} file */
export async function loadFile(file) {
  let plan;
  try {
    plan = JSON.parse(await file.text());
  } catch {
    throw new Error(`“${file.name}” is not JSON; expected a plan.json.`);
  }
  // A plan is written by many hands: the server says whether this is one.
  load(await server.checked(plan), file.name);
}

/** The plan as it stands, or an error that says what is wrong with it. */
function soundPlan() {
  const wrong = desk.faults.find((fault) => fault.isError);
  if (wrong !== undefined) throw new Error(`Not yet: ${wrong.text}`);
  const plan = plans.planOf(desk.history.present, desk.pictures, mmPerPxOf);
  const named = new Set(plan.views?.map(({ view }) => view));
  const bare = plans.VIEWS.find((view) => zonesOf(view).length && !named.has(view));
  if (bare !== undefined)
    throw new Error(`The ${plans.VIEW_WORDS[bare]} zones are drawn on no picture: freeze one of that view.`);
  if (plan.picture_px === undefined) throw new Error("Freeze a picture first: a plan belongs to pictures of one size.");
  return plan;
}

/** Keep the plan on the server under the name that is given; asks before it replaces one. */
export async function save() {
  const name = field("plan-name").value.trim();
  if (name === "" || !field("plan-name").validity.valid)
    throw new Error("Give the plan a name of letters, digits, - and _.");
  const plan = soundPlan();
  try {
    await server.save(name, plan, false);
  } catch (error) {
    if (!(error instanceof server.Refusal) || error.status !== 409) throw error;
    if (!(await asks(`${error.message.replace(";", ".").split(".")[0]}. Replace it?`))) return;
    await server.save(name, plan, true);
  }
  say(`Saved as “${name}”.`);
  await listPlans();
}

/** Give the plan to the browser as a file. */
export function download() {
  const text = `${JSON.stringify(soundPlan(), null, 1)}\n`;
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  anchor.download = `${field("plan-name").value.trim() || "plan"}.json`;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 1000);
}

/** Give the service the plan as it is drawn. Throws an Error that says why not. */
export async function use() {
  const { present } = desk.history;
  const { phases: _, ...plan } = soundPlan();
  const frozen = plans.VIEWS.flatMap((view) => desk.pictures[view] ?? []);
  const bare = plans.VIEWS.find((view) => zonesOf(view).length && desk.pictures[view] === undefined);
  if (bare !== undefined)
    throw new Error(`The ${plans.VIEW_WORDS[bare]} zones are drawn on no picture of this case: freeze one.`);
  const strange = frozen.find((picture) => !picture.isRecognised);
  if (strange !== undefined)
    throw new Error(`The anatomy on the ${plans.VIEW_WORDS[strange.view]} picture was not recognised: freeze another.`);
  if (frozen.some((picture) => picture.case !== desk.heard?.case))
    throw new Error("A new case has begun since these pictures were taken: freeze pictures of this one.");
  const drawnOn = frozen.map(({ view, pulse }) => ({ view, pulse }));
  const { version } = await server.use(desk.heard.case, plan, drawnOn);
  used = { setup: present, version };
  // Motion counts from these pictures from now on.
  for (const picture of frozen)
    Object.assign(picture, { plan: version, motion: { shift_px: [0, 0], rotation_deg: 0 } });
  say(`In use from now on: plan ${version}.`);
  showUse();
}

/** Say which plan is in use, and whether it is the one that is drawn. */
export function showUse() {
  const version = desk.heard?.health?.plan ?? null;
  const isMine = used !== null && used.version === version;
  const words =
    version === null
      ? "In use: what the service was started with."
      : isMine && used?.setup === desk.history.present
        ? `In use: plan ${version}, as drawn here.`
        : `In use: plan ${version}; what is drawn here is not in use yet.`;
  put("in-use", words);
}

/** Lay the zones of the plan that was saved last. */
export async function copyLast() {
  const last = (await server.plans()).find((kept) => kept.trouble === null);
  if (last === undefined) throw new Error("No plan has been saved yet.");
  copy(await server.plan(last.name), last.name);
}
