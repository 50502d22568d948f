// A case from its first frame to its last: state, phase, view, alerts, depth and cement, one under the other.

import { clock, marks } from "./review_words.js";

/** @typedef {import("./review_server.js").Course} Course */
/** @typedef {import("./review_server.js").Alert} Alert */
/** @typedef {import("./review_server.js").Judgement} Judgement */
/** @typedef {import("./review_server.js").Difference} Difference */
/** @typedef {{id: number, raised: Alert, from_s: number, to_s: number, row: number}} Stay from when to when an alert stood */

const NAMES_EM = 5.6;
const LEAST_WINDOW_S = 2;
const ZOOM = 1.5;
const VIEW_WORDS = /** @type {Record<string, string>} */ ({
  ap: "AP",
  lateral: "lateral: cannot show the foramina",
  unknown: "view unknown: a lateral one cannot show the foramina",
});
const LANES = /** @type {[string, number][]} */ ([
  ["State", 1.4],
  ["Phase", 1.4],
  ["View", 1.4],
  ["Alerts", 4.2],
  ["Depth", 2.4],
  ["Cement", 2.6],
]);
const CHANGES = /** @type {[string, number]} */ (["Changes", 1.2]);
// Alerts that stand at the same time lie one under the other; clinical ones above technical ones.
const CLINICAL_ROWS = 3;
const ALERT_ROWS = 4;
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3]];
const INK = "#e8eef4";
const SOFT = "#a9b7c4";
const PANEL = "#12181e";
const BLOCKS = ["#26404f", "#33506a"];
const CEMENT = "#ff9f45";
const NEEDLE = "#38d6ff";

/**
 * When each alert stood: from its raising to the last change of it, or to the end.
 * @param {Alert[]} changes @param {number} end_s @returns {Stay[]}
 */
export function staysOf(changes, end_s) {
  /** @type {Map<number, Stay>} */
  const stays = new Map();
  for (const change of changes) {
    // One that was carried over from the case before has a time of that one.
    const from_s = Math.min(Math.max(change.t_s, 0), end_s);
    const stay = stays.get(change.id) ?? { id: change.id, raised: change, from_s, to_s: end_s, row: 0 };
    stay.to_s = change.active ? end_s : change.t_s;
    stays.set(change.id, stay);
  }
  const inOrder = [...stays.values()].sort((a, b) => a.from_s - b.from_s);
  /** @type {number[]} until when each row is taken */
  const until = Array(CLINICAL_ROWS).fill(-1);
  for (const stay of inOrder) {
    const free = until.findIndex((end) => end <= stay.from_s);
    stay.row = stay.raised.technical ? CLINICAL_ROWS : free >= 0 ? free : CLINICAL_ROWS - 1;
    if (stay.row < CLINICAL_ROWS) until[stay.row] = stay.to_s;
  }
  return inOrder;
}

/**
 * What holds at a time.
 * @template V @param {[number, V][]} runs @param {number} t_s @returns {V | undefined}
 */
export function holdsAt(runs, t_s) {
  let found;
  for (const [from_s, value] of runs) {
    if (from_s > t_s + 1e-6) break;
    found = value;
  }
  return found;
}

