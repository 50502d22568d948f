// Wires the board, the panels, the server and the live line of the setup page together.

import { Link } from "./link.js";
import { Board } from "./setup_board.js";
import { faultsOf } from "./setup_checks.js";
import {
  asks,
  button,
  canvas,
  choice,
  definitions,
  element,
  field,
  none,
  part,
  put,
  setUnlessTyping,
} from "./setup_dom.js";
import { carried, distance, hull } from "./setup_geometry.js";
import { History } from "./setup_history.js";
import * as plans from "./setup_plan.js";
import * as server from "./setup_server.js";
import { listSources, showSource } from "./setup_sources.js";
import { TEMPLATES } from "./setup_templates.js";

/** @typedef {import("./setup_geometry.js").Point} Point */
/** @typedef {import("./setup_plan.js").Setup} Setup */
/** @typedef {import("./setup_plan.js").Zone} Zone */
/** @typedef {import("./setup_plan.js").View} View */
/** @typedef {import("./setup_plan.js").Frozen} Frozen */
/** @typedef {import("./setup_board.js").Shape} Shape */

// Outer diameters by the Birmingham gauge that needles are named by.
const GAUGES = {
  "8 G": 4.19,
  "10 G": 3.4,
  "11 G": 3.05,
  "12 G": 2.77,
  "13 G": 2.41,
  "14 G": 2.11,
  "15 G": 1.83,
  "18 G": 1.27,
};
const USUAL_NEEDLE_MM = 3.05;
const USUAL_FIELD_MM = 160;
// A new line's strip: a needle may touch the cortex, and what is two centimetres beyond it is far gone.
const STRIP = { near_mm: 1.5, far_mm: 20 };
// How well somebody puts the end of a line on an edge, in pixels.
const HAND_PX = 1.5;
const SCALES_DIFFER = 0.15;
const WIDTHS_KEPT = 60;
const FIELD = "field";
const RULER = "ruler";
const SILENT_MS = 1000;

/** @type {History<Setup>} */
const history = new History(plans.NOTHING);
/** @type {import("./setup_plan.js").Pictures} */
const pictures = {};
/** @type {View | "live"} what the board shows */
let shown = "live";
/** @type {View} where a picture goes whose view nobody knows */
let slot = "ap";
let tab = "zones";
/** @type {any} the newest words from the server */
let heard = null;
/** @type {any} the findings of the newest picture */
let seen = null;
/** @type {ImageBitmap | null} */
let liveBitmap = null;
/** @type {number[]} of needles, in pixels */
const widths = [];
/** @type {{setup: Setup, version: string} | null} what was last put to use from here */
let used = null;
/** @type {import("./setup_checks.js").Fault[]} */
let faults = [];
/** @type {import("./setup_sources.js").Room} */
const room = { heard: () => heard, told, say };
/** @type {server.Limit[]} */
let limits = [];
// What the list of zones and the choice of templates were last filled for.
let listed = "";
let templatesOf = "";

const styles = await looks();
const board = new Board(canvas("board"), { edit, remove, select: chosen, say: (words) => put("hint", words || HINT) });
const HINT =
  "Drag corners and areas · tap an edge for a new corner · keys: N next zone, . next corner, arrows 1 px, Shift 10 · I insert · Del delete · Ctrl+Z";
const link = new Link(
  (message) => {
    heard = message;
    if (message.picture) void showLive(message);
    showBanner();
  },
  (error) => error && say(error, true),
);

setInterval(showBanner, 250);
setInterval(showMeasures, 500);
fillChoices();
listen();
put("hint", HINT);
await begin();

// Opening

