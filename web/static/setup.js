// Wires the board, the panels, the server and the live line of the setup page together.

import { Link } from "./link.js";
import { Board } from "./setup_board.js";
import { faultsOf } from "./setup_checks.js";
import { commit, desk, drawable, mmPerPxOf, say, told, zonesOf } from "./setup_desk.js";
import { button, canvas, choice, element, field, none, part, put, setUnlessTyping } from "./setup_dom.js";
import { FIELD, drawField, editField, flip, pinField, showField, useField } from "./setup_field.js";
import { carried } from "./setup_geometry.js";
import { fillLimits, showLimits } from "./setup_limits.js";
import * as plans from "./setup_plan.js";
import { copyLast, download, listPlans, loadFile, save, showUse, use } from "./setup_plans.js";
import { drawRuler, fillGauges, showScale, takeRuler, takeScale } from "./setup_scale.js";
import * as server from "./setup_server.js";
import { beginNextPatient, listSources, showSource } from "./setup_sources.js";
import { TEMPLATES } from "./setup_templates.js";

/** @typedef {import("./setup_geometry.js").Point} Point */
/** @typedef {import("./setup_plan.js").Zone} Zone */
/** @typedef {import("./setup_plan.js").View} View */
/** @typedef {import("./setup_plan.js").Frozen} Frozen */
/** @typedef {import("./setup_board.js").Shape} Shape */

// A new line's strip: a needle may touch the cortex, and what is two centimetres beyond it is far gone.
const STRIP = { near_mm: 1.5, far_mm: 20 };
const WIDTHS_KEPT = 60;
const RULER = "ruler";
const SILENT_MS = 1000;
/** @type {import("./setup_sources.js").Room} */
const room = { heard: () => desk.heard, told, say };
// What the list of zones and the choice of templates were last filled for.
let listed = "";
let templatesOf = "";

const styles = await looks();
desk.refresh = refresh;
desk.board = new Board(canvas("board"), { edit, remove, select: chosen, say: (words) => put("hint", words || HINT) });
const HINT =
  "Drag corners and areas · tap an edge for a new corner · keys: N next zone, . next corner, arrows 1 px, Shift 10 · I insert · Del delete · Ctrl+Z";
const link = new Link((message) => {
  hear(message);
  if (message.picture || message.jpeg.length) void showLive(message);
  showBanner();
});
link.answered = (/** @type {string | null} */ error) => {
  if (error !== null) say(error, true);
};

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

/** Until the service has said how it is, or seems to have nothing to say. */
async function heardOf() {
  for (let i = 0; i < 60 && desk.heard?.health == null; i++) await new Promise((resolve) => setTimeout(resolve, 50));
}

/** What the service has seen of each view so far, with the zones that are watched there, is where drawing begins. */
async function begin() {
  await told(async () => {
    fillLimits(await server.limits());
    await heardOf();
    const stored = await server.storedViews();
    for (const view of plans.VIEWS) {
      const last = stored.find((one) => one.view === view);
      if (last !== undefined) await freeze(last.view_id);
    }
    desk.history.begin(desk.history.present);
  });
  await told(listPlans);
  refresh();
}

// The live line

/** @param {import("./link.js").LiveMessage} message */
async function showLive(message) {
  try {
    if (message.picture) note(message.picture.findings);
    const before = desk.liveBitmap;
    if (message.jpeg.length)
      desk.liveBitmap = await createImageBitmap(new Blob([message.jpeg], { type: "image/jpeg" }));
    if (desk.shown === "live") showBoard();
    // Only once the board shows the next one.
    if (before !== desk.liveBitmap) before?.close();
  } finally {
    link.acknowledge();
  }
}

/** @param {any} findings */
function note(findings) {
  desk.seen = findings;
  for (const needle of findings.needles)
    if (!needle.predicted && needle.diameter_px) desk.widths.push(needle.diameter_px);
  desk.widths.splice(0, desk.widths.length - WIDTHS_KEPT);
}