export class Timeline {
  /**
   * @param {HTMLElement} element @param {HTMLCanvasElement} canvas @param {HTMLElement} cursor
   * @param {any} look @param {Course} course @param {number} end_s @param {(t_s: number) => void} seek
   */
  constructor(element, canvas, cursor, look, course, end_s, seek) {
    this.element = element;
    this.canvas = canvas;
    this.cursor = cursor;
    this.look = look;
    this.course = course;
    this.end_s = Math.max(end_s, 0.001);
    this.from_s = 0;
    this.to_s = this.end_s;
    this.t_s = 0;
    this.beside_s = /** @type {number | null} */ (null);
    /** @type {Stay[]} */
    this.stays = [];
    /** @type {Judgement[]} */
    this.judgements = [];
    /** @type {Difference[]} */
    this.differences = [];
    element.setAttribute("aria-valuemax", end_s.toFixed(2));
    new ResizeObserver(() => this.draw()).observe(element);
    const seekTo = (/** @type {PointerEvent} */ event) => seek(this.timeAt(event.clientX));
    element.addEventListener("pointerdown", (event) => {
      element.setPointerCapture(event.pointerId);
      seekTo(event);
    });
    element.addEventListener("pointermove", (event) => {
      if (element.hasPointerCapture(event.pointerId)) seekTo(event);
    });
    element.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.zoom(event.deltaY < 0 ? 1 : -1, this.timeAt(event.clientX));
      },
      { passive: false },
    );
  }

  get em() {
    return parseFloat(getComputedStyle(this.element).fontSize);
  }

  get left() {
    return NAMES_EM * this.em;
  }

  /** @param {number} t_s */
  xOf(t_s) {
    return this.left + ((t_s - this.from_s) / (this.to_s - this.from_s)) * (this.element.clientWidth - this.left - 4);
  }

  /** @param {number} x of the screen */
  timeAt(x) {
    const box = this.element.getBoundingClientRect();
    const share = (x - box.left - this.left) / (box.width - this.left - 4);
    return Math.min(Math.max(this.from_s + share * (this.to_s - this.from_s), 0), this.end_s);
  }

  /**
   * Closer (1), farther (-1), or all of it (0).
   * @param {number} by @param {number} at_s stays where it is
   */
  zoom(by, at_s = this.t_s) {
    const span = by === 0 ? this.end_s : Math.min(this.end_s, Math.max(Math.min(LEAST_WINDOW_S, this.end_s), (this.to_s - this.from_s) * (by > 0 ? 1 / ZOOM : ZOOM)));
    const share = (at_s - this.from_s) / (this.to_s - this.from_s);
    this.from_s = Math.min(Math.max(0, at_s - share * span), this.end_s - span);
    this.to_s = this.from_s + span;
    this.draw();
  }

  /** @param {number} t_s @param {string} words what is told of the moment */
  show(t_s, words) {
    this.t_s = t_s;
    if (t_s < this.from_s || t_s > this.to_s) {
      const span = this.to_s - this.from_s;
      this.from_s = Math.min(Math.max(0, t_s - span / 2), this.end_s - span);
      this.to_s = this.from_s + span;
      this.draw();
    }
    this.cursor.style.left = `${this.xOf(t_s)}px`;
    this.element.setAttribute("aria-valuenow", t_s.toFixed(2));
    this.element.setAttribute("aria-valuetext", words);
  }

  draw() {
    const { canvas, element } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [element.clientWidth, element.clientHeight];
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = `${0.85 * this.em}px system-ui, "DejaVu Sans", sans-serif`;
    pen.textBaseline = "middle";
    const lanes = this.differences.length ? [...LANES, CHANGES] : LANES;
    const unit = (height - this.em * 1.3) / lanes.reduce((sum, [, lane]) => sum + lane, 0);
    let top = 0;
    for (const [name, lane] of lanes) {
      const tall = lane * unit;
      pen.fillStyle = SOFT;
      pen.fillText(name, 4, top + tall / 2);
      pen.save();
      pen.beginPath();
      pen.rect(this.left, top, width - this.left, tall);
      pen.clip();
      this.drawLane(pen, name, top + 1, tall - 2);
      pen.restore();
      pen.fillStyle = "#26313b";
      pen.fillRect(0, top + tall - 0.5, width, 1);
      top += tall;
    }
    this.drawClock(pen, top, height);
    this.cursor.style.left = `${this.xOf(this.t_s)}px`;
  }

  /** @param {CanvasRenderingContext2D} pen @param {string} name @param {number} top @param {number} tall */
  drawLane(pen, name, top, tall) {
    const { course } = this;
    if (name === "State") this.drawRuns(pen, course.states, top, tall, (state) => this.stateOf(state));
    if (name === "Phase") this.drawRuns(pen, course.phases, top, tall, (phase, i) => [phase, BLOCKS[i % 2], INK]);
    if (name === "View")
      this.drawRuns(pen, course.views, top, tall, (view, i) => [VIEW_WORDS[view ?? "unknown"], view === "ap" ? BLOCKS[i % 2] : "#5a4a2c", view === "ap" ? INK : "#ffd796"]);
    if (name === "Alerts") this.drawAlerts(pen, top, tall);
    if (name === "Depth")
      Object.values(course.depths).forEach((line, i) => this.drawLine(pen, line, top, tall, 0, 1, NEEDLE, DASHES[i % DASHES.length]));
    if (name === "Cement") {
      const most = Math.max(50, ...course.cement_mm2.map(([, mm2]) => mm2 ?? 0));
      this.drawLine(pen, course.cement_mm2, top, tall, 0, most, CEMENT, []);
      if (course.cement_mm2.some(([, mm2]) => mm2 !== null)) {
        pen.fillStyle = SOFT;
        pen.fillText(`to ${most.toFixed(0)} mm²`, this.left + 4, top + 0.6 * this.em);
      }
    }
    if (name === "Depth" && Object.keys(course.depths).length) {
      pen.fillStyle = SOFT;
      const known = Object.values(course.depths).some((line) => line.some(([, share]) => share !== null));
      pen.fillText(known ? "1 = anterior cortex, 0 = posterior wall" : "not measured: no lateral view with a vertebral body drawn", this.left + 4, top + 0.6 * this.em);
    }
    if (name === "Changes") this.drawDifferences(pen, top, tall);
  }

  /** @param {string} state @returns {[string, string, string]} words, ground, ink */
  stateOf(state) {
    if (state === "live") return ["live", BLOCKS[0], INK];
    return [this.look.states[state].word, state === "held" ? "#4a545e" : "#c9d2da", state === "held" ? INK : "#0b0f13"];
  }

  /**
   * @template V @param {CanvasRenderingContext2D} pen @param {[number, V][]} runs @param {number} top @param {number} tall
   * @param {(value: V, i: number) => [string, string, string]} looks
   */
  drawRuns(pen, runs, top, tall, looks) {
    runs.forEach(([from_s, value], i) => {
      const [left, right] = [this.xOf(from_s), this.xOf(runs[i + 1]?.[0] ?? this.end_s)];
      const [words, ground, ink] = looks(value, i);
      pen.fillStyle = ground;
      pen.fillRect(left, top, Math.max(1, right - left - 1), tall);
      const start = Math.max(left, this.left) + 4;
      if (right - start < 1.5 * this.em) return;
      pen.save();
      pen.beginPath();
      pen.rect(start - 2, top, right - start, tall);
      pen.clip();
      pen.fillStyle = ink;
      pen.fillText(words, start, top + tall / 2);
      pen.restore();
    });
  }

  /**
   * Clinical ones above, technical ones below, with a dashed edge.
   * @param {CanvasRenderingContext2D} pen @param {number} top @param {number} tall
   */
  drawAlerts(pen, top, tall) {
    for (const stay of this.stays) {
      const alarm = this.look.alarms[stay.raised.priority];
      const [left, right] = [this.xOf(stay.from_s), this.xOf(stay.to_s)];
      const y = top + (stay.row * tall) / ALERT_ROWS;
      const h = tall / ALERT_ROWS - 1;
      pen.fillStyle = alarm.colour;
      pen.globalAlpha = 0.35;
      pen.fillRect(left, y, Math.max(2, right - left), h);
      pen.globalAlpha = 1;
      pen.fillRect(left - 1, y, 3, h);
      if (stay.raised.technical) {
        pen.strokeStyle = alarm.colour;
        pen.setLineDash([3, 3]);
        pen.strokeRect(left, y, Math.max(2, right - left), h);
        pen.setLineDash([]);
      }
      const verdict = this.judgements.find((one) => one.alert === stay.id)?.verdict;
      pen.fillStyle = INK;
      const words = `${marks(stay.raised.priority)}${verdict === undefined ? "" : ` ${verdict}`}`;
      const text = `${words} ${stay.raised.text}`;
      pen.fillText(pen.measureText(text).width < right - left - 6 ? text : words, left + 4, y + h / 2);
    }
    for (const one of this.judgements.filter((judgement) => judgement.verdict === "missed")) {
      pen.fillStyle = INK;
      pen.fillRect(this.xOf(one.t_s) - 1, top, 2, tall);
      pen.fillText("missed", this.xOf(one.t_s) + 4, top + tall * 0.12);
    }
  }

  /**
   * @param {CanvasRenderingContext2D} pen @param {[number, number | null][]} points @param {number} top @param {number} tall
   * @param {number} least @param {number} most @param {string} colour @param {number[]} dash
   */
  drawLine(pen, points, top, tall, least, most, colour, dash) {
    const y = (/** @type {number} */ value) => top + tall - 1 - ((value - least) / (most - least)) * (tall - 2);
    pen.strokeStyle = colour;
    pen.lineWidth = 1.5;
    pen.setLineDash(dash);
    pen.beginPath();
    let isDrawn = false;
    for (const [t_s, value] of points) {
      if (value === null) isDrawn = false;
      else if (isDrawn) pen.lineTo(this.xOf(t_s), y(value));
      else {
        pen.moveTo(this.xOf(t_s), y(value));
        isDrawn = true;
      }
    }
    pen.stroke();
    pen.setLineDash([]);
  }

  /** @param {CanvasRenderingContext2D} pen @param {number} top @param {number} tall */
  drawDifferences(pen, top, tall) {
    for (const one of this.differences) {
      pen.fillStyle = "#ffffff";
      const [left, right] = [this.xOf(one.from_s), this.xOf(one.to_s)];
      pen.fillRect(left - 1, top + (one.kind.startsWith("alert") ? 0 : tall / 2), Math.max(3, right - left), one.kind.startsWith("alert") ? tall : tall / 2);
    }
  }

  /** @param {CanvasRenderingContext2D} pen @param {number} top @param {number} bottom */
  drawClock(pen, top, bottom) {
    const span = this.to_s - this.from_s;
    const step = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800].find((one) => span / one <= 10) ?? 3600;
    pen.fillStyle = PANEL;
    pen.fillRect(0, top, this.element.clientWidth, bottom - top);
    for (let t = Math.ceil(this.from_s / step) * step; t <= this.to_s; t += step) {
      pen.fillStyle = SOFT;
      pen.fillRect(this.xOf(t), 0, 0.5, bottom);
      pen.fillText(clock(t), this.xOf(t) + 3, top + (bottom - top) / 2);
    }
    if (this.beside_s !== null) {
      pen.fillStyle = INK;
      pen.fillRect(this.xOf(this.beside_s) - 1, 0, 2, bottom);
      const [left, extent] = [this.xOf(this.beside_s) + 4, pen.measureText("beside").width];
      pen.fillStyle = PANEL;
      pen.fillRect(left - 2, top + 1, extent + 6, bottom - top);
      pen.fillStyle = INK;
      pen.fillText("beside", left, top + (bottom - top) / 2);
    }
  }
}