/** How things look; asked for until it is told. */
async function looks() {
  for (;;) {
    try {
      const look = await server.look();
      for (const [priority, alarm] of Object.entries(look.alarms)) {
        document.body.style.setProperty(`--${priority}-colour`, alarm.colour);
        document.body.style.setProperty(`--${priority}-ink`, alarm.ink);
      }
      return look.styles;
    } catch {
      put("banner-text", "Connecting: the server does not answer");
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** What the service has seen of each view so far, with the zones that are watched there, is where drawing begins. */
async function begin() {
  await told(async () => {
    limits = await server.limits();
    fillLimits();
    const stored = await server.storedViews();
    for (const view of plans.VIEWS) {
      const last = stored.find((one) => one.view === view);
      if (last !== undefined) await freeze(last.view_id);
    }
    history.begin(history.present);
  });
  await told(listPlans);
  refresh();
}

/**
 * Do something that may be refused, and say so.
 * @param {() => Promise<unknown>} work
 */
async function told(work) {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    say(error.message, true);
  }
}

// The live line

/** @param {import("./link.js").LiveMessage} message */
async function showLive(message) {
  try {
    seen = message.picture.findings;
    for (const needle of seen.needles) if (!needle.predicted && needle.diameter_px) widths.push(needle.diameter_px);
    widths.splice(0, widths.length - WIDTHS_KEPT);
    const before = liveBitmap;
    if (message.jpeg.length) liveBitmap = await createImageBitmap(new Blob([message.jpeg], { type: "image/jpeg" }));
    if (shown === "live") showBoard();
    // Only once the board shows the next one.
    if (before !== liveBitmap) before?.close();
  } finally {
    link.acknowledge();
  }
}

/** Whoever draws must hear of a leak all the same. */
function showBanner() {
  const lost = link.silenceMs > SILENT_MS || heard === null || heard.deaf;
  const worst = heard?.alerts[0];
  const state = heard?.health?.state ?? "no picture";
  const quiet = `Alerts: none detected · source ${state.replace("_", " ")}`;
  part("banner").dataset.priority = lost ? "high" : (worst?.priority ?? "none");
  put("banner-text", lost ? "CONNECTION LOST: nothing is known of alerts" : (worst?.text ?? quiet));
  showUse();
  showSource(heard?.health);
}

// Pictures

/**
 * Take a picture to draw on.
 * @param {"newest" | number} which
 */
async function freeze(which) {
  const { header, bitmap } = await server.picture(which);
  const found = header.findings;
  /** @type {View} */
  const view = found.view ?? slot;
  putAway(header.case, [bitmap.width, bitmap.height]);
  const before = pictures[view];
  /** @type {Frozen} */
  const frozen = {
    case: header.case,
    pulse: header.pulse,
    t_s: header.t_s ?? found.t_s,
    view,
    viewId: found.view_id,
    bitmap,
    motion: found.registration ?? { shift_px: [0, 0], rotation_deg: 0 },
    isRecognised: found.registration?.ok ?? false,
    scale: found.scale,
    field: found.field_px,
  };
  pictures[view] = frozen;
  shown = slot = view;
  carryOver(view, before, frozen);
  if (!zonesOf(view).length && found.zones.length) takeWatched(found.zones, view);
  history.present = { ...history.present, picture_px: [bitmap.width, bitmap.height] };
  if (found.view === null) say(`Taken as ${plans.VIEW_WORDS[view]}: the service does not know this view yet.`);
  refresh();
}

/**
 * Another case's pictures are none of this one, nor is what was drawn on pictures of another size; undo brings that back.
 * @param {string} now @param {[number, number]} size
 */
function putAway(now, size) {
  for (const view of plans.VIEWS)
    if (pictures[view] !== undefined && pictures[view]?.case !== now) delete pictures[view];
  const drawn = history.present.picture_px;
  if (drawn === null || (drawn[0] === size[0] && drawn[1] === size[1])) return;
  commit({ ...plans.NOTHING, picture_px: size });
  say("These pictures have another size: what was drawn before is put away. Undo brings it back.");
}

/**
 * Zones go with the anatomy from one picture of a view to the next.
 * @param {View} view @param {Frozen | undefined} before @param {Frozen} now
 */
function carryOver(view, before, now) {
  if (before === undefined || !zonesOf(view).length) return;
  const known = before.case === now.case && before.viewId === now.viewId && before.isRecognised && now.isRecognised;
  if (!known) {
    say(
      `The ${plans.VIEW_WORDS[view]} zones lie as on the picture before, which cannot be compared with this one: look at each.`,
      true,
    );
    return;
  }
  /** @type {Point} */
  const centre = [(now.bitmap.width - 1) / 2, (now.bitmap.height - 1) / 2];
  const move = (/** @type {Point[]} */ points) => carried(points, before.motion, now.motion, centre);
  history.map((setup) => ({
    ...setup,
    zones: setup.zones.map((zone) => (zone.view === view ? plans.zoneMoved(zone, move) : zone)),
  }));
}

/**
 * Begin with what is watched.
 * @param {{id: string, kind: string, polygon_px: Point[]}[]} zones @param {View} view
 */
function takeWatched(zones, view) {
  const own = zones.map((zone) => ({
    key: plans.newKey(),
    id: zone.id,
    kind: zone.kind,
    view,
    points: zone.polygon_px,
    line: null,
  }));
  commit({ ...history.present, zones: [...history.present.zones, ...own] });
}

// What is drawn

/** @param {View | "live"} view */
function zonesOf(view) {
  return history.present.zones.filter((zone) => zone.view === view);
}

/**
 * The best that is known of a view's scale.
 * @param {View} view
 */
function mmPerPxOf(view) {
  const known = history.present.mm_per_px ?? pictures[view]?.scale?.mm_per_px ?? seen?.scale?.mm_per_px;
  return known ?? USUAL_FIELD_MM / (pictures[view]?.bitmap.width ?? 512);
}

/** @param {Setup} setup @param {string | null} [step] */
function commit(setup, step = null) {
  history.commit(setup, step);
  refresh();
}

/** @param {string} key @param {(zone: Zone) => Zone} change @param {string | null} [step] */
function change(key, change, step = null) {
  const { present } = history;
  commit({ ...present, zones: present.zones.map((zone) => (zone.key === key ? change(zone) : zone)) }, step);
}

/**
 * What the board would make of a shape.
 * @param {string} key @param {Point[]} corners @param {string} step
 */
function edit(key, corners, step) {
  const { present } = history;
  if (key === FIELD && present.field !== null) commit({ ...present, field: { ...present.field, corners } }, step);
  else if (key === RULER && present.ruler !== null) commit({ ...present, ruler: { ...present.ruler, corners } }, step);
  else
    change(
      key,
      (zone) =>
        zone.line === null ? { ...zone, points: corners } : { ...zone, line: { ...zone.line, points: corners } },
      step,
    );
}

/** @param {string} key */
function remove(key) {
  const { present } = history;
  if (key === FIELD) commit({ ...present, field: null });
  else if (key === RULER) commit({ ...present, ruler: null });
  else commit({ ...present, zones: present.zones.filter((zone) => zone.key !== key) });
}

/** @param {Zone[]} zones */
function add(zones) {
  let setup = history.present;
  for (const zone of zones)
    setup = { ...setup, zones: [...setup.zones, { ...zone, id: plans.freeName(setup, zone.id) }] };
  commit(setup);
  board.select(setup.zones[setup.zones.length - 1].key);
}

/**
 * The view to draw on; says what is missing where there is none.
 * @returns {View | null}
 */
function drawable() {
  if (shown !== "live" && pictures[shown] !== undefined) return shown;
  say("Freeze a picture first: on a moving one nothing can be drawn.", true);
  return null;
}

/** @param {boolean} isLine */
function drawZone(isLine) {
  const view = drawable();
  if (view === null) return;
  const kind = choice("new-kind").value;
  board.draw({
    isLine,
    least: isLine ? 2 : 3,
    most: Infinity,
    colour: colourOf(kind),
    done: (points) => {
      const line = isLine ? /** @type {const} */ ({ points, side: "left", ...STRIP }) : null;
      add([{ key: plans.newKey(), id: kind, kind, view, points: isLine ? [] : points, line }]);
    },
  });
  board.canvas.focus();
}

function putTemplate() {
  const view = drawable();
  if (view === null) return;
  const template = TEMPLATES.filter((one) => one.view === view)[Number(choice("template").value)];
  add(template.zones.map((zone) => plans.zoneOfTemplate(zone, view, board.middle(), mmPerPxOf(view))));
  if (history.present.mm_per_px === null && pictures[view]?.scale?.source === "assumed") {
    say("Its size is a guess: no scale is known yet. Draw a known distance, or wait for a needle.");
  }
}

function undo() {
  history.undo();
  refresh();
}

function redo() {
  history.redo();
  refresh();
}

// Showing

/** @param {string} kind */
function colourOf(kind) {
  return styles[`zone_${kind}`].colour;
}

/** @param {Zone} zone @returns {Shape} */
function shapeOf(zone) {
  const style = styles[`zone_${zone.kind}`];
  const outline = plans.outlineOf(zone, mmPerPxOf(zone.view));
  const corners = zone.line === null ? zone.points : zone.line.points;
  return {
    key: zone.key,
    label: zone.id,
    colour: style.colour,
    dash: style.dash.map((/** @type {number} */ length) => length / 2),
    fill: style.fill,
    corners,
    outline,
    isLine: zone.line !== null,
    isFlexible: true,
  };
}

/** @returns {Shape[]} */
function fieldShapes() {
  const field = history.present.field;
  if (field === null) return [];
  const style = { key: FIELD, label: "X-ray field", colour: "#e8eef4", dash: [8, 6], fill: 0 };
  return [
    {
      ...style,
      corners: field.corners,
      outline: plans.fieldOutline(field),
      isLine: false,
      isFlexible: !field.isCircle,
    },
  ];
}

/** @returns {Shape[]} */
function rulerShapes() {
  const ruler = history.present.ruler;
  if (ruler === null || ruler.view !== shown) return [];
  const words = ruler.mm === null ? "?" : `${ruler.mm} mm`;
  return [
    {
      key: RULER,
      label: words,
      colour: "#ffffff",
      dash: [],
      fill: 0,
      corners: ruler.corners,
      outline: [],
      isLine: true,
      isFlexible: false,
    },
  ];
}

/**
 * The field as it was found.
 * @returns {Shape[]}
 */
function foundField() {
  const found = shown === "live" ? seen?.field_px : pictures[shown]?.field;
  if (!found) return [];
  return [
    {
      key: "found",
      label: "",
      colour: styles.field.colour,
      dash: [5, 7],
      fill: 0,
      corners: [],
      outline: found.polygon,
      isLine: false,
      isFlexible: false,
    },
  ];
}

/** @returns {Shape[]} */
function watchedZones() {
  return (seen?.zones ?? []).map((/** @type {any} */ zone) =>
    shapeOf({ ...zone, key: zone.id, view: slot, points: zone.polygon_px, line: null }),
  );
}

function showBoard() {
  const bitmap = shown === "live" ? liveBitmap : (pictures[shown]?.bitmap ?? null);
  board.mayEdit = shown !== "live" || tab === "field";
  board.showPicture(bitmap);
  const zones = shown === "live" ? watchedZones() : zonesOf(shown).map(shapeOf);
  if (tab === "field") board.showShapes(fieldShapes(), [], [...zones, ...foundField()]);
  else if (tab === "scale") board.showShapes(rulerShapes(), [], zones);
  else if (shown === "live") board.showShapes([], [], [...zones, ...foundField()]);
  else board.showShapes(zones, marks(shown), foundField());
}

/** @param {View} view */
function marks(view) {
  const own = new Set(zonesOf(view).map((zone) => zone.id));
  return faults.flatMap(({ at, zone, isError }) =>
    at !== null && zone !== null && own.has(zone) ? [{ at, isError }] : [],
  );
}

function refresh() {
  check();
  showBoard();
  for (const view of [...plans.VIEWS, /** @type {const} */ ("live")]) {
    part(`view-${view}`).setAttribute("aria-pressed", String(view === shown));
  }
  const frozen = shown === "live" ? undefined : pictures[shown];
  const words = frozen
    ? `${plans.VIEW_WORDS[frozen.view]} picture of ${frozen.t_s.toFixed(1)} s${frozen.isRecognised ? "" : " · not recognised: freeze another"}`
    : "No picture frozen yet";
  put("picture-words", shown === "live" ? "Live: freeze it to draw" : words);
  button("undo").disabled = !history.canUndo;
  button("redo").disabled = !history.canRedo;
  showTemplates();
  showZones();
  showStrip();
  showMeasures();
  showLimits();
  showUse();
}

function check() {
  const { present } = history;
  const [width, height] = present.picture_px ?? [0, 0];
  const found = width === 0 ? [] : faultsOf(plans.planZones(present, mmPerPxOf), width, height, fieldOfView);
  const cut = plans.cutZones(present, mmPerPxOf).map(({ id, at }) => {
    return {
      isError: false,
      text: `“${id}” is cut at the picture's border: beyond it nothing is watched.`,
      zone: id,
      at,
    };
  });
  faults = [...found, ...cut];
  part("faults").replaceChildren(
    ...faults.map((fault) => {
      const line = element("li", fault.text);
      line.dataset.error = String(fault.isError);
      return line;
    }),
  );
}

/** @param {string | null} view @returns {Point[] | null} */
function fieldOfView(view) {
  return pictures[/** @type {View} */ (view)]?.field?.polygon ?? null;
}

function showZones() {
  const zones = shown === "live" ? [] : zonesOf(shown);
  const stamp = JSON.stringify([shown, zones.map((zone) => zone.key)]);
  if (stamp !== listed) {
    listed = stamp;
    part("zones").replaceChildren(...(zones.length ? zones.map(zoneLine) : [none("Nothing is drawn on this view.")]));
  }
  for (const zone of zones) {
    const line = part("zones").querySelector(`[data-key="${zone.key}"]`);
    if (!(line instanceof HTMLElement)) continue;
    line.dataset.chosen = String(zone.key === board.selection.key);
    line.dataset.kind = zone.kind;
    const [name, kind] = [line.querySelector("input"), line.querySelector("select")];
    if (name !== null && document.activeElement !== name) name.value = zone.id;
    if (kind !== null) kind.value = zone.kind;
  }
}

/** @param {Zone} zone */
function zoneLine({ key, id, kind }) {
  const line = document.createElement("li");
  line.dataset.key = key;
  const mark = element("button", "◎");
  mark.setAttribute("aria-label", `Choose ${id}`);
  mark.addEventListener("click", () => {
    board.select(key);
    board.canvas.focus();
  });
  const name = document.createElement("input");
  name.value = id;
  name.maxLength = 64;
  name.setAttribute("aria-label", "Name");
  name.addEventListener("input", () => change(key, (zone) => ({ ...zone, id: name.value }), `name ${key}`));
  name.addEventListener("focus", () => board.select(key));
  const kinds = document.createElement("select");
  kinds.setAttribute("aria-label", "Kind");
  kinds.append(...Object.entries(plans.KINDS).map(([value, words]) => new Option(words, value)));
  kinds.value = kind;
  kinds.addEventListener("change", () => change(key, (zone) => ({ ...zone, kind: kinds.value })));
  const gone = element("button", "✕");
  gone.setAttribute("aria-label", `Remove ${id}`);
  gone.addEventListener("click", () => remove(key));
  line.append(mark, name, kinds, gone);
  return line;
}

/** @param {import("./setup_board.js").Selection} selection */
function chosen(selection) {
  if (selection.key === FIELD || selection.key === RULER) return;
  showZones();
  showStrip();
}

function chosenZone() {
  return history.present.zones.find((zone) => zone.key === board.selection.key) ?? null;
}

function showStrip() {
  const line = chosenZone()?.line ?? null;
  part("strip").hidden = line === null;
  if (line === null) return;
  setUnlessTyping("strip-near", String(line.near_mm));
  setUnlessTyping("strip-far", String(line.far_mm));
}

/** @param {Partial<import("./setup_plan.js").Spine>} by @param {string | null} [step] */
function changeStrip(by, step = null) {
  const zone = chosenZone();
  if (zone?.line) change(zone.key, (old) => ({ ...old, line: old.line && { ...old.line, ...by } }), step);
}

function showTemplates() {
  if (templatesOf === shown) return;
  templatesOf = shown;
  const own = TEMPLATES.filter((template) => template.view === shown);
  choice("template").replaceChildren(...own.map((template, i) => new Option(template.name, String(i))));
  button("put-template").disabled = own.length === 0;
}

// Scale

/** Millimetres a pixel by the needles on the screen, and how many widths stand behind it. */
function byNeedle() {
  if (widths.length === 0) return null;
  const sorted = [...widths].sort((a, b) => a - b);
  return (history.present.needle_mm ?? USUAL_NEEDLE_MM) / sorted[sorted.length >> 1];
}

/** @param {number} value */
function scaleWords(value) {
  return `${value.toFixed(4)} mm a pixel`;
}

function showMeasures() {
  const { present } = history;
  const needle = byNeedle();
  const header = heard?.health?.source_mm_per_px ?? null;
  const scale = seen?.scale ?? null;
  const sources = {
    plan: "the plan",
    needle: "a needle's width",
    header: "the source's header",
    assumed: "a guess: the field's usual size",
  };
  definitions("scale-words", [
    [
      "In use",
      scale === null
        ? "nothing yet"
        : `${scaleWords(scale.mm_per_px)} from ${sources[/** @type {keyof typeof sources} */ (scale.source)]}`,
    ],
    ["This plan", present.mm_per_px === null ? "none of its own" : scaleWords(present.mm_per_px)],
    ["By the needle", needle === null ? "no needle on the screen" : scaleWords(needle)],
  ]);
  const differs = present.mm_per_px !== null && needle !== null ? present.mm_per_px / needle - 1 : 0;
  const by = `${Math.abs(100 * differs).toFixed(0)} % ${differs > 0 ? "more" : "less"}`;
  put(
    "scale-warning",
    Math.abs(differs) > SCALES_DIFFER
      ? `The plan's scale is ${by} than the needle's width says. Is the gauge right, is the distance at the needle's depth?`
      : "",
  );
  put(
    "header-words",
    header === null
      ? "This source states none."
      : `${scaleWords(header)}: true where its header was calibrated, or at the detector: things at the patient's depth are then 20 to 40 % smaller.`,
  );
  button("use-header").disabled = header === null;
  const ruler = present.ruler;
  button("use-ruler").disabled = ruler?.mm == null;
  if (ruler === null)
    put(
      "ruler-words",
      "Draw a line on something of known length, such as a ruler or a marker ball at the needle's depth.",
    );
  else {
    const far = distance(ruler.corners[0], ruler.corners[1]);
    const error = (100 * HAND_PX) / far;
    put(
      "ruler-words",
      `${far.toFixed(1)} pixels${ruler.mm === null ? ": say how many mm they are." : ` = ${scaleWords(ruler.mm / far)}, to ±${error.toFixed(error < 1 ? 1 : 0)} % by the hand, and only at its own depth: 10 cm nearer to the tube, things are shown about a tenth larger.`}`,
    );
  }
  setUnlessTyping("ruler-mm", ruler?.mm == null ? "" : String(ruler.mm));
  choice("gauge").value = present.needle_mm === null ? "" : String(present.needle_mm);
  const found = shown === "live" ? seen?.field_px : (pictures[shown]?.field ?? seen?.field_px);
  const pinned = heard?.health?.pinned ?? [];
  definitions("field-words", [
    ["Outline", `${found?.kind ?? "not found"}${pinned.includes("outline") ? ", corrected" : ", as found"}`],
    [
      "Bones are shown",
      `${seen?.field_px == null ? "?" : seen.field_px.bone_dark ? "dark" : "bright"}${pinned.includes("polarity") ? ", corrected" : ", as found"}`,
    ],
  ]);
  button("field-use").disabled = present.field === null;
}

/** @param {number | null} mm_per_px */
function takeScale(mm_per_px) {
  commit({ ...history.present, mm_per_px: mm_per_px === null ? null : Number(mm_per_px.toPrecision(5)) });
}

function drawRuler() {
  const view = drawable();
  if (view === null) return;
  board.draw({
    isLine: true,
    least: 2,
    most: 2,
    colour: "#ffffff",
    done: (corners) => {
      commit({ ...history.present, ruler: { view, corners, mm: history.present.ruler?.mm ?? null } });
      part("ruler-mm").focus();
    },
  });
  board.canvas.focus();
}

// X-ray field

function editField() {
  const found = shown === "live" ? seen?.field_px : pictures[shown]?.field;
  if (!found) return say("No X-ray field has been found yet.", true);
  commit({ ...history.present, field: plans.fieldOf(found) });
  board.select(FIELD);
}

function drawField() {
  if (shown === "live" && liveBitmap === null) return;
  board.draw({
    isLine: false,
    least: 3,
    most: 64,
    colour: "#e8eef4",
    // A field has no dents: what is drawn with one is taken without.
    done: (corners) => commit({ ...history.present, field: { isCircle: false, corners: hull(corners) } }),
  });
  board.canvas.focus();
}

/**
 * Correct the field; what is not named stays as it is.
 * @param {{outline?: Point[] | null, boneDark?: boolean | null}} by @param {string} words
 */
async function pinField(by, words) {
  const pinned = heard?.health?.pinned ?? [];
  const field = seen?.field_px;
  const outline = by.outline !== undefined ? by.outline : pinned.includes("outline") ? field?.polygon : null;
  const boneDark = by.boneDark !== undefined ? by.boneDark : pinned.includes("polarity") ? field?.bone_dark : null;
  await server.pinField(heard?.case ?? "", outline ?? null, boneDark ?? null);
  say(words);
}

async function flip() {
  const now = seen?.field_px?.bone_dark;
  if (now === undefined) return say("No X-ray field has been found yet.", true);
  const other = shown === "live" ? slot : shown;
  const lost = plans.VIEWS.filter((view) => view !== other && zonesOf(view).length).map(
    (view) => plans.VIEW_WORDS[view],
  );
  const words = lost.length ? ` The zones of the ${lost.join(" and ")} view must then be laid on a new picture.` : "";
  if (await asks(`Show bones ${now ? "bright" : "dark"} from now on? New references are taken.${words}`)) {
    await pinField({ boneDark: !now }, "The polarity is turned. Freeze a new picture before you use a plan.");
  }
}

// Limits

function fillLimits() {
  part("limits").replaceChildren(
    ...limits.map((limit) => {
      const box = element("div", "");
      box.className = "limit";
      const label = document.createElement("label");
      const input = document.createElement("input");
      Object.assign(input, {
        type: "number",
        id: `limit-${limit.name}`,
        min: String(limit.least),
        max: String(limit.most),
        step: "any",
        placeholder: String(limit.default),
      });
      input.addEventListener("input", () => setLimit(limit, input));
      label.append(
        element("span", `${limit.name.replaceAll("_", " ").replace(/ (mm2|mm per s|mm|s)$/, "")}`),
        input,
        element("span", limit.unit),
      );
      const about = element("p", `${limit.about}; ${limit.least} to ${limit.most}, usually ${limit.default}`);
      about.className = "small";
      box.append(label, about);
      return box;
    }),
  );
}

/** @param {server.Limit} limit @param {HTMLInputElement} input */
function setLimit(limit, input) {
  if (!input.validity.valid) return say(`${limit.name}: expected ${limit.least} to ${limit.most} ${limit.unit}.`, true);
  say("");
  const others = Object.entries(history.present.limits).filter(([name]) => name !== limit.name);
  const own = input.value === "" ? others : [...others, [limit.name, Number(input.value)]];
  commit({ ...history.present, limits: Object.fromEntries(own) }, `limit ${limit.name}`);
}

function showLimits() {
  for (const { name } of limits) setUnlessTyping(`limit-${name}`, String(history.present.limits[name] ?? ""));
}

// Plans

async function listPlans() {
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
  const words =
    kept.trouble ??
    `${new Date(kept.saved_at).toLocaleString()} · ${kept.zones} zones${kept.views.length ? ` · ${kept.views.map((view) => (view === "ap" ? "AP" : view)).join(", ")}` : ""}`;
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
  const bitmap = pictures.ap?.bitmap ?? pictures.lateral?.bitmap ?? liveBitmap;
  return bitmap === null ? null : [bitmap.width, bitmap.height];
}

/** @param {import("./setup_plan.js").Plan} plan @param {string} name */
function load(plan, name) {
  commit(plans.setupOf(plan, size(), slot));
  say(`“${name}” is loaded; its zones lie as on the pictures that it was drawn on: look at each.`);
}

/** @param {import("./setup_plan.js").Plan} plan @param {string} name */
function copy(plan, name) {
  const zones = plans.zonesOf(plan, size(), slot);
  if (!zones.length) return say(`“${name}” has no zones.`, true);
  const views = new Set(zones.map((zone) => zone.view));
  commit({ ...history.present, zones: [...history.present.zones.filter((zone) => !views.has(zone.view)), ...zones] });
  say(`${zones.length} zones of “${name}” are laid as they were: move each to where it belongs.`);
}

/** @param {File} file */
async function loadFile(file) {
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
  const wrong = faults.find((fault) => fault.isError);
  if (wrong !== undefined) throw new Error(`Not yet: ${wrong.text}`);
  const plan = plans.planOf(history.present, pictures, mmPerPxOf);
  const named = new Set(plan.views?.map(({ view }) => view));
  const bare = plans.VIEWS.find((view) => zonesOf(view).length && !named.has(view));
  if (bare !== undefined)
    throw new Error(`The ${plans.VIEW_WORDS[bare]} zones are drawn on no picture: freeze one of that view.`);
  if (plan.picture_px === undefined) throw new Error("Freeze a picture first: a plan belongs to pictures of one size.");
  return plan;
}

async function save() {
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

function download() {
  const text = `${JSON.stringify(soundPlan(), null, 1)}\n`;
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  anchor.download = `${field("plan-name").value.trim() || "plan"}.json`;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 1000);
}

async function use() {
  const { present } = history;
  const { phases: _, ...plan } = soundPlan();
  const frozen = plans.VIEWS.flatMap((view) => pictures[view] ?? []);
  const bare = plans.VIEWS.find((view) => zonesOf(view).length && pictures[view] === undefined);
  if (bare !== undefined)
    throw new Error(`The ${plans.VIEW_WORDS[bare]} zones are drawn on no picture of this case: freeze one.`);
  const strange = frozen.find((picture) => !picture.isRecognised);
  if (strange !== undefined)
    throw new Error(`The anatomy on the ${plans.VIEW_WORDS[strange.view]} picture was not recognised: freeze another.`);
  if (frozen.some((picture) => picture.case !== heard?.case))
    throw new Error("A new case has begun since these pictures were taken: freeze pictures of this one.");
  const drawnOn = frozen.map(({ view, pulse }) => ({ view, pulse }));
  const { version } = await server.use(heard.case, plan, drawnOn);
  used = { setup: present, version };
  say(`In use from now on: plan ${version}.`);
  showUse();
}

function showUse() {
  const version = heard?.health?.plan ?? null;
  const isMine = used !== null && used.version === version;
  const words =
    version === null
      ? "In use: what the service was started with."
      : isMine && used?.setup === history.present
        ? `In use: plan ${version}, as drawn here.`
        : `In use: plan ${version}; what is drawn here is not in use yet.`;
  put("in-use", words);
}

// Choices and presses

function fillChoices() {
  choice("new-kind").append(...Object.entries(plans.KINDS).map(([value, words]) => new Option(words, value)));
  choice("gauge").append(
    new Option("not said: 11 G, 3.05 mm", ""),
    ...Object.entries(GAUGES).map(([name, mm]) => new Option(`${name}, ${mm} mm`, String(mm))),
  );
}

function listen() {
  const presses = {
    freeze: () => told(() => freeze("newest")),
    "zoom-out": () => board.zoom(0.8),
    "zoom-in": () => board.zoom(1.25),
    "zoom-fit": () => board.fit(),
    "draw-polygon": () => drawZone(false),
    "draw-line": () => drawZone(true),
    "put-template": putTemplate,
    undo,
    redo,
    snap: toggleSnap,
    "remove-corner": () => board.removeChosen(),
    "strip-side": () => changeStrip({ side: chosenZone()?.line?.side === "left" ? "right" : "left" }),
    "draw-ruler": drawRuler,
    "use-ruler": takeRuler,
    "use-header": () => takeScale(heard?.health?.source_mm_per_px ?? null),
    "no-scale": () => takeScale(null),
    "field-edit": editField,
    "field-draw": drawField,
    "field-use": () => told(useField),
    "field-flip": () => told(flip),
    "field-auto": () => told(() => pinField({ outline: null, boneDark: null }, "The field is found by itself again.")),
    "copy-last": () => told(copyLast),
    download: () => told(async () => download()),
    use: () => told(use),
    "list-sources": () => told(() => listSources(room)),
  };
  for (const [id, press] of Object.entries(presses)) part(id).addEventListener("click", () => void press());
  for (const view of [...plans.VIEWS, /** @type {const} */ ("live")])
    part(`view-${view}`).addEventListener("click", () => show(view));
  for (const one of document.querySelectorAll('[role="tab"]')) if (one instanceof HTMLElement) listenTab(one);
  for (const name of /** @type {const} */ (["near", "far"])) {
    const input = field(`strip-${name}`);
    input.addEventListener(
      "input",
      () =>
        input.validity.valid &&
        input.value !== "" &&
        changeStrip({ [`${name}_mm`]: Number(input.value) }, `strip ${name}`),
    );
  }
  field("ruler-mm").addEventListener("input", () => {
    const { present } = history;
    const mm = field("ruler-mm").valueAsNumber;
    if (present.ruler !== null) commit({ ...present, ruler: { ...present.ruler, mm: mm > 0 ? mm : null } }, "ruler mm");
  });
  choice("gauge").addEventListener("change", () => {
    const value = choice("gauge").value;
    commit({ ...history.present, needle_mm: value === "" ? null : Number(value) });
  });
  part("save-form").addEventListener("submit", (event) => {
    event.preventDefault();
    void told(save);
  });
  field("file").addEventListener("change", () => {
    const file = field("file").files?.[0];
    if (file !== undefined) void told(() => loadFile(file));
    field("file").value = "";
  });
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.target instanceof HTMLInputElement) return;
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    if (key === "y" || event.shiftKey) redo();
    else undo();
  });
}

