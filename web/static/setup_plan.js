// What is being set up, as one state that is never changed but replaced, and the contract's plan.json made of it.

import { band, boxOf, clipped, ellipse, shifted } from "./setup_geometry.js";

/** @typedef {import("./setup_geometry.js").Point} Point */
/** @typedef {import("./setup_geometry.js").Motion} Motion */
/** @typedef {"ap" | "lateral"} View */
/**
 * A line of which a zone is the strip beside it, in millimetres from it.
 * @typedef {{points: Point[], side: import("./setup_geometry.js").Side, near_mm: number, far_mm: number}} Spine
 */
/** @typedef {{key: string, id: string, kind: string, view: View, points: Point[], line: Spine | null}} Zone */
/** @typedef {{isCircle: boolean, corners: Point[]}} Field a circle's corners are its middle and a point of its rim */
/** @typedef {{view: View, corners: Point[], mm: number | null}} Ruler */
/**
 * `references`: for views of a loaded plan, when its picture was; a frozen picture takes its place.
 * @typedef {{zones: Zone[], mm_per_px: number | null, needle_mm: number | null, limits: Record<string, number>, ruler: Ruler | null,
 *            field: Field | null, phases: object[], references: Partial<Record<View, number>>, picture_px: [number, number] | null}} Setup
 */
/** @typedef {{id: string, kind: string, polygon_px: Point[], view: View | null}} PlanZone */
/**
 * @typedef {{schema: 1, mm_per_px?: number | null, needle_diameter_mm?: number | null, view?: View | null, phases?: object[], zones?: PlanZone[],
 *            views?: {view: View, reference_s: number}[], picture_px?: [number, number] | null, limits?: Record<string, number> | null}} Plan
 */
/**
 * A picture that stands still to be drawn on. `motion`: since the picture that the `plan` in use was drawn on.
 * @typedef {{case: string, pulse: number, t_s: number, view: View, viewId: number, bitmap: ImageBitmap, motion: Motion, plan: string | null, isRecognised: boolean,
 *            scale: {mm_per_px: number, source: string} | null, field: {kind: string, polygon: Point[], bone_dark: boolean} | null}} Frozen
 */
/** @typedef {Partial<Record<View, Frozen>>} Pictures */

export const VIEWS = /** @type {const} */ (["ap", "lateral"]);
export const VIEW_WORDS = { ap: "AP", lateral: "lateral" };
export const KINDS = { forbidden: "forbidden", caution: "caution", target: "target", body: "body" };

/** @type {Setup} */
export const NOTHING = {
  zones: [],
  mm_per_px: null,
  needle_mm: null,
  limits: {},
  ruler: null,
  field: null,
  phases: [],
  references: {},
  picture_px: null,
};

const CIRCLE_CORNERS = 64;
let keys = 0;

/** A name for a new zone that no other one has, also after it was given another. */
export function newKey() {
  keys += 1;
  return `zone ${keys}`;
}

/** @param {Zone} zone @param {number} mmPerPx @returns {Point[]} the polygon that is watched */
export function outlineOf(zone, mmPerPx) {
  const { line } = zone;
  return line === null ? zone.points : band(line.points, line.side, line.near_mm / mmPerPx, line.far_mm / mmPerPx);
}

/** @param {Field} field @returns {Point[]} */
export function fieldOutline({ isCircle, corners }) {
  if (!isCircle) return corners;
  const radius = Math.hypot(corners[1][0] - corners[0][0], corners[1][1] - corners[0][1]);
  return ellipse(corners[0], radius, radius, CIRCLE_CORNERS);
}

/**
 * The found outline as something that can be dragged.
 * @param {{kind: string, polygon: Point[]}} found @returns {Field}
 */
export function fieldOf(found) {
  if (found.kind !== "circle") return { isCircle: false, corners: found.polygon };
  const { low, high } = boxOf(found.polygon);
  const [x, y] = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
  return {
    isCircle: true,
    corners: [
      [x, y],
      [high[0], y],
    ],
  };
}

/**
 * A name for a zone that nobody has named yet; alerts say it, so it must not read like a kind.
 * @param {Setup} setup
 */
export function nextName(setup) {
  const taken = new Set(setup.zones.map((zone) => zone.id));
  for (let number = 1; ; number++) if (!taken.has(`zone_${number}`)) return `zone_${number}`;
}

/**
 * A name like the wanted one that no zone has yet.
 * @param {Setup} setup @param {string} wanted
 */
export function freeName(setup, wanted) {
  const taken = new Set(setup.zones.map((zone) => zone.id));
  if (!taken.has(wanted)) return wanted;
  for (let number = 2; ; number++) if (!taken.has(`${wanted}_${number}`)) return `${wanted}_${number}`;
}

/**
 * What is drawn, as the checks and the plan have it: cut at the picture's border, beyond which the anatomy may have moved.
 * @param {Setup} setup @param {(view: View) => number} mmPerPxOf @returns {PlanZone[]}
 */