/** @param {import("./link.js").LiveMessage} message */
function hear(message) {
  const isFirst = desk.heard?.health == null;
  desk.heard = message;
  const health = message.health;
  if (health !== null && (isFirst || health.plan !== desk.plan.version)) {
    desk.plan = { version: health.plan ?? null, since: isFirst ? -1 : health.pulses };
  }
}

/** Whoever draws must hear of a leak all the same. */
function showBanner() {
  const lost = link.silenceMs > SILENT_MS || desk.heard === null || desk.heard.deaf;
  const worst = desk.heard?.alerts[0];
  const state = desk.heard?.health?.state ?? "no picture";
  const quiet = `Alerts: none detected · source ${state.replace("_", " ")}`;
  part("banner").dataset.priority = lost ? "high" : (worst?.priority ?? "none");
  put("banner-text", lost ? "CONNECTION LOST: nothing is known of alerts" : (worst?.text ?? quiet));
  showUse();
  showSource(desk.heard?.health);
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
  const view = found.view ?? desk.slot;
  putAway(header.case, [bitmap.width, bitmap.height]);
  const before = desk.pictures[view];
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
    plan: header.pulse > desk.plan.since ? desk.plan.version : `before pulse ${desk.plan.since}`,
    scale: found.scale,
    field: found.field_px,
  };
  desk.pictures[view] = frozen;
  desk.shown = desk.slot = view;
  carryOver(view, before, frozen);
  if (!zonesOf(view).length && found.zones.length) takeWatched(found.zones, view);
  desk.history.present = { ...desk.history.present, picture_px: [bitmap.width, bitmap.height] };
  if (found.view === null) say(`Taken as ${plans.VIEW_WORDS[view]}: the service does not know this view yet.`);
  refresh();
}

/**
 * Another case's pictures are none of this one, nor is what was drawn on pictures of another size; undo brings that back.
 * @param {string} now @param {[number, number]} size
 */
