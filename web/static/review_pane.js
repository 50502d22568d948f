// A recorded picture with what is drawn over it, what is said of it, and where it was measured.

import { element } from "./setup_dom.js";
import { Stage } from "./stage.js";
import { clock, marks } from "./review_words.js";

/** @typedef {import("./review_reel.js").Shot} Shot */
/** @typedef {import("./review_reel.js").Overlay} Overlay */
/** @typedef {import("./review_server.js").Moment} Moment */
/** @typedef {import("./stage.js").Stroke} Stroke */

const NOW = "now ";
// Not one of the colours that mean something: all of what the present version finds is white and dashed.
const NOW_COLOUR = "#ffffff";
const NOW_DASH = [4, 5];
// What is drawn is of the newest frame that was looked at; one that old is no longer of this picture.
const OLD_S = 0.3;
export const COVERS = {
  damaged: ["DAMAGED", "is damaged: it came so, or is no longer what was recorded"],
  no_signal: ["NO SIGNAL", "came without a picture"],
  unreadable: ["NO PICTURE", "cannot be shown"],
};

/**
 * How things look, with what these pages add.
 * @param {any} look
 */
export function reviewLook(look) {
  const styles = { ...look.styles };
  for (const [name, style] of Object.entries(look.styles))
    styles[NOW + name] = { ...style, colour: NOW_COLOUR, dash: NOW_DASH, fill: 0, width: 2.4 };
  styles.measure = { colour: "#ffffff", width: 2.6, dash: [], fill: 0, essential: true };
  styles.measuring = { colour: "#ffffff", width: 2.6, dash: [6, 5], fill: 0, essential: true };
  return { ...look, styles };
}

export class Pane {
  /** @param {string} name its parts' ids begin with it @param {any} look @param {string} version */
  constructor(name, look, version) {
    const part = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(`${name}-${id}`));
    this.element = part("stage");
    this.cover = part("cover");
    this.caption = part("caption");
    this.notices = part("notices");
    this.alerts = part("alerts");
    this.look = look;
    this.version = version;
    const picture = /** @type {HTMLCanvasElement} */ (part("picture"));
    const overlay = /** @type {HTMLCanvasElement} */ (part("overlay"));
    this.stage = new Stage(this.element, picture, overlay, look);
    /** @type {Shot | null} */
    this.shot = null;
    /** @type {Overlay} */
    this.overlay = "then";
    /** @type {Stroke[]} what was measured on it, and the cross */
    this.measured = [];
  }

  /** @param {Shot | null} shot @param {Overlay} overlay */
  show(shot, overlay) {
    this.shot = shot;
    this.overlay = overlay;
    if (shot === null) {
      this.stage.bitmap = null;
      this.stage.strokes = [];
      this.stage.draw();
      return;
    }
    this.stage.bitmap = shot.bitmap;
    this.draw();
    this.tell(shot);
  }

  draw() {
    if (this.shot === null) return;
    this.stage.strokes = [...this.strokes(this.shot), ...this.measured];
    this.stage.draw();
  }

  /** @param {Shot} shot @returns {Stroke[]} */
  strokes(shot) {
    const then = (this.overlay === "then" || this.overlay === "both") && shot.then !== null ? shot.then.strokes : [];
    const now = (this.overlay === "now" || this.overlay === "both") && shot.now !== null ? shot.now.strokes : [];
    // The field and what was drawn as a plan are the same in both.
    const isFound = (/** @type {Stroke} */ stroke) => this.overlay === "now" || /^(root|cement|needle)/.test(stroke.style);
    return [...then, ...now.filter(isFound).map((stroke) => ({ ...stroke, style: NOW + stroke.style }))];
  }

  /** @param {Shot} shot */
  tell(shot) {
    const told = this.overlay === "now" ? shot.now : shot.then;
    const findings = told?.findings ?? null;
    this.caption.textContent = `${clock(shot.then?.t_s ?? 0, 2)} · frame ${shot.number}`;
    this.tellCover(shot, findings);
    const notices = (told?.strokes ?? []).filter((stroke) => stroke.kind === "notice").map((stroke) => stroke.text ?? "");
    if (findings === null) notices.push("Nothing was found yet");
    else if (told !== null && told.t_s - findings.t_s > OLD_S && findings.state === "live")
      notices.push(`Drawn is what was found ${(told.t_s - findings.t_s).toFixed(1)} s before`);
    if (this.overlay === "now" || this.overlay === "both") notices.push(`White, dashed: found by version ${this.version}`);
    if (shot.error !== null) notices.push(shot.error);
    this.notices.textContent = notices.join(" · ");
    const active = told?.alerts ?? [];
    this.alerts.replaceChildren(
      ...active.slice(0, 1).map((alert) => {
        const words = element("span", `${marks(alert.priority)} ${alert.text}${alert.state === "acknowledged" ? " (acknowledged)" : ""}`);
        words.dataset.priority = alert.priority;
        return words;
      }),
      ...(active.length > 1 ? [element("span", `and ${active.length - 1} more`)] : []),
    );
    if (active.length === 0) this.alerts.textContent = "No alert stood then";
  }

  /**
   * A picture that is not good is never shown as one.
   * @param {Shot} shot @param {any} findings
   */
  tellCover(shot, findings) {
    const [strong, span] = /** @type {HTMLElement[]} */ ([...this.cover.children]);
    const cover = COVERS[/** @type {keyof typeof COVERS} */ (shot.state)];
    let [word, detail] = ["", ""];
    if (cover !== undefined) [word, detail] = [cover[0], `Frame ${shot.number} ${cover[1]}`];
    else if (findings !== null && findings.state !== "live") {
      const state = this.look.states[findings.state];
      [word, detail] = [state.word, state.detail];
    }
    strong.textContent = word;
    span.textContent = detail;
    this.cover.dataset.state = word === "" ? "good" : shot.state === "whole" ? "stated" : "bad";
  }

  /**
   * The picture's pixel under a point of the screen; null beside it.
   * @param {number} x @param {number} y
   */
  pixelAt(x, y) {
    const place = this.stage.place;
    const bitmap = this.stage.bitmap;
    if (place === null || bitmap === null) return null;
    const box = this.element.getBoundingClientRect();
    /** @type {[number, number]} */
    const pixel = [(x - box.left - place.left) / place.zoom, (y - box.top - place.top) / place.zoom];
    const isInside = pixel[0] >= -0.5 && pixel[1] >= -0.5 && pixel[0] <= bitmap.width - 0.5 && pixel[1] <= bitmap.height - 0.5;
    return isInside ? pixel : null;
  }
}
