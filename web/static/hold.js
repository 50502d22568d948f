// Buttons that must be held: an accidental touch must not lose the roadmap or change what is looked for.

export const HOLD_MS = 800;

/** A button that acts once it has been held, by a finger, its own key, or Space or Enter while it has the focus. */
export class Hold {
  /**
   * @param {HTMLElement} button
   * @param {() => void} act
   * @param {() => void} tooShort is called when it was let go of before its time
   */
  constructor(button, act, tooShort) {
    this.button = button;
    this.act = act;
    this.tooShort = tooShort;
    /** @type {number | undefined} */
    this.timer = undefined;
    button.addEventListener("pointerdown", (event) => {
      if (event.button === 0) this.press();
    });
    for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(end, () => this.release());
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      if (!event.repeat) this.press();
    });
    button.addEventListener("keyup", (event) => {
      if (event.key === "Enter" || event.key === " ") this.release();
    });
    // A long touch would open a menu over it.
    button.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  press() {
    if (this.timer !== undefined) return;
    this.button.classList.add("holding");
    this.timer = setTimeout(() => {
      this.end();
      this.act();
    }, HOLD_MS);
  }

  release() {
    if (this.timer === undefined) return;
    this.end();
    this.tooShort();
  }

  end() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.button.classList.remove("holding");
  }
}
