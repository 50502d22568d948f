// Undo and redo without an end: whole states, none of which anybody changes.

// Presses of one key in a row are one step: who holds an arrow does not want to undo it pixel by pixel.
const ONE_STEP_MS = 800;

/** @template State */
export class History {
  /** @param {State} first */
  constructor(first) {
    this.present = first;
    /** @type {State[]} */
    this.past = [];
    /** @type {State[]} */
    this.future = [];
    /** @type {string | null} */
    this.step = null;
    this.steppedAt = -Infinity;
  }

  get canUndo() {
    return this.past.length > 0;
  }

  get canRedo() {
    return this.future.length > 0;
  }

  /**
   * @param {State} next
   * @param {string | null} step what is being done: the same again soon after is one step with it, one drag altogether
   * @param {number} now milliseconds
   */
  commit(next, step = null, now = performance.now()) {
    const isSoon = now - this.steppedAt < ONE_STEP_MS || step?.startsWith("drag");
    const goesOn = step !== null && step === this.step && isSoon;
    if (!goesOn) this.past.push(this.present);
    this.present = next;
    this.future = [];
    this.step = step;
    this.steppedAt = now;
  }

  undo() {
    const before = this.past.pop();
    if (before === undefined) return;
    this.future.push(this.present);
    this.present = before;
    this.step = null;
  }

  redo() {
    const after = this.future.pop();
    if (after === undefined) return;
    this.past.push(this.present);
    this.present = after;
    this.step = null;
  }

  /**
   * Change what is, was and may be again alike: there is nothing in it to undo.
   * @param {(state: State) => State} by
   */
  map(by) {
    this.present = by(this.present);
    this.past = this.past.map(by);
    this.future = this.future.map(by);
  }

  /**
   * Nothing can be undone any more.
   * @param {State} first
   */
  begin(first) {
    this.present = first;
    this.past = [];
    this.future = [];
    this.step = null;
  }
}
