// The frames of a case as they are played: asked for ahead, kept for a while, and shown at their own times.

import * as server from "./review_server.js";

/** @typedef {import("./review_server.js").Moment} Moment */
/** @typedef {"then" | "now" | "both" | "none"} Overlay */
/**
 * @typedef {{number: number, bitmap: ImageBitmap | null, state: string, then: Moment | null, now: Moment | null, error: string | null}} Shot
 * a frame with what was found on it, then and, where that is asked for, by the present version
 */

const KEPT = 40; // of 1024 x 1024 as the browser keeps them: 160 MB
const AHEAD = 8;
const AT_ONCE = 4; // a browser asks a server six things at a time, and each frame is two
const SHOWN_PER_S = 25; // more pictures a second than this are not asked for ahead
const LATE_MS = 300;
export const SPEEDS = [0.125, 0.25, 0.5, 1, 2, 4, 8];

export class Reel {
  /**
   * @param {string} id @param {Float64Array} times @param {(shot: Shot) => void} show is called with each new frame
   */
  constructor(id, times, show) {
    this.id = id;
    this.times = times;
    this.show = show;
    /** @type {() => void} is called when playing begins or ends, or is slower than was asked for */
    this.changed = () => {};
    /** @type {(shot: Shot) => boolean} whether something on the page still draws it */
    this.isInUse = () => false;
    /** @type {"jpg" | "png"} */
    this.form = "jpg";
    this.withNow = false;
    this.number = -1;
    this.wanted = 0;
    this.speed = 1;
    this.isPlaying = false;
    this.isSlow = false;
    this.pending = 0;
    /** @type {Map<number, Promise<Shot>>} */
    this.asked = new Map();
    /** @type {Map<number, Shot>} the one that was used last is last */
    this.kept = new Map();
    this.epoch = 0;
    this.from_s = 0;
    this.since_ms = 0;
    this.shown_ms = 0;
    /** @type {Promise<void> | undefined} */
    this.seeking = undefined;
  }

  get last() {
    return this.times.length - 1;
  }

  get t_s() {
    return this.times[Math.max(this.number, 0)] ?? 0;
  }

  /**
   * The last frame at or before a time.
   * @param {number} t_s
   */
  at(t_s) {
    let [low, high] = [0, this.times.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] <= t_s + 1e-6) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  /**
   * Show a frame as soon as it is there; of several that are asked for in a row, the last.
   * @param {number} number
   */
  async seek(number) {
    this.pause();
    this.wanted = Math.min(Math.max(number, 0), this.last);
    // One at a time: whoever drags along the timeline sees pictures on the way, and waits for none that is passed.
    if (this.seeking) return this.seeking;
    this.seeking = this.seekWanted();
    try {
      await this.seeking;
    } finally {
      this.seeking = undefined;
    }
  }

  async seekWanted() {
    for (;;) {
      const number = this.wanted;
      const epoch = this.epoch;
      const shot = await this.shot(number);
      if (this.isPlaying) return;
      if (epoch === this.epoch) this.put(shot);
      if (number === this.wanted && epoch === this.epoch) break;
    }
    // The neighbours, for whoever steps from here.
    for (const near of [this.wanted + 1, this.wanted - 1]) if (near >= 0 && near <= this.last) this.ask(near);
  }

  /** What is known has changed: the overlay's kind, the pictures' form. */
  renew() {
    this.epoch++;
    this.asked.clear();
    for (const shot of this.kept.values()) this.close(shot);
    this.kept.clear();
    if (!this.isPlaying) void this.seek(this.wanted);
  }

