// Distances and angles on a recorded picture, by mouse, finger or keys. In millimetres where a scale is known, and it is
// said which; in pixels where there is none.

import { distance } from "./setup_geometry.js";
import { element, part, put } from "./setup_dom.js";

/** @typedef {import("./setup_geometry.js").Point} Point */
/** @typedef {import("./review_pane.js").Pane} Pane */
/** @typedef {import("./stage.js").Stroke} Stroke */
/** @typedef {"distance" | "angle"} Tool */
/** @typedef {{tool: Tool, points: Point[], pane: Pane, words: string}} Measure */
/** @typedef {{mm_per_px: number, source: string}} Scale */

const NEEDED = { distance: 2, angle: 3 };
const CROSS_PX = 9;
const SCALE_WORDS = /** @type {Record<string, string>} */ ({
  plan: "the plan's scale",
  needle: "the needle's width, right at the needle's depth",
  header: "the source's header, in the plane of its own",
  assumed: "an assumed scale, good to a third",
});

/** @param {Point[]} points the vertex is the second @returns {number} degrees, 0 to 180 */
export function angleDeg([a, vertex, b]) {
  const one = Math.atan2(a[1] - vertex[1], a[0] - vertex[0]);
  const other = Math.atan2(b[1] - vertex[1], b[0] - vertex[0]);
  const between = Math.abs(((one - other) * 180) / Math.PI) % 360;
  return between > 180 ? 360 - between : between;
}

/** @param {number} px @param {Scale | null} scale */
export function distanceWords(px, scale) {
  if (scale === null) return `${px.toFixed(1)} px (no scale is known)`;
  const about = scale.source === "assumed" ? "≈ " : "";
  return `${about}${(px * scale.mm_per_px).toFixed(1)} mm`;
}

export class Measuring {
  /**
   * @param {Pane[]} panes @param {(pane: Pane) => Scale | null} scaleOf
   */
  constructor(panes, scaleOf) {
    this.panes = panes;
    this.scaleOf = scaleOf;
    /** @type {Tool | null} */
    this.tool = null;
    /** @type {Measure[]} */
    this.done = [];
    /** @type {Point[]} */
    this.points = [];
    this.pane = panes[0];
    /** @type {Point | null} where the mouse or the keys are */
    this.cross = null;
    for (const pane of panes) this.listen(pane);
    part("measure-distance").addEventListener("click", () => this.take("distance"));
    part("measure-angle").addEventListener("click", () => this.take("angle"));
    part("measure-clear").addEventListener("click", () => this.clear());
    this.tell();
  }

  /** @param {Pane} pane */
  listen(pane) {
    pane.element.addEventListener("pointerdown", (event) => {
      if (this.tool === null || event.button !== 0) return;
      const point = pane.pixelAt(event.clientX, event.clientY);
      if (point !== null) this.put(pane, point);
    });
    pane.element.addEventListener("pointermove", (event) => {
      if (this.tool === null || (this.points.length && pane !== this.pane)) return;
      this.pane = pane;
      this.cross = pane.pixelAt(event.clientX, event.clientY);
      this.draw();
    });
  }

  /**
   * Begin with a tool, or leave it.
   * @param {Tool} tool
   */
  take(tool) {
    this.tool = this.tool === tool ? null : tool;
    this.points = [];
    const bitmap = this.panes[0].stage.bitmap;
    this.pane = this.panes[0];
    this.cross = this.tool === null || bitmap === null ? null : [bitmap.width / 2, bitmap.height / 2];
    this.tell();
  }

  leave() {
    this.tool = null;
    this.points = [];
    this.cross = null;
    this.tell();
  }

  clear() {
    this.done = [];
    this.points = [];
    this.tell();
  }

  /**
   * Move the cross.
   * @param {number} dx @param {number} dy
   */
  move(dx, dy) {
    const bitmap = this.pane.stage.bitmap;
    if (this.cross === null || bitmap === null) return;
    this.cross = [clamped(this.cross[0] + dx, bitmap.width - 1), clamped(this.cross[1] + dy, bitmap.height - 1)];
    this.draw();
  }

