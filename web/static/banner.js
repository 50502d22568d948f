// The banner: the worst alert that nobody has acknowledged, in words, with the acknowledged one stated beside it.

import { mark, part, put } from "./dom.js";

// Nobody can have read an alert that came just now: what is acknowledged then was meant for another.
const READ_MS = 500;

/** What the banner tells now, for whoever acknowledges it. */
export class Banner {
  /** @param {any} look /styles.json */
  constructor(look) {
    this.look = look;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    /** @type {any} */
    this.told = null;
    this.toldAt = -Infinity;
  }

  /** @param {any[]} alerts worst first @param {string | null} lost why nothing is known */
  show(alerts, lost) {
    const waiting = alerts.filter((alert) => alert.state !== "acknowledged");
    const acknowledged = alerts.filter((alert) => alert.state === "acknowledged");
    const first = waiting[0] ?? acknowledged[0] ?? null;
    const stated = waiting.length ? (acknowledged[0] ?? null) : null;
    if (first?.id !== this.told?.id) this.toldAt = performance.now();
    this.told = first;

    const priority = lost !== null ? "high" : (first?.priority ?? "none");
    const banner = part("banner");
    mark(banner, "data-priority", priority);
    banner.classList.toggle("flash", lost !== null || waiting.length > 0);
    this.flash(priority);
    // The picture's frame says it too, to whoever looks at nothing else.
    mark(part("stage"), "data-priority", banner.classList.contains("flash") ? priority : "none");
    put(part("banner-marks"), priority === "none" ? "" : this.look.alarms[priority].marks);
    put(part("banner-text"), lost !== null ? `${lost}: alerts unknown` : (joined(first?.text) ?? this.look.nothing_active));
    put(part("banner-more"), lost !== null || first === null ? "" : besides(first, alerts.length - (stated === null ? 1 : 2)));
    const words = lost !== null || stated === null ? "" : `${this.look.alarms[stated.priority].marks} acknowledged: ${stated.text}`;
    put(part("banner-stated"), words);
    mark(part("banner-stated"), "data-priority", stated?.priority ?? "none");
  }

  /**
   * Show the half of the flash that it is time for. An animation of the browser's own would have it draw the page 60
   * times a second, which costs as much as the picture.
   * @param {string} priority
   */
  flash(priority) {
    const hz = part("banner").classList.contains("flash") && !this.still.matches ? (this.look.alarms[priority]?.flash_hz ?? 0) : 0;
    const dark = hz > 0 && Math.floor(2 * hz * (performance.now() / 1000)) % 2 === 1;
    for (const name of ["banner", "stage"]) part(name).classList.toggle("dark", dark);
  }

  /**
   * The alert that an acknowledgement without a name is for, or why there is none.
   * @returns {{alert: number} | {refused: string}}
   */
  get acknowledged() {
    if (this.told === null || this.told.state === "acknowledged") return { refused: "No alert waits for it." };
    if (performance.now() - this.toldAt < READ_MS) return { refused: "A new alert came just now: read it, then press again." };
    return { alert: this.told.id };
  }
}

/**
 * Words in which no line ends between a number and its unit.
 * @param {string | undefined} words
 */
function joined(words) {
  return words?.replace(/(\d) (mm|ms|s\b|MB)/g, "$1\u00a0$2");
}

/**
 * How an alert stands, in words.
 * @param {any} alert
 */
export function standing(alert) {
  if (alert.state === "raised") return "";
  return alert.state === "cleared" ? "no longer seen, not acknowledged" : "acknowledged";
}

/** @param {any} alert @param {number} others how many the banner does not name */
function besides(alert, others) {
  return [standing(alert), others > 0 ? `+${others} more` : ""].filter(Boolean).join(" · ");
}
