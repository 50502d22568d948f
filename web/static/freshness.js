// Whether the picture may be called live, told by the clock and not by messages: a dead line sends none.

const TOLERANCE_MS = 250;
const GAPS_KEPT = 9;
// However slow the pulses, the service shows its picture again this often.
const LONGEST_GAP_MS = 250;

/** The age of the newest picture, and how old it may be between two of them. */
export class Freshness {
  constructor() {
    this.capturedAt = -Infinity;
    /** When the newest picture that was live was captured. */
    this.liveAt = -Infinity;
    /** @type {number[]} */
    this.gapsMs = [];
  }

  /**
   * A picture is shown.
   * @param {number} capturedAt when it was captured, by this page's clock
   * @param {boolean} live whether it is a new one, not one that is shown again
   */
  note(capturedAt, live) {
    if (live) this.liveAt = capturedAt;
    // The same picture comes again after a reconnection.
    const gapMs = capturedAt - this.capturedAt;
    if (gapMs > 5 && gapMs < 1500) {
      this.gapsMs.push(gapMs);
      if (this.gapsMs.length > GAPS_KEPT) this.gapsMs.shift();
    }
    this.capturedAt = capturedAt;
  }

  get ageMs() {
    return performance.now() - this.capturedAt;
  }

  /** The usual time between two pictures, but never so long that a source which slows down still counts as live. */
  get expectedMs() {
    const sorted = [...this.gapsMs].sort((a, b) => a - b);
    return sorted.length ? Math.min(sorted[sorted.length >> 1], LONGEST_GAP_MS) : LONGEST_GAP_MS;
  }

  get late() {
    return this.ageMs > this.expectedMs + TOLERANCE_MS;
  }
}

/**
 * What stands over the picture, or null while it is live.
 * @param {{loggedOut: boolean, silenceMs: number, deaf: boolean, state: string | null, late: boolean, ageMs: number,
 *          states: Record<string, {word: string, detail: string}>, inputFault: string | null}} seen
 * @returns {{word: string, detail: string} | null}
 */
export function coverOf(seen) {
  if (seen.loggedOut) return { word: "LOGGED OUT", detail: "log in again to see the picture" };
  if (seen.silenceMs > 1000) return { word: "CONNECTION LOST", detail: "the dashboard's server does not answer" };
  if (seen.deaf) return { word: "CONNECTION LOST", detail: "the dashboard does not hear the analysis" };
  if (seen.state === null) return { word: "NO PICTURE", detail: seen.inputFault ?? "none has come yet" };
  if (seen.state !== "live") {
    const known = seen.states[seen.state] ?? { word: seen.state.toUpperCase(), detail: "" };
    return seen.inputFault === null ? known : { word: known.word, detail: seen.inputFault };
  }
  if (seen.late) return { word: "NO NEW PICTURE", detail: `for ${(seen.ageMs / 1000).toFixed(1)} s` };
  return null;
}