  /** Put a point where the cross is. */
  putHere() {
    if (this.cross !== null) this.put(this.pane, this.cross);
  }

  /** @param {Pane} pane @param {Point} point */
  put(pane, point) {
    if (this.tool === null) return;
    if (pane !== this.pane) this.points = [];
    this.pane = pane;
    this.points.push(point);
    this.cross = point;
    if (this.points.length === NEEDED[this.tool]) {
      const words = `${this.tool} ${this.wordsOf(this.tool, this.points, pane)} at ${pane.caption.textContent}`;
      this.done.push({ tool: this.tool, points: this.points, pane, words });
      this.points = [];
    }
    this.tell();
  }

  /** @param {Tool} tool @param {Point[]} points @param {Pane} pane */
  wordsOf(tool, points, pane) {
    return tool === "angle" ? `${angleDeg(points).toFixed(1)}°` : distanceWords(distance(points[0], points[1]), this.scaleOf(pane));
  }

  /**
   * What was measured belongs to its picture: on another one it would lie.
   * @param {Pane} pane
   */
  forget(pane) {
    if (!this.done.some((one) => one.pane === pane) && (this.points.length === 0 || this.pane !== pane)) return;
    this.done = this.done.filter((one) => one.pane !== pane);
    if (this.pane === pane) this.points = [];
    this.tell();
  }

  tell() {
    for (const tool of /** @type {Tool[]} */ (["distance", "angle"]))
      part(`measure-${tool}`).setAttribute("aria-pressed", String(this.tool === tool));
    const left = this.tool === null ? 0 : NEEDED[this.tool] - this.points.length;
    const which = this.tool === "angle" && left === 2 ? "the vertex" : this.points.length ? "the next point" : "the first point";
    put("measure-hint", this.tool === null ? "Choose what to measure." : `Put ${which}: click, or arrows (Shift: 10 px) and Enter. Esc ends.`);
    part("measures").replaceChildren(...this.done.map((one) => element("li", one.words)));
    const scale = this.scaleOf(this.pane);
    put(
      "measure-scale",
      scale === null ? "No scale is known here: distances are in pixels." : `${scale.mm_per_px.toFixed(3)} mm a pixel, from ${SCALE_WORDS[scale.source] ?? scale.source}.`,
    );
    this.draw();
  }

  draw() {
    for (const pane of this.panes) {
      /** @type {Stroke[]} */
      const strokes = this.done.filter((one) => one.pane === pane).flatMap((one) => strokesOf(one.points, this.wordsOf(one.tool, one.points, pane), "measure"));
      if (this.tool !== null && pane === this.pane && this.cross !== null) {
        const points = [...this.points, this.cross];
        const enough = points.length === NEEDED[this.tool];
        if (points.length > 1) strokes.push(...strokesOf(points, enough ? this.wordsOf(this.tool, points, pane) : "", "measuring"));
        strokes.push(...crossAt(this.cross));
      }
      pane.measured = strokes;
      pane.draw();
    }
  }
}

/** @param {Point[]} points @param {string} words @param {string} style @returns {Stroke[]} */
function strokesOf(points, words, style) {
  const [x, y] = points[points.length === 3 ? 1 : points.length - 1];
  /** @type {Stroke[]} */
  const strokes = [{ kind: "polyline", style, xy: points.flat() }];
  for (const [cx, cy] of points) strokes.push({ kind: "circle", style: "measure", xy: [cx, cy], r: 2 });
  if (words !== "") strokes.push({ kind: "text", style: "label", xy: [x + 8, y - 12], text: words });
  return strokes;
}

/** @param {Point} point @returns {Stroke[]} */
function crossAt([x, y]) {
  return [
    { kind: "polyline", style: "measure", xy: [x - CROSS_PX, y, x - 2, y] },
    { kind: "polyline", style: "measure", xy: [x + 2, y, x + CROSS_PX, y] },
    { kind: "polyline", style: "measure", xy: [x, y - CROSS_PX, x, y - 2] },
    { kind: "polyline", style: "measure", xy: [x, y + 2, x, y + CROSS_PX] },
  ];
}

/** @param {number} value @param {number} most */
function clamped(value, most) {
  return Math.min(Math.max(value, 0), most);
}
