// What people say of a case's alerts: right, wrong, late, or that one was missed here.

import { kindWords, clock, marks } from "./review_words.js";
import * as server from "./review_server.js";
import { button, choice, element, part, put } from "./setup_dom.js";

/** @typedef {import("./review_server.js").Case} Case */
/** @typedef {import("./review_server.js").Judgement} Judgement */
/** @typedef {import("./review_timeline.js").Stay} Stay */

export class Judging {
  /**
   * @param {Case} found @param {Stay[]} stays @param {() => number} now_s the moment that is shown
   * @param {(t_s: number) => void} jump @param {() => void} changed @param {(words: string, isRefused?: boolean) => void} say
   */
  constructor(found, stays, now_s, jump, changed, say) {
    this.found = found;
    this.stays = stays;
    this.now_s = now_s;
    this.jump = jump;
    this.changed = changed;
    this.say = say;
    /** @type {number | null} the alert that is judged */
    this.chosen = stays[0]?.id ?? null;
    choice("missed-kind").replaceChildren(...found.alert_kinds.map((kind) => new Option(kindWords(kind), kind)));
    choice("missed-zone").replaceChildren(new Option("none", ""), ...found.zones.map((zone) => new Option(zone, zone)));
    for (const verdict of ["right", "wrong", "late"])
      part(`judge-${verdict}`).addEventListener("click", () => void this.judge(verdict));
    part("judge-missed").addEventListener("click", () => void this.missed());
    part("judge-withdraw").addEventListener("click", () => void this.withdraw());
    this.writeNote();
    this.show();
  }

  /** @param {number} id */
  of(id) {
    return this.found.judgements.find((one) => one.alert === id);
  }

  /**
   * Choose an alert and go to where it was raised.
   * @param {number} id
   */
  choose(id) {
    this.chosen = id;
    const stay = this.stays.find((one) => one.id === id);
    this.writeNote();
    this.show();
    if (stay !== undefined) this.jump(stay.from_s);
  }

  /**
   * The next alert after the moment that is shown (1), or the one before it (-1).
   * @param {number} by
   */
  step(by) {
    const now_s = this.now_s();
    // Of several that were raised on one frame each is reached: the chosen one counts as where we are.
    const here = this.stays.findIndex((one) => one.id === this.chosen && Math.abs(one.from_s - now_s) < 0.5);
    const after = this.stays.findIndex((one) => one.from_s > now_s + 1e-3);
    const before = this.stays.filter((one) => one.from_s < now_s - 1e-3).length - 1;
    const next = here >= 0 ? here + by : by > 0 ? (after < 0 ? this.stays.length : after) : before;
    const stay = this.stays[next];
    if (stay === undefined) this.say(by > 0 ? "No later alert." : "No earlier alert.");
    else this.choose(stay.id);
  }

  /** @param {string} verdict */
  async judge(verdict) {
    const stay = this.stays.find((one) => one.id === this.chosen);
    if (stay === undefined) return this.say("Choose an alert first.", true);
    const t_s = verdict === "late" ? this.now_s() : stay.from_s;
    if (verdict === "late" && t_s >= stay.from_s - 1e-3)
      return this.say("Go to the moment at which it should have come, then say Late.", true);
    await this.keep({ alert: stay.id, t_s, verdict, note: this.note });
  }

  async missed() {
    const zone = choice("missed-zone").value;
    await this.keep({ alert: null, t_s: this.now_s(), verdict: "missed", kind: choice("missed-kind").value, zone: zone || null, note: this.note });
  }

  /** The chosen alert's judgement, or the missed one here, no longer holds. */
  async withdraw() {
    const now_s = this.now_s();
    const missed = this.found.judgements.find((one) => one.verdict === "missed" && Math.abs(one.t_s - now_s) < 0.05);
    const held = missed ?? (this.chosen === null ? undefined : this.of(this.chosen));
    if (held === undefined) return this.say("Nothing was said of this one.", true);
    const { alert, t_s, verdict, kind, zone, note } = held;
    await this.keep({ alert, t_s, verdict, kind, zone, note, withdrawn: true });
  }

  writeNote() {
    const note = this.chosen === null ? "" : (this.of(this.chosen)?.note ?? "");
    /** @type {HTMLTextAreaElement} */ (part("note")).value = note;
  }

  get note() {
    return /** @type {HTMLTextAreaElement} */ (part("note")).value.trim();
  }

  /** @param {Partial<Judgement>} judgement */
  async keep(judgement) {
    try {
      const kept = await server.judge(this.found.id, judgement);
      const isSame = (/** @type {Judgement} */ one) => (kept.alert === null ? one.alert === null && one.t_s === kept.t_s : one.alert === kept.alert);
      this.found.judgements = this.found.judgements.filter((one) => !isSame(one));
      if (!kept.withdrawn) this.found.judgements.push(kept);
      this.say(kept.withdrawn ? "Withdrawn." : `Kept: ${kept.verdict}, by ${kept.by}.`);
      this.show();
      this.changed();
    } catch (error) {
      this.say(error instanceof Error ? error.message : String(error), true);
    }
  }

  show() {
    const list = part("alerts");
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.alert : undefined;
    const missed = this.found.judgements.filter((one) => one.verdict === "missed").sort((a, b) => a.t_s - b.t_s);
    list.replaceChildren(...this.stays.map((stay) => this.line(stay)), ...missed.map((one) => this.missedLine(one)));
    if (list.children.length === 0) list.append(element("li", "No alert was raised. None detected never means none."));
    if (focused !== undefined) /** @type {HTMLElement | null} */ (list.querySelector(`[data-alert="${focused}"]`))?.focus();
    const held = this.chosen === null ? undefined : this.of(this.chosen);
    put("judged", this.chosen === null ? "No alert is chosen." : held === undefined ? "Nobody has judged the chosen alert." : `${held.verdict}, says ${held.by}${held.note ? `: ${held.note}` : ""}`);
    for (const verdict of ["right", "wrong", "late"])
      button(`judge-${verdict}`).setAttribute("aria-pressed", String(held?.verdict === verdict));
  }

  /** @param {Stay} stay */
  line(stay) {
    const held = this.of(stay.id);
    const go = element("button", "");
    go.dataset.alert = String(stay.id);
    go.dataset.priority = stay.raised.priority;
    go.setAttribute("aria-current", String(stay.id === this.chosen));
    const when = element("span", clock(stay.from_s, 1));
    when.className = "when";
    const words = element("span", `${marks(stay.raised.priority)} ${stay.raised.text}`);
    const verdict = element("span", held === undefined ? "" : held.verdict);
    verdict.className = "verdict";
    go.append(when, words, verdict);
    go.addEventListener("click", () => this.choose(stay.id));
    const line = element("li", "");
    line.append(go);
    return line;
  }

  /** @param {Judgement} one */
  missedLine(one) {
    const go = element("button", "");
    const when = element("span", clock(one.t_s, 1));
    when.className = "when";
    const verdict = element("span", "missed");
    verdict.className = "verdict";
    go.append(when, element("span", `${kindWords(one.kind ?? "")}${one.zone ? ` ${one.zone}` : ""}${one.note ? `: ${one.note}` : ""}`), verdict);
    go.addEventListener("click", () => this.jump(one.t_s));
    const line = element("li", "");
    line.append(go);
    return line;
  }
}
