// Cement area over time, a line for each deposit: growth is the slope, and stands in words at the line's end.

import { mark } from "./dom.js";
import { signed } from "./panel.js";

const SVG = "http://www.w3.org/2000/svg";
const STEP_S = 0.5;
const POINTS_KEPT = 3600;
const LINES_KEPT = 16;
const SHORTEST_WINDOW_S = 30;
const LEAST_MM2 = 50;
// Lines are told apart by their dashes, not by colour.
const DASHES = ["none", "7 3", "2 3", "9 3 2 3"];
const MARGIN = { left: 3.2, right: 7, top: 0.7, bottom: 1.5 }; // in em

/** @typedef {[number, number]} Point seconds and mm² */

export class Trends {
  /** @param {SVGSVGElement} svg */
  constructor(svg) {
    this.svg = svg;
    /** @type {Map<string, Point[]>} by view and deposit */
    this.lines = new Map();
    /** @type {Map<string, string>} the words at a line's end */
    this.words = new Map();
    this.viewId = 0;
    new ResizeObserver(() => this.draw()).observe(svg);
  }

  /** Take what the server remembers; a case that has begun anew has none. */
  async recall() {
    this.lines = new Map();
    this.words.clear();
    try {
      const answer = await fetch("trends.json");
      if (answer.ok) this.lines = new Map(Object.entries(await answer.json()));
    } catch {
      // The line is down: once it is back the trends are recalled again.
    }
    this.draw();
  }

  /** @param {any} findings of a picture that is shown */
  note(findings) {
    if (findings.state !== "live") return;
    this.viewId = findings.view_id;
    for (const deposit of findings.cement) {
      if (deposit.area_mm2 === null) continue;
      const name = `${findings.view_id}/${deposit.id}`;
      const line = this.lines.get(name) ?? [];
      this.lines.set(name, line);
      const last = line.at(-1);
      if (last !== undefined && findings.t_s - last[0] < STEP_S) continue;
      line.push([findings.t_s, deposit.area_mm2]);
      if (line.length > POINTS_KEPT) line.shift();
      if (this.lines.size > LINES_KEPT) this.forgetOldest();
      const growth = deposit.growth_mm2_per_s === null ? "" : ` ${signed(deposit.growth_mm2_per_s)}/s`;
      this.words.set(name, `${deposit.id}: ${deposit.area_mm2.toFixed(0)}${growth}`);
    }
    this.draw();
  }

  forgetOldest() {
    const ends = [...this.lines].map(([name, line]) => ({ name, until_s: line[line.length - 1][0] }));
    const { name } = ends.reduce((oldest, end) => (end.until_s < oldest.until_s ? end : oldest));
    this.lines.delete(name);
    this.words.delete(name);
  }

  /** The lines of the view on the screen: another view projects the same cement to another area. */
  get shown() {
    return [...this.lines].filter(([name, line]) => name.startsWith(`${this.viewId}/`) && line.length > 0);
  }

  draw() {
    const lines = this.shown;
    const { clientWidth: width, clientHeight: height } = this.svg;
    const em = parseFloat(getComputedStyle(this.svg).fontSize);
    const words = lines.length ? lines.map(([name]) => this.wordsOf(name)).join("; ") : "none detected";
    mark(this.svg, "aria-label", `Cement area over time, mm²: ${words}`);
    if (!width || height < 3 * em) return this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const box = { x0: MARGIN.left * em, x1: width - MARGIN.right * em, y0: height - MARGIN.bottom * em, y1: MARGIN.top * em };
    if (!lines.length) {
      const none = text(width / 2, height / 2, "none detected", "axis");
      none.setAttribute("text-anchor", "middle");
      return this.svg.replaceChildren(none);
    }
    const ends = lines.flatMap(([, line]) => [line[0][0], line[line.length - 1][0]]);
    const until_s = Math.max(...ends);
    const since_s = Math.min(Math.min(...ends), until_s - SHORTEST_WINDOW_S);
    const most = round(Math.max(LEAST_MM2, ...lines.flatMap(([, line]) => line.map((point) => point[1]))));
    const x = (/** @type {number} */ t_s) => box.x0 + ((t_s - since_s) / (until_s - since_s)) * (box.x1 - box.x0);
    const y = (/** @type {number} */ mm2) => box.y0 - (mm2 / most) * (box.y0 - box.y1);
    this.svg.replaceChildren(...axes(box, since_s, until_s, most, em), ...this.drawn(lines, x, y, em));
  }

  /** @param {[string, Point[]][]} lines @param {(t_s: number) => number} x @param {(mm2: number) => number} y @param {number} em */
  drawn(lines, x, y, em) {
    const ends = lines
      .map(([name, line], i) => ({ name, line, i, at: y(line[line.length - 1][1]) }))
      .sort((a, b) => a.at - b.at);
    let taken = -Infinity;
    return ends.flatMap(({ name, line, i, at }) => {
      const points = line.map(([t_s, mm2]) => `${x(t_s).toFixed(1)},${y(mm2).toFixed(1)}`).join(" ");
      const drawn = shape("polyline", { points, class: "line", "stroke-dasharray": DASHES[i % DASHES.length] });
      taken = Math.max(at, taken + 1.1 * em);
      return [drawn, text(x(line[line.length - 1][0]) + 0.3 * em, taken + 0.35 * em, this.wordsOf(name), "end")];
    });
  }

  /** @param {string} name */
  wordsOf(name) {
    const line = this.lines.get(name);
    return this.words.get(name) ?? `${name.split("/")[1]}: ${line === undefined ? "–" : line[line.length - 1][1].toFixed(0)}`;
  }
}

/**
 * @param {{x0: number, x1: number, y0: number, y1: number}} box
 * @param {number} since_s @param {number} until_s @param {number} most @param {number} em
 */
function axes(box, since_s, until_s, most, em) {
  const rows = [0, 1, 2].map((i) => box.y0 - (i / 2) * (box.y0 - box.y1));
  const grid = rows.map((y) => shape("line", { x1: `${box.x0}`, x2: `${box.x1}`, y1: `${y}`, y2: `${y}`, class: "grid" }));
  const left = rows.map((y, i) => {
    const words = text(box.x0 - 0.4 * em, y + 0.35 * em, `${(i / 2) * most}`, "axis");
    words.setAttribute("text-anchor", "end");
    return words;
  });
  const from = text(box.x0, box.y0 + 1.2 * em, `−${(until_s - since_s).toFixed(0)} s`, "axis");
  const now = text(box.x1, box.y0 + 1.2 * em, "now", "axis");
  now.setAttribute("text-anchor", "end");
  return [...grid, ...left, from, now];
}

/**
 * The next of 50, 100, 200, 500, 1000, ...
 * @param {number} value
 */
function round(value) {
  const decade = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((step) => step * decade >= value) ?? 10) * decade;
}

/** @param {string} name @param {Record<string, string>} attributes */
function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** @param {number} x @param {number} y @param {string} words @param {string} name */
function text(x, y, words, name) {
  const element = shape("text", { x: x.toFixed(1), y: y.toFixed(1), class: name });
  element.textContent = words;
  return element;
}
