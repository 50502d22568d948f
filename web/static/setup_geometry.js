// Geometry of what is drawn, in pixels of the picture: nothing here knows of a screen.

/** @typedef {[number, number]} Point x to the right, y down */
/** @typedef {{shift_px: number[], rotation_deg: number}} Motion */
/** @typedef {"left" | "right" | "both"} Side of a line, as seen along it */

// However sharp a bend, a band's corner lies no farther out than this many times its width.
const LONGEST_MITRE = 2;

/** @param {Point} a @param {Point} b */
export function distance(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

/**
 * The point of the line from a to b that is nearest to p.
 * @param {Point} p @param {Point} a @param {Point} b @returns {Point}
 */
export function nearestOn(p, a, b) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const share = ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / (dx * dx + dy * dy || 1);
  const t = Math.min(1, Math.max(0, share));
  return [a[0] + t * dx, a[1] + t * dy];
}

/**
 * Signed area, by the surveyor's formula.
 * @param {Point[]} corners
 */
export function area(corners) {
  let sum = 0;
  for (let i = 0; i < corners.length; i++) {
    const [x0, y0] = corners[i];
    const [x1, y1] = corners[(i + 1) % corners.length];
    sum += x0 * y1 - x1 * y0;
  }
  return sum / 2;
}

/**
 * Whether a polygon holds a point, by the edges that a ray to the right crosses.
 * @param {Point[]} polygon @param {Point} point
 */
export function holds(polygon, [x, y]) {
  let inside = false;
  for (let i = 0; i < polygon.length; i++) {
    const [x0, y0] = polygon[i];
    const [x1, y1] = polygon[(i + 1) % polygon.length];
    if (y0 > y !== y1 > y && x < ((x1 - x0) * (y - y0)) / (y1 - y0) + x0) inside = !inside;
  }
  return inside;
}

/** @param {Point[]} points @returns {{low: Point, high: Point}} */
export function boxOf(points) {
  const xs = points.map((point) => point[0]);
  const ys = points.map((point) => point[1]);
  return { low: [Math.min(...xs), Math.min(...ys)], high: [Math.max(...xs), Math.max(...ys)] };
}

/** @param {Point[]} points @param {number} dx @param {number} dy @returns {Point[]} */
export function shifted(points, dx, dy) {
  return points.map(([x, y]) => [x + dx, y + dy]);
}

/** @param {Point} centre @param {number} rx @param {number} ry @param {number} corners @returns {Point[]} */
export function ellipse([cx, cy], rx, ry, corners) {
  return Array.from({ length: corners }, (_, i) => {
    const turn = (2 * Math.PI * i) / corners;
    return [cx + rx * Math.cos(turn), cy + ry * Math.sin(turn)];
  });
}

/**
 * The strip beside a line, from `near` to `far` of it; on both sides, one that is `far` wide with the line in its middle.
 * @param {Point[]} line @param {Side} side @param {number} near @param {number} far
 * @returns {Point[]}
 */
export function band(line, side, near, far) {
  if (side === "both") return [...beside(line, -far / 2), ...beside(line, far / 2).reverse()];
  // With y down, what lies to the left of the way is on the side of (dy, -dx).
  const sign = side === "left" ? 1 : -1;
  return [...beside(line, sign * near), ...beside(line, sign * far).reverse()];
}

/**
 * A line's parallel, to its left for a positive distance.
 * @param {Point[]} line @param {number} by @returns {Point[]}
 */
function beside(line, by) {
  const normals = line.slice(1).map((point, i) => {
    const length = distance(point, line[i]) || 1;
    return [(point[1] - line[i][1]) / length, (line[i][0] - point[0]) / length];
  });
  return line.map(([x, y], i) => {
    const before = normals[Math.max(0, i - 1)];
    const after = normals[Math.min(normals.length - 1, i)];
    const [nx, ny] = [before[0] + after[0], before[1] + after[1]];
    const size = Math.hypot(nx, ny) || 1;
    // The mean of both normals is short by the cosine of half the bend.
    const mitre = Math.min(LONGEST_MITRE, 2 / size);
    return [x + (by * mitre * nx) / size, y + (by * mitre * ny) / size];
  });
}

/**
 * The part of a polygon inside a picture; the same corners where none lies outside, or less than three would be left.
 * Source: I. Sutherland, G. Hodgman, Reentrant polygon clipping, 1974.
 * @param {Point[]} polygon @param {number} width @param {number} height @returns {Point[]}
 */
export function clipped(polygon, width, height) {
  let kept = polygon;
  for (const [axis, sign, bound] of [
    [0, 1, 0],
    [0, -1, 1 - width],
    [1, 1, 0],
    [1, -1, 1 - height],
  ]) {
    const depth = kept.map((point) => sign * point[axis] - bound);
    if (depth.every((inside) => inside >= 0)) continue;
    kept = kept.flatMap((a, i) => {
      const b = kept[(i + 1) % kept.length];
      const [here, there] = [depth[i], depth[(i + 1) % kept.length]];
      const share = here / (here - there);
      /** @type {Point} */
      const cut = [a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])];
      return [...(here >= 0 ? [a] : []), ...(here >= 0 !== there >= 0 ? [cut] : [])];
    });
    if (kept.length < 3) return polygon;
  }
  return kept;
}

/**
 * Where points of one picture lie on another of the same view, by how the anatomy has moved on each since the reference.
 * @param {Point[]} points @param {Motion} from @param {Motion} to @param {Point} centre of the picture, which turns go about
 * @returns {Point[]}
 */
export function carried(points, from, to, centre) {
  return points.map((point) => {
    const back = turned([point[0] - from.shift_px[0], point[1] - from.shift_px[1]], -from.rotation_deg, centre);
    const there = turned(back, to.rotation_deg, centre);
    return [there[0] + to.shift_px[0], there[1] + to.shift_px[1]];
  });
}

/**
 * Counter-clockwise on the screen.
 * @param {Point} point @param {number} deg @param {Point} centre @returns {Point}
 */
export function turned(point, deg, centre) {
  const a = (deg * Math.PI) / 180;
  const [dx, dy] = [point[0] - centre[0], point[1] - centre[1]];
  return [centre[0] + Math.cos(a) * dx + Math.sin(a) * dy, centre[1] - Math.sin(a) * dx + Math.cos(a) * dy];
}

/**
 * The smallest convex polygon around points (A. M. Andrew, 1979).
 * @param {Point[]} points @returns {Point[]}
 */
export function hull(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  /** @param {Point[]} half */
  const chain = (half) => {
    /** @type {Point[]} */
    const kept = [];
    for (const point of half) {
      while (kept.length > 1 && area([kept[kept.length - 2], kept[kept.length - 1], point]) <= 0) kept.pop();
      kept.push(point);
    }
    return kept.slice(0, -1);
  };
  return [...chain(sorted), ...chain(sorted.reverse())];
}
