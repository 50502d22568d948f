// Whether the picture may be called live, told by the clock and not by messages: a dead line sends none.

/** Nothing is called live that was not known to be the newest so lately. With a look every WATCH_MS it is grey within
 * 300 ms of the moment at which it stopped being so, whatever stopped. */
const LIMIT_MS = 270;
export const WATCH_MS = 20;
// A server that says nothing for so long is lost, and with it what is known of alerts; the picture is grey long before.
export const SILENT_MS = 1000;
// What was late is live again once it has been in time for so long: a picture that flickers is worse than a grey one.
const STEADY_MS = 400;

/** When the picture that is shown was last known to be the newest. */
export class Freshness {
  constructor() {
    this.pulse = -1;
    this.live = false;
    /** When the newest frame that shows this picture was captured, by this page's clock. */
    this.knownAt = -Infinity;
    /** When the newest live one was. */
    this.liveAt = -Infinity;
    this.lateAt = -Infinity;
  }

  /**
   * A picture is shown.
   * @param {number} capturedAt when it was captured, by this page's clock
   * @param {boolean} live whether it is a new one, not one that is shown again
   * @param {number} pulse which x-ray pulse it shows
   */
  note(capturedAt, live, pulse) {
    this.live = live;
    this.pulse = pulse;
    this.knownAt = capturedAt;
    if (live) this.liveAt = capturedAt;
  }

  /**
   * A later frame shows the same pulse, as slow pulses are shown often: the picture is as new as that frame.
   * @param {number} pulse
   * @param {number} capturedAt
   */
  vouch(pulse, capturedAt) {
    if (pulse !== this.pulse) return;
    this.knownAt = Math.max(this.knownAt, capturedAt);
    if (this.live) this.liveAt = this.knownAt;
  }

  get ageMs() {
    return performance.now() - this.knownAt;
  }

  /** Whether it is too old to be called live, or was a moment ago. */
  look() {
    if (this.ageMs > LIMIT_MS) this.lateAt = performance.now();
    return performance.now() - this.lateAt < STEADY_MS;
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
  if (seen.silenceMs > SILENT_MS) return { word: "CONNECTION LOST", detail: "the dashboard's server does not answer" };
  if (seen.deaf) return { word: "CONNECTION LOST", detail: "the dashboard does not hear the analysis" };
  if (seen.state === null) return { word: "NO PICTURE", detail: seen.inputFault ?? "none has come yet" };
  if (seen.state !== "live") {
    const known = seen.states[seen.state] ?? { word: seen.state.toUpperCase(), detail: "" };
    return seen.inputFault === null ? known : { word: known.word, detail: seen.inputFault };
  }
  if (seen.late && seen.ageMs > 1000) return { word: "NO NEW PICTURE", detail: `for ${(seen.ageMs / 1000).toFixed(1)} s` };
  if (seen.late) return { word: "DELAYED", detail: "the picture comes too late to be called live" };
  return null;
}
