// What is wrong with zones as they are drawn: the same as guidance/drawing.py says, held to it by drawing_cases.json.

import { area, boxOf, distance, holds } from "./setup_geometry.js";

/** @typedef {import("./setup_geometry.js").Point} Point */
/** @typedef {{id: string, kind: string, polygon_px: Point[], view: string | null}} DrawnZone */
/** @typedef {{isError: boolean, text: string, zone: string | null, at: Point | null}} Fault */

const LEAST_AREA_PX2 = 16;
const SAME_CORNER_PX = 0.5;
const GRID_SIDE = 48;
const OVERLAP_SHARE = 0.02;

/**
 * All that is wrong, errors first.
 * @param {DrawnZone[]} zones @param {number} width @param {number} height of the picture
 * @param {(view: string | null) => Point[] | null} fieldOf the x-ray field of a view's picture, where it is known
 * @returns {Fault[]}
 */
export function faultsOf(zones, width, height, fieldOf) {
  const found = namedTwice(zones);
  for (const zone of zones) found.push(...ofOne(zone, width, height, fieldOf(zone.view)));
  const broken = new Set(found.filter((fault) => fault.isError).map((fault) => fault.zone));
  found.push(...overlaps(zones.filter((zone) => !broken.has(zone.id))), ...unguarded(zones));
  return [...found.filter((fault) => fault.isError), ...found.filter((fault) => !fault.isError)];
}

/** @param {string} text @param {string | null} [zone] @param {Point | null} [at] @returns {Fault} */
function error(text, zone = null, at = null) {
  return { isError: true, text, zone, at };
}

/** @param {string} text @param {string | null} [zone] @param {Point | null} [at] @returns {Fault} */
function warning(text, zone = null, at = null) {
  return { isError: false, text, zone, at };
}

/** @param {DrawnZone[]} zones @returns {Fault[]} */
function namedTwice(zones) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const zone of zones) counts.set(zone.id, (counts.get(zone.id) ?? 0) + 1);
  return [...counts]
    .filter(([, count]) => count > 1)
    .map(([id, count]) => error(`“${id}” names ${count} zones; give each a name of its own.`, id));
}

/** @param {DrawnZone} zone @param {number} width @param {number} height @param {Point[] | null} field @returns {Fault[]} */
function ofOne({ id, polygon_px: corners }, width, height, field) {
  /** @type {Fault[]} */
  const found = [];
  if (id.trim() === "") found.push(error("A zone has no name; give it one.", id, corners[0] ?? null));
  if (corners.length < 3) {
    found.push(error(`“${id}” has ${corners.length} corners; a zone needs at least 3.`, id));
    return found;
  }
  const outside = corners.find(([x, y]) => x < -0.5 || y < -0.5 || x > width - 0.5 || y > height - 0.5);
  if (outside !== undefined) {
    found.push(error(`“${id}” reaches beyond the picture of ${width} × ${height} pixels; pull it in.`, id, outside));
  }
  const crossing = crossingOf(corners);
  const size = Math.abs(area(corners));
  if (crossing !== null) {
    found.push(error(`“${id}” crosses itself; move a corner so that its edges do not cross.`, id, crossing));
  } else if (size < LEAST_AREA_PX2) {
    found.push(error(`“${id}” is only ${size.toFixed(0)} square pixels; draw it larger or remove it.`, id, corners[0]));
  } else if (field !== null && !corners.some((corner) => holds(field, corner))) {
    found.push(warning(`“${id}” lies outside the X-ray field: nothing is seen there.`, id, corners[0]));
  }
  return found;
}

/** @param {DrawnZone[]} zones @returns {Fault[]} */
function overlaps(zones) {
  /** @type {Fault[]} */
  const found = [];
  for (const [i, a] of zones.entries()) {
    for (const b of zones.slice(i + 1)) {
      const [target, forbidden] = a.kind === "target" ? [a, b] : [b, a];
      if (target.kind !== "target" || forbidden.kind !== "forbidden" || a.view !== b.view) continue;
      const at = overlapOf(a.polygon_px, b.polygon_px);
      if (at === null) continue;
      found.push(
        warning(`Target “${target.id}” overlaps forbidden “${forbidden.id}”: cement there alarms.`, target.id, at),
      );
    }
  }
  return found;
}

/** @param {DrawnZone[]} zones @returns {Fault[]} */
function unguarded(zones) {
  const guarded = new Set(zones.filter((zone) => zone.kind === "forbidden").map((zone) => zone.view));
  const bare = [...new Set(zones.map((zone) => zone.view))].filter((view) => !guarded.has(view)).sort();
  if (zones.length === 0) return [warning("No forbidden zone is drawn: no leak into one can be told.")];
  return bare.map((view) => {
    const where = view === null ? "" : ` on the ${view === "ap" ? "AP" : view} view`;
    return warning(`No forbidden zone is drawn${where}: no leak into one can be told.`);
  });
}

/**
 * Where two edges cross, or a corner lies on another.
 * @param {Point[]} corners @returns {Point | null}
 */
function crossingOf(corners) {
  const count = corners.length;
  for (let i = 0; i < count; i++) {
    for (let j = i + 1; j < count; j++) if (distance(corners[i], corners[j]) < SAME_CORNER_PX) return corners[i];
  }
  for (let i = 0; i < count; i++) {
    for (let j = i + 2; j < count; j++) {
      if (i === 0 && j === count - 1) continue;
      const at = meeting(corners[i], corners[i + 1], corners[j], corners[(j + 1) % count]);
      if (at !== null) return at;
    }
  }
  return null;
}

/**
 * Where the line from a to b meets the one from c to d, ends included.
 * @param {Point} a @param {Point} b @param {Point} c @param {Point} d @returns {Point | null}
 */
function meeting(a, b, c, d) {
  const along = [b[0] - a[0], b[1] - a[1]];
  const other = [d[0] - c[0], d[1] - c[1]];
  const gap = [c[0] - a[0], c[1] - a[1]];
  const cross = along[0] * other[1] - along[1] * other[0];
  if (Math.abs(cross) < 1e-12) return null;
  const s = (gap[0] * other[1] - gap[1] * other[0]) / cross;
  const t = (gap[0] * along[1] - gap[1] * along[0]) / cross;
  return s >= 0 && s <= 1 && t >= 0 && t <= 1 ? [a[0] + s * along[0], a[1] + s * along[1]] : null;
}

/**
 * The middle of what two polygons have in common; null where that is next to nothing.
 * @param {Point[]} a @param {Point[]} b @returns {Point | null}
 */
function overlapOf(a, b) {
  const [boxA, boxB] = [boxOf(a), boxOf(b)];
  const low = [0, 1].map((axis) => Math.max(boxA.low[axis], boxB.low[axis]));
  const high = [0, 1].map((axis) => Math.min(boxA.high[axis], boxB.high[axis]));
  if (high[0] <= low[0] || high[1] <= low[1]) return null;
  const step = [0, 1].map((axis) => (high[axis] - low[axis]) / GRID_SIDE);
  let [count, x, y] = [0, 0, 0];
  for (let row = 0; row < GRID_SIDE; row++) {
    for (let column = 0; column < GRID_SIDE; column++) {
      /** @type {Point} */
      const at = [low[0] + step[0] * (column + 0.5), low[1] + step[1] * (row + 0.5)];
      if (!holds(a, at) || !holds(b, at)) continue;
      [count, x, y] = [count + 1, x + at[0], y + at[1]];
    }
  }
  const least = OVERLAP_SHARE * Math.min(Math.abs(area(a)), Math.abs(area(b)));
  return count * step[0] * step[1] <= least ? null : [x / count, y / count];
}