function putAway(now, size) {
  for (const view of plans.VIEWS)
    if (desk.pictures[view] !== undefined && desk.pictures[view]?.case !== now) delete desk.pictures[view];
  const drawn = desk.history.present.picture_px;
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
  const isSameView =
    before.case === now.case && before.viewId === now.viewId && before.isRecognised && now.isRecognised;
  // Motion counts from the picture that the plan in use was drawn on.
  if (!isSameView || before.plan !== now.plan) {
    say(
      `The ${plans.VIEW_WORDS[view]} zones lie as on the picture before, which cannot be compared with this one: look at each.`,
      true,
    );
    return;
  }
  /** @type {Point} */
  const centre = [(now.bitmap.width - 1) / 2, (now.bitmap.height - 1) / 2];
  const move = (/** @type {Point[]} */ points) => carried(points, before.motion, now.motion, centre);
  desk.history.map((setup) => ({
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
  commit({ ...desk.history.present, zones: [...desk.history.present.zones, ...own] });
}

// What is drawn

/** @param {string} key @param {(zone: Zone) => Zone} change @param {string | null} [step] */
function change(key, change, step = null) {
  const { present } = desk.history;
  commit({ ...present, zones: present.zones.map((zone) => (zone.key === key ? change(zone) : zone)) }, step);
}

/**
 * What the board would make of a shape.
 * @param {string} key @param {Point[]} corners @param {string} step
 */
function edit(key, corners, step) {
  const { present } = desk.history;
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
  const { present } = desk.history;
  if (key === FIELD) commit({ ...present, field: null });
  else if (key === RULER) commit({ ...present, ruler: null });
  else commit({ ...present, zones: present.zones.filter((zone) => zone.key !== key) });
}

/** @param {Zone[]} zones */
function add(zones) {
  let setup = desk.history.present;
  for (const zone of zones)
    setup = { ...setup, zones: [...setup.zones, { ...zone, id: plans.freeName(setup, zone.id) }] };
  commit(setup);
  desk.board.select(setup.zones[setup.zones.length - 1].key);
}

/** @param {boolean} isLine */
function drawZone(isLine) {
  const view = drawable();
  if (view === null) return;
  const kind = choice("new-kind").value;
  desk.board.draw({
    isLine,
    least: isLine ? 2 : 3,
    most: Infinity,
    colour: colourOf(kind),
    done: (points) => {
      const line = isLine ? /** @type {const} */ ({ points, side: "left", ...STRIP }) : null;
      const id = plans.nextName(desk.history.present);
      add([{ key: plans.newKey(), id, kind, view, points: isLine ? [] : points, line }]);
    },
  });
  desk.board.canvas.focus();
}

function putTemplate() {
  const view = drawable();
  if (view === null) return;
  const template = TEMPLATES.filter((one) => one.view === view)[Number(choice("template").value)];
  add(template.zones.map((zone) => plans.zoneOfTemplate(zone, view, desk.board.middle(), mmPerPxOf(view))));
  if (desk.history.present.mm_per_px === null && desk.pictures[view]?.scale?.source === "assumed") {
    say("Its size is a guess: no scale is known yet. Draw a known distance, or wait for a needle.");
  }
}

function undo() {
  desk.history.undo();
  refresh();
}

function redo() {
  desk.history.redo();
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
  const field = desk.history.present.field;
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
  const ruler = desk.history.present.ruler;
  if (ruler === null || ruler.view !== desk.shown) return [];
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
  const found = desk.shown === "live" ? desk.seen?.field_px : desk.pictures[desk.shown]?.field;
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
  return (desk.seen?.zones ?? []).map((/** @type {any} */ zone) =>
    shapeOf({ ...zone, key: zone.id, view: desk.slot, points: zone.polygon_px, line: null }),
  );
}

function showBoard() {
  const bitmap = desk.shown === "live" ? desk.liveBitmap : (desk.pictures[desk.shown]?.bitmap ?? null);
  desk.board.mayEdit = desk.shown !== "live" || desk.tab === "field";
  desk.board.showPicture(bitmap);
  const zones = desk.shown === "live" ? watchedZones() : zonesOf(desk.shown).map(shapeOf);
  if (desk.tab === "field") desk.board.showShapes(fieldShapes(), [], [...zones, ...foundField()]);
  else if (desk.tab === "scale") desk.board.showShapes(rulerShapes(), [], zones);
  else if (desk.shown === "live") desk.board.showShapes([], [], [...zones, ...foundField()]);
  else desk.board.showShapes(zones, marks(desk.shown), foundField());
}

/** @param {View} view */
function marks(view) {
  const own = new Set(zonesOf(view).map((zone) => zone.id));
  return desk.faults.flatMap(({ at, zone, isError }) =>
    at !== null && zone !== null && own.has(zone) ? [{ at, isError }] : [],
  );
}

function showMeasures() {
  showScale();
  showField();
}

function refresh() {
  check();
  showBoard();
  for (const view of [...plans.VIEWS, /** @type {const} */ ("live")]) {
    part(`view-${view}`).setAttribute("aria-pressed", String(view === desk.shown));
  }
  const frozen = desk.shown === "live" ? undefined : desk.pictures[desk.shown];
  const doubt = frozen?.isRecognised === false ? " · not recognised: freeze another" : "";
  const words = frozen
    ? `${plans.VIEW_WORDS[frozen.view]} picture of ${frozen.t_s.toFixed(1)} s${doubt}`
    : "No picture frozen yet";
  put("picture-words", desk.shown === "live" ? "Live: freeze it to draw" : words);
  button("undo").disabled = !desk.history.canUndo;
  button("redo").disabled = !desk.history.canRedo;
  showTemplates();
  showZones();
  showStrip();
  showMeasures();
  showLimits();
  showUse();
}

function check() {
  const { present } = desk.history;
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
  desk.faults = [...found, ...cut];
  part("faults").replaceChildren(
    ...desk.faults.map((fault) => {
      const line = element("li", fault.text);
      line.dataset.error = String(fault.isError);
      return line;
    }),
  );
}

/** @param {string | null} view @returns {Point[] | null} */
function fieldOfView(view) {
  return desk.pictures[/** @type {View} */ (view)]?.field?.polygon ?? null;
}

function showZones() {
  const zones = desk.shown === "live" ? [] : zonesOf(desk.shown);
  const stamp = JSON.stringify([desk.shown, zones.map((zone) => zone.key)]);
  if (stamp !== listed) {
    listed = stamp;
    part("zones").replaceChildren(...(zones.length ? zones.map(zoneLine) : [none("Nothing is drawn on this view.")]));
  }
  for (const zone of zones) {
    const line = part("zones").querySelector(`[data-key="${zone.key}"]`);
    if (!(line instanceof HTMLElement)) continue;
    line.dataset.chosen = String(zone.key === desk.board.selection.key);
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
    desk.board.select(key);
    desk.board.canvas.focus();
  });
  const name = document.createElement("input");
  name.value = id;
  name.maxLength = 64;
  name.setAttribute("aria-label", "Name");
  name.addEventListener("input", () => change(key, (zone) => ({ ...zone, id: name.value }), `name ${key}`));
  name.addEventListener("focus", () => desk.board.select(key));
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
  return desk.history.present.zones.find((zone) => zone.key === desk.board.selection.key) ?? null;
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
  if (templatesOf === desk.shown) return;
  templatesOf = desk.shown;
  const own = TEMPLATES.filter((template) => template.view === desk.shown);
  choice("template").replaceChildren(...own.map((template, i) => new Option(template.name, String(i))));
  button("put-template").disabled = own.length === 0;
}

// Choices and presses

function fillChoices() {
  choice("new-kind").append(...Object.entries(plans.KINDS).map(([value, words]) => new Option(words, value)));
  fillGauges();
}

function listen() {
  const presses = {
    freeze: () => told(() => freeze("newest")),
    "zoom-out": () => desk.board.zoom(0.8),
    "zoom-in": () => desk.board.zoom(1.25),
    "zoom-fit": () => desk.board.fit(),
    "draw-polygon": () => drawZone(false),
    "draw-line": () => drawZone(true),
    "put-template": putTemplate,
    undo,
    redo,
    snap: toggleSnap,
    "remove-corner": () => desk.board.removeChosen(),
    "strip-side": () => changeStrip({ side: chosenZone()?.line?.side === "left" ? "right" : "left" }),
    "draw-ruler": drawRuler,
    "use-ruler": takeRuler,
    "use-header": () => takeScale(desk.heard?.health?.source_mm_per_px ?? null),
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
    "next-patient": () => told(() => beginNextPatient(room)),
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
    const { present } = desk.history;
    const mm = field("ruler-mm").valueAsNumber;
    if (present.ruler !== null) commit({ ...present, ruler: { ...present.ruler, mm: mm > 0 ? mm : null } }, "ruler mm");
  });
  choice("gauge").addEventListener("change", () => {
    const value = choice("gauge").value;
    commit({ ...desk.history.present, needle_mm: value === "" ? null : Number(value) });
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
  desk.board.cancel();
  desk.shown = view;
  if (view !== "live") desk.slot = view;
  desk.board.select(null);
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
  desk.tab = chosenTab.id.replace("tab-", "");
  for (const one of document.querySelectorAll('[role="tab"]')) {
    const isOpen = one === chosenTab;
    one.setAttribute("aria-selected", String(isOpen));
    one.setAttribute("tabindex", isOpen ? "0" : "-1");
    part(one.getAttribute("aria-controls") ?? "").hidden = !isOpen;
  }
  desk.board.cancel();
  desk.board.select(null);
  if (desk.tab === "plans") void told(listPlans);
  if (desk.tab === "source") void told(() => listSources(room));
  refresh();
}

function toggleSnap() {
  desk.board.snaps = !desk.board.snaps;
  part("snap").setAttribute("aria-pressed", String(desk.board.snaps));
}