  play() {
    if (this.isPlaying || this.last < 0) return;
    if (this.number >= this.last) this.number = 0;
    this.isPlaying = true;
    this.restart(this.t_s);
    this.changed();
    const tick = () => {
      if (!this.isPlaying) return;
      this.advance(performance.now());
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  pause() {
    if (!this.isPlaying) return;
    this.isPlaying = false;
    this.isSlow = false;
    this.wanted = this.number;
    this.changed();
  }

  /** @param {number} speed */
  setSpeed(speed) {
    const t_s = this.isPlaying ? this.media_s(performance.now()) : 0;
    this.speed = speed;
    if (this.isPlaying) this.restart(t_s);
    this.changed();
  }

  /** @param {number} t_s */
  restart(t_s) {
    this.from_s = t_s;
    this.since_ms = this.shown_ms = performance.now();
  }

  /** @param {number} now_ms */
  media_s(now_ms) {
    return this.from_s + ((now_ms - this.since_ms) / 1000) * this.speed;
  }

  /** @param {number} now_ms */
  advance(now_ms) {
    const media_s = this.media_s(now_ms);
    const due = this.at(media_s);
    if (due > this.number) {
      let ready = due;
      while (ready > this.number && !this.kept.has(ready)) ready--;
      const shot = this.kept.get(ready);
      if (shot !== undefined && ready > this.number) {
        this.put(shot);
        this.shown_ms = now_ms;
        this.tell(ready < due && media_s - this.times[ready] > (LATE_MS / 1000) * this.speed);
      } else if (now_ms - this.shown_ms > LATE_MS) {
        // The clock waits for the pictures: a frame is shown late, and none of the way to it is jumped over.
        this.tell(true);
        this.from_s = this.times[due];
        this.since_ms = now_ms;
        this.ask(due);
        return;
      }
    }
    if (this.number >= this.last) {
      this.pause();
      return;
    }
    this.askAhead(media_s);
  }

  /** @param {boolean} isSlow */
  tell(isSlow) {
    if (isSlow === this.isSlow) return;
    this.isSlow = isSlow;
    this.changed();
  }

  /** @param {number} media_s */
  askAhead(media_s) {
    let number = this.at(media_s);
    for (let i = 0; i < AHEAD && this.asked.size < AT_ONCE; i++) {
      if (number > this.last) return;
      if (number > this.number) this.ask(number);
      number = Math.max(number + 1, this.at(media_s + ((i + 1) * this.speed) / SHOWN_PER_S));
    }
  }

  /** @param {number} number */
  ask(number) {
    void this.shot(number);
  }

  /** @param {number} number @returns {Promise<Shot>} */
  shot(number) {
    const kept = this.kept.get(number);
    if (kept !== undefined) return Promise.resolve(kept);
    const asked = this.asked.get(number);
    if (asked !== undefined) return asked;
    const epoch = this.epoch;
    const coming = this.load(number).then((shot) => {
      if (epoch !== this.epoch) {
        this.close(shot);
        return shot;
      }
      this.asked.delete(number);
      this.keep(shot);
      return shot;
    });
    this.asked.set(number, coming);
    return coming;
  }

  /** @param {number} number @returns {Promise<Shot>} */
  async load(number) {
    const [picture, then, now] = await Promise.allSettled([
      server.picture(this.id, number, this.form),
      server.moment(this.id, number, false),
      this.withNow ? server.moment(this.id, number, true) : Promise.resolve(null),
    ]);
    const failed = [picture, then, now].find((one) => one.status === "rejected");
    return {
      number,
      bitmap: picture.status === "fulfilled" ? picture.value.bitmap : null,
      state: picture.status === "fulfilled" ? picture.value.state : "unreadable",
      then: then.status === "fulfilled" ? then.value : null,
      now: now.status === "fulfilled" ? now.value : null,
      error: failed === undefined ? null : String(/** @type {PromiseRejectedResult} */ (failed).reason.message),
    };
  }

  /** @param {Shot} shot */
  put(shot) {
    this.number = shot.number;
    this.kept.delete(shot.number);
    this.kept.set(shot.number, shot);
    this.show(shot);
  }

  /** @param {Shot} shot */
  keep(shot) {
    this.kept.set(shot.number, shot);
    for (const [number, old] of this.kept) {
      if (this.kept.size <= KEPT) break;
      if (this.isInUse(old)) continue;
      this.kept.delete(number);
      this.close(old);
    }
  }

  /** @param {Shot} shot */
  close(shot) {
    if (!this.isInUse(shot)) shot.bitmap?.close();
  }
}