/** @param {View | "live"} view */
function show(view) {
  board.cancel();
  shown = view;
  if (view !== "live") slot = view;
  board.select(null);
  refresh();
}

/** @param {HTMLElement} one */
function listenTab(one) {
  one.addEventListener("click", () => openTab(one));
  one.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by === undefined) return;
    const all = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('[role="tab"]')]);
    const next = all[(all.indexOf(one) + by + all.length) % all.length];
    openTab(next);
    next.focus();
  });
}

/** @param {HTMLElement} chosenTab */
function openTab(chosenTab) {
  tab = chosenTab.id.replace("tab-", "");
  for (const one of document.querySelectorAll('[role="tab"]')) {
    const isOpen = one === chosenTab;
    one.setAttribute("aria-selected", String(isOpen));
    one.setAttribute("tabindex", isOpen ? "0" : "-1");
    part(one.getAttribute("aria-controls") ?? "").hidden = !isOpen;
  }
  board.cancel();
  board.select(null);
  if (tab === "plans") void told(listPlans);
  if (tab === "source") void told(() => listSources(room));
  refresh();
}

function toggleSnap() {
  board.snaps = !board.snaps;
  part("snap").setAttribute("aria-pressed", String(board.snaps));
}

function takeRuler() {
  const ruler = history.present.ruler;
  if (ruler?.mm) takeScale(ruler.mm / distance(ruler.corners[0], ruler.corners[1]));
}

async function useField() {
  if (history.present.field === null) return;
  await pinField(
    { outline: plans.fieldOutline(history.present.field) },
    "The X-ray field is what you drew, until you let it be found again.",
  );
}

async function copyLast() {
  const last = (await server.plans()).find((kept) => kept.trouble === null);
  if (last === undefined) throw new Error("No plan has been saved yet.");
  copy(await server.plan(last.name), last.name);
}

/** @param {string} words @param {boolean} [refused] */
function say(words, refused = false) {
  put("answer", words);
  part("answer").dataset.refused = String(refused);
}
