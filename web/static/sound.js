// What must be heard: bursts of pulses as IEC 60601-1-8 has them, for as long as the service says so.

// When the pulses of a burst begin, how long each is, and how soon the burst comes again, in seconds.
const BURSTS = {
  high: { at: [0, 0.2, 0.4, 0.8, 1, 1.8, 2, 2.2, 2.6, 2.8], lasts: 0.15, again: 6 },
  medium: { at: [0, 0.4, 0.8], lasts: 0.2, again: 8 },
  low: { at: [0, 0.4], lasts: 0.2, again: 15 },
};
const PITCH_HZ = 440;
// One fundamental and four harmonics: a sound of one frequency cannot be located in a room.
const HARMONICS = [1, 0.7, 0.5, 0.4, 0.3];
const LOUDNESS = 0.3;
const EDGE_S = 0.02;
const LOOK_MS = 100;

/** Sounds the worst alert that nobody has acknowledged. */
export class Sound {
  constructor() {
    /** @type {keyof typeof BURSTS | null} */
    this.priority = null;
    this.nextAt = 0;
    this.context = new AudioContext();
    /** @type {OscillatorNode[]} */
    this.playing = [];
    // A browser lets a page sound only after somebody has touched it.
    for (const touch of ["pointerdown", "keydown"]) document.addEventListener(touch, () => void this.context.resume());
    setInterval(() => this.look(), LOOK_MS);
  }

  get allowed() {
    return this.context.state === "running";
  }

  /** @param {keyof typeof BURSTS | null} priority what must be heard from now on, null for silence */
  set(priority) {
    if (priority === this.priority) return;
    this.priority = priority;
    this.nextAt = 0;
    for (const pulse of this.playing) pulse.stop();
    this.playing = [];
  }

  look() {
    if (this.priority === null || !this.allowed || this.context.currentTime < this.nextAt) return;
    const burst = BURSTS[this.priority];
    const start = this.context.currentTime + EDGE_S;
    this.playing = burst.at.map((at) => this.pulse(start + at, burst.lasts));
    this.nextAt = start + burst.again;
  }

  /** @param {number} at @param {number} lasts @returns {OscillatorNode} */
  pulse(at, lasts) {
    const real = new Float32Array(HARMONICS.length + 1);
    const wave = this.context.createPeriodicWave(real, Float32Array.from([0, ...HARMONICS]));
    const pulse = new OscillatorNode(this.context, { frequency: PITCH_HZ, periodicWave: wave });
    const gain = new GainNode(this.context, { gain: 0 });
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(LOUDNESS, at + EDGE_S);
    gain.gain.setValueAtTime(LOUDNESS, at + lasts - EDGE_S);
    gain.gain.linearRampToValueAtTime(0, at + lasts);
    pulse.connect(gain).connect(this.context.destination);
    pulse.start(at);
    pulse.stop(at + lasts);
    return pulse;
  }
}
