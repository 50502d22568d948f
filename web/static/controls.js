// The room's controls: what a touch, a key or a pedal does, and what the service answers.

import { label, mark, part, put } from "./dom.js";
import { Hold } from "./hold.js";
import { listen } from "./keys.js";

const PHASES = ["baseline", "epidurogram", "needle", "cement"];
const VIEWS = ["ap", "lateral"];
const DETAILS = ["full", "thin", "off"];
const WORDS_MS = 6000;

export class Controls {
  /**
   * @param {import("./link.js").Link} link
   * @param {import("./stage.js").Stage} stage
   * @param {import("./banner.js").Banner} banner
   * @param {() => boolean} quiet silences the page's own alarm; false where there is none
   */
  constructor(link, stage, banner, quiet) {
    this.link = link;
    this.stage = stage;
    this.banner = banner;
    this.quiet = quiet;
    this.paused_s = 0;
    this.saidAt = -Infinity;
    link.answered = (error, done) => this.say(error ?? done, error !== null);

    const press = (/** @type {string} */ id, /** @type {() => void} */ act) => part(id).addEventListener("click", act);
    const acknowledge = () => this.acknowledge();
    const pause = () => this.pause();
    const bookmark = () => link.order({ kind: "marker", text: "marked in the room" }, "Marked in the log.");
    const thin = () => this.thin();
    const fill = () => this.fill();
    const compare = () => this.compare();
    press("acknowledge-button", acknowledge);
    press("pause-button", pause);
    press("mark-button", bookmark);
    press("overlay-button", thin);
    press("zoom-button", fill);
    press("other-button", compare);
    press("keys-button", () => this.explain());
    press("keys-close", () => this.explain());
    press("other-stage", compare);
    part("alerts").addEventListener("click", (event) => this.acknowledgeRow(event));

    const phases = PHASES.map((phase) =>
      this.held(`phase-${phase}`, { kind: "phase", phase }, `Phase: ${phase}.`, "change the phase"),
    );
    const views = VIEWS.map((view) =>
      this.held(`view-${view}`, { kind: "view", view }, `View: ${view}.`, "name the view"),
    );
    const reference = this.held(
      "reference-button",
      { kind: "reference" },
      "A new reference is taken.",
      "take a new reference: it forgets this view's roadmap and cement",
    );
    listen([
      { keys: ["a", "PageDown", "F13"], pedal: "PageDown, F13", does: "Acknowledge the alert in the banner", press: acknowledge },
      { keys: ["p", "PageUp", "F14"], pedal: "PageUp, F14", does: "Pause the audio, or end the pause", press: pause },
      { keys: ["m", "F15"], pedal: "F15", does: "Mark this moment in the log", press: bookmark },
      { keys: ["o", "F16"], pedal: "F16", does: "Overlay: full, thin, off", press: thin },
      { keys: ["f", "F17"], pedal: "F17", does: "Show the x-ray field only", press: fill },
      { keys: ["v", "F18"], pedal: "F18", does: "Show the other view large", press: compare },
      ...phases.map((hold, i) => ({ keys: [`${i + 1}`], does: `Phase: ${PHASES[i]}`, hold })),
      { keys: ["5"], does: "This is an AP view", hold: views[0] },
      { keys: ["6"], does: "This is a lateral view", hold: views[1] },
      { keys: ["r"], does: "Take a new reference", hold: reference },
      { keys: ["?"], does: "Show or close these keys", press: () => this.explain() },
    ]);
  }

  /** @param {string} id @param {object} command @param {string} done @param {string} purpose */
  held(id, command, done, purpose) {
    return new Hold(
      part(id),
      () => this.link.order(command, done),
      () => this.say(`Hold it for a second to ${purpose}.`),
    );
  }

  acknowledge() {
    if (this.quiet()) return;
    const what = this.banner.acknowledged;
    if ("refused" in what) this.say(what.refused);
    else this.link.order({ kind: "acknowledge", alert: what.alert }, "Acknowledged.");
  }

  /**
   * One alert at a time: acknowledging one never touches another.
   * @param {Event} event
   */
  acknowledgeRow(event) {
    const button = event.target instanceof Element ? event.target.closest("button[data-alert]") : null;
    if (!(button instanceof HTMLElement)) return;
    this.link.order({ kind: "acknowledge", alert: Number(button.dataset.alert) }, "Acknowledged.");
  }

  pause() {
    const on = !(this.paused_s > 0);
    this.link.order({ kind: "audio_pause", on }, on ? "Audio is paused." : "Audio is on again.");
  }

  thin() {
    this.stage.detail = DETAILS[(DETAILS.indexOf(this.stage.detail) + 1) % DETAILS.length];
    label(part("overlay-button"), `Overlay: ${this.stage.detail}`);
    this.stage.draw();
  }

  fill() {
    this.stage.fillWithField = !this.stage.fillWithField;
    mark(part("zoom-button"), "aria-pressed", String(this.stage.fillWithField));
    this.stage.draw();
  }

  compare() {
    mark(part("other-button"), "aria-pressed", String(document.body.classList.toggle("compare")));
  }

  explain() {
    const dialog = /** @type {HTMLDialogElement} */ (part("keys"));
    if (dialog.open) dialog.close();
    else dialog.showModal();
  }

  /**
   * Say what came of an order.
   * @param {string} words @param {boolean} refused
   */
  say(words, refused = false) {
    this.saidAt = performance.now();
    part("refusal").classList.toggle("refused", refused);
    put(part("refusal"), words);
  }

  /**
   * Show how things stand.
   * @param {any} audio null while that is not known @param {any} findings null before the first
   * @param {boolean} waits whether an alert waits to be acknowledged
   */
  show(audio, findings, waits) {
    if (performance.now() - this.saidAt > WORDS_MS) put(part("refusal"), "");
    this.paused_s = audio?.paused_s ?? 0;
    const left = Math.ceil(this.paused_s);
    mark(part("pause-button"), "aria-pressed", String(left > 0));
    label(part("pause-button"), left > 0 ? `Audio paused: ${left} s` : "Pause audio");
    part("acknowledge-button").classList.toggle("waits", waits);
    for (const phase of PHASES) mark(part(`phase-${phase}`), "aria-pressed", String(findings?.phase === phase));
    for (const view of VIEWS) mark(part(`view-${view}`), "aria-pressed", String(findings?.view === view));
  }
}
