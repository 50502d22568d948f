// What must be heard: bursts of pulses as IEC 60601-1-8 has them, for as long as the service says so.

/** @typedef {"high" | "medium" | "low"} Priority */

// When the pulses of a burst begin, how long each is, and how soon the burst comes again, in seconds.
export const BURSTS = {
  high: { at: [0, 0.2, 0.4, 0.8, 1, 1.8, 2, 2.2, 2.6, 2.8], lasts: 0.15, again: 6 },
  medium: { at: [0, 0.4, 0.8], lasts: 0.2, again: 8 },
  low: { at: [0, 0.4], lasts: 0.2, again: 16 },
};
const PITCH_HZ = 440;
// One fundamental and four harmonics: a sound of one frequency cannot be located in a room.
const HARMONICS = [1, 0.7, 0.5, 0.4, 0.3];
const LOUDNESS = 0.3;
// Rise and fall, as a share of a pulse: quicker startles, slower is no pulse.
const EDGE = 0.2;
const AHEAD_S = 0.02;
const LOOK_MS = 100;

/** Sounds the worst alert that nobody has acknowledged. */
export class Sound {
  constructor() {
    /** @type {Priority | null} */
    this.priority = null;
    this.nextAt = 0;
    this.context = new AudioContext();
    /** @type {OscillatorNode[]} */
    this.playing = [];
    // A browser lets a page sound only after somebody has touched it.
    for (const touch of ["pointerdown", "keydown"]) {
      window.addEventListener(touch, () => void this.context.resume(), true);
    }
    setInterval(() => this.look(), LOOK_MS);
  }

  get allowed() {
    return this.context.state === "running";
  }

  /** @param {Priority | null} priority what must be heard from now on, null for silence */
  set(priority) {
    if (priority === this.priority) return;
    this.priority = priority;
    this.nextAt = 0;
    for (const pulse of this.playing) pulse.stop();
    this.playing = [];
  }

  look() {
    if (this.priority === null || !this.allowed || this.context.currentTime < this.nextAt) return;
    const start = this.context.currentTime + AHEAD_S;
    this.playing = burst(this.context, this.priority, start);
    this.nextAt = start + BURSTS[this.priority].again;
  }
}

/**
 * Let one burst sound.
 * @param {BaseAudioContext} context @param {Priority} priority @param {number} start in the context's seconds
 * @returns {OscillatorNode[]} its pulses
 */
export function burst(context, priority, start) {
  const { at, lasts } = BURSTS[priority];
  const real = new Float32Array(HARMONICS.length + 1);
  const wave = context.createPeriodicWave(real, Float32Array.from([0, ...HARMONICS]));
  return at.map((offset) => pulse(context, wave, start + offset, lasts));
}

/** @param {BaseAudioContext} context @param {PeriodicWave} wave @param {number} at @param {number} lasts */
function pulse(context, wave, at, lasts) {
  const tone = new OscillatorNode(context, { frequency: PITCH_HZ, periodicWave: wave });
  const gain = new GainNode(context, { gain: 0 });
  gain.gain.setValueAtTime(0, at);
  gain.gain.linearRampToValueAtTime(LOUDNESS, at + EDGE * lasts);
  gain.gain.setValueAtTime(LOUDNESS, at + (1 - EDGE) * lasts);
  gain.gain.linearRampToValueAtTime(0, at + lasts);
  tone.connect(gain).connect(context.destination);
  tone.start(at);
  tone.stop(at + lasts);
  return tone;
}