export function planZones(setup, mmPerPxOf) {
  return setup.zones.map((zone) => {
    const outline = outlineOf(zone, mmPerPxOf(zone.view));
    const inside = setup.picture_px === null ? outline : clipped(outline, ...setup.picture_px);
    return {
      id: zone.id,
      kind: zone.kind,
      polygon_px: inside.map(([x, y]) => [rounded(x), rounded(y)]),
      view: zone.view,
    };
  });
}

/**
 * The zones that reach beyond the picture, and where.
 * @param {Setup} setup @param {(view: View) => number} mmPerPxOf @returns {{id: string, at: Point}[]}
 */
export function cutZones(setup, mmPerPxOf) {
  if (setup.picture_px === null) return [];
  const [width, height] = setup.picture_px;
  return setup.zones.flatMap((zone) => {
    const outline = outlineOf(zone, mmPerPxOf(zone.view));
    const inside = clipped(outline, width, height);
    const at = inside === outline ? undefined : inside.find((point) => !outline.includes(point));
    return at === undefined ? [] : [{ id: zone.id, at }];
  });
}

/**
 * The contract's plan. Only views that have a picture, or had one where the plan was loaded, are named.
 * @param {Setup} setup @param {Pictures} pictures @param {(view: View) => number} mmPerPxOf
 * @returns {Plan}
 */
export function planOf(setup, pictures, mmPerPxOf) {
  const views = VIEWS.flatMap((view) => {
    const reference_s = pictures[view]?.t_s ?? setup.references[view];
    return reference_s === undefined ? [] : [{ view, reference_s }];
  });
  return {
    schema: 1,
    ...(setup.mm_per_px === null ? {} : { mm_per_px: setup.mm_per_px }),
    ...(setup.needle_mm === null ? {} : { needle_diameter_mm: setup.needle_mm }),
    ...(setup.picture_px === null ? {} : { picture_px: setup.picture_px }),
    ...(setup.phases.length === 0 ? {} : { phases: setup.phases }),
    ...(Object.keys(setup.limits).length === 0 ? {} : { limits: setup.limits }),
    views: views.sort((a, b) => a.reference_s - b.reference_s),
    zones: planZones(setup, mmPerPxOf),
  };
}

/**
 * A plan's zones to draw on with, brought to a picture of another size where it is one.
 * @param {Plan} plan @param {[number, number] | null} picture_px @param {View} otherwise the view of zones that name none
 * @returns {Zone[]}
 */
export function zonesOf(plan, picture_px, otherwise) {
  const by = plan.picture_px && picture_px ? picture_px[0] / plan.picture_px[0] : 1;
  return (plan.zones ?? []).map((zone) => ({
    key: newKey(),
    id: zone.id,
    kind: zone.kind,
    view: zone.view ?? plan.view ?? otherwise,
    points: zone.polygon_px.map(([x, y]) => /** @type {Point} */ ([x * by, y * by])),
    line: null,
  }));
}

/**
 * A loaded plan as a state.
 * @param {Plan} plan @param {[number, number] | null} picture_px @param {View} otherwise @returns {Setup}
 */
export function setupOf(plan, picture_px, otherwise) {
  const single = (plan.views ?? []).length === 0 ? [{ view: plan.view ?? otherwise, reference_s: 0 }] : [];
  return {
    ...NOTHING,
    zones: zonesOf(plan, picture_px, otherwise),
    mm_per_px: plan.mm_per_px ?? null,
    needle_mm: plan.needle_diameter_mm ?? null,
    limits: plan.limits ?? {},
    phases: plan.phases ?? [],
    references: Object.fromEntries(
      [...single, ...(plan.views ?? [])].map(({ view, reference_s }) => [view, reference_s]),
    ),
    picture_px: picture_px ?? plan.picture_px ?? null,
  };
}

/** @param {Zone} zone @param {(points: Point[]) => Point[]} move @returns {Zone} */
export function zoneMoved(zone, move) {
  return { ...zone, points: move(zone.points), line: zone.line && { ...zone.line, points: move(zone.line.points) } };
}

/** @param {import("./setup_templates.js").TemplateZone} zone @param {View} view @param {Point} middle @param {number} mmPerPx @returns {Zone} */
export function zoneOfTemplate(zone, view, middle, mmPerPx) {
  const points = shifted(
    zone.points_mm.map(([x, y]) => [x / mmPerPx, y / mmPerPx]),
    middle[0],
    middle[1],
  );
  const spine = zone.line === undefined ? null : { ...zone.line, points };
  return { key: newKey(), id: zone.id, kind: zone.kind, view, points: spine ? [] : points, line: spine };
}

/**
 * To a hundredth of a pixel: finer than anybody draws.
 * @param {number} value
 */
function rounded(value) {
  return Math.round(value * 100) / 100;
}
