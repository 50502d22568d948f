// Wires a recorded case's pictures, timeline, judgements and measures together.

import { Account } from "./account.js";
import { begun } from "./review_begin.js";
import { Judging } from "./review_judge.js";
import { listen } from "./review_keys.js";
import { showLive } from "./review_live.js";
import { Measuring } from "./review_measure.js";
import { Pane, reviewLook } from "./review_pane.js";
import { Reel, SPEEDS } from "./review_reel.js";
import * as server from "./review_server.js";
import { Timeline, holdsAt, staysOf } from "./review_timeline.js";
import { clock, dateWords, kindWords, sourceWords } from "./review_words.js";
import { canvas, choice, definitions, element, field, part, put } from "./setup_dom.js";

/** @typedef {import("./review_reel.js").Shot} Shot */
/** @typedef {import("./review_reel.js").Overlay} Overlay */

const OVERLAYS = /** @type {Overlay[]} */ (["then", "now", "both", "none"]);
const VIEW_WORDS = /** @type {Record<string, string>} */ ({ ap: "AP view", lateral: "lateral view, which cannot show the foramina" });
const PROGRESS_MS = 1000;
const ORDERS_NEAR_S = 30;
const ARROWS = /** @type {Record<string, [number, number]>} */ ({
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
});

new Account(part("account"));
void showLive();

try {
  const [look, found, times] = await begun;
  review(reviewLook(look), found, times);
} catch (error) {
  refuse(error);
}
/** @param {string} address */
function placeIn(address) {
  return new URL(address).hash.split("@")[0];
}

/** @param {unknown} error */
function refuse(error) {
  put("missing", error instanceof Error ? error.message : String(error));
  part("missing").hidden = false;
}

/** @param {string} words @param {boolean} [isRefused] */
function say(words, isRefused = false) {
  put("answer", words);
  part("answer").dataset.refused = String(isRefused);
}

/** @param {any} look @param {import("./review_server.js").Case} found @param {Float64Array} times */
function review(look, found, times) {
  const end_s = times.at(-1) ?? 0;
  const stays = staysOf(found.alerts, end_s);
  const main = new Pane("main", look, found.version);
  const beside = new Pane("beside", look, found.version);
  const damaged = new Set(found.damaged);
  /** @type {Overlay} */
  let overlay = "then";
  let recomputed = false;
  let isRecomputing = false;

  const reel = new Reel(found.id, times, show);
  reel.isInUse = (shot) => shot === main.shot || shot === beside.shot;
  reel.changed = tellPlaying;
  const timeline = new Timeline(part("timeline"), canvas("lanes"), part("cursor"), look, found.course, end_s, seekTime);
  timeline.stays = stays;
  const measuring = new Measuring([main, beside], scaleOf);
  const judging = new Judging(found, stays, () => reel.t_s, seekTime, judged, say);

  tellCase();
  wire();
  judged();
  void followProgress();
  seekAddress();
  // Another moment of this case is gone to; another case begins anew.
  window.addEventListener("hashchange", (event) => {
    if (placeIn(event.newURL) === placeIn(event.oldURL)) seekAddress();
    else location.reload();
  });

  /** To the moment that the address names, as in #CASE@12.5. */
  function seekAddress() {
    const at_s = Number(location.hash.split("@")[1] ?? "0");
    seekTime(Number.isFinite(at_s) ? at_s : 0);
  }

  /** @param {Shot} shot */
  function show(shot) {
    measuring.forget(main);
    if (shot.state === "damaged" && !damaged.has(shot.number)) {
      damaged.add(shot.number);
      tellMissing();
    }
    main.show(shot, overlay);
    tellMoment(shot);
  }

  /** @param {Shot} shot */
  function tellMoment(shot) {
    const t_s = times[shot.number];
    const lasts = shot.number < reel.last ? `shown for ${((times[shot.number + 1] - t_s) * 1000).toFixed(0)} ms` : "the last";
    put("time", `${clock(t_s, 2)} of ${clock(end_s)} · frame ${shot.number} of ${times.length} · ${lasts}`);
    const holds = [
      holdsAt(found.course.states, t_s)?.replace("_", " "),
      holdsAt(found.course.phases, t_s),
      VIEW_WORDS[holdsAt(found.course.views, t_s) ?? ""] ?? "view unknown",
    ];
    timeline.show(t_s, [`${clock(t_s, 2)} of ${clock(end_s)}`, ...holds].filter(Boolean).join(", "));
    const address = server.pictureAddress(found.id, shot.number, "png");
    part("png").setAttribute("href", address);
    part("png").setAttribute("download", `${found.id}-${String(shot.number).padStart(6, "0")}.png`);
    if (!part("panel-findings").hidden) tellFindings(shot);
  }

  /** @param {Shot} shot */
  function tellFindings(shot) {
    const told = overlay === "now" ? shot.now : shot.then;
    const findings = told?.findings ?? null;
    const scale = scaleOf(main);
    definitions("situation", [
      ["State", findings === null ? "not known yet" : findings.state.replace("_", " ")],
      ["Phase", findings === null ? "–" : `${findings.phase}${findings.phase_inferred ? " (inferred)" : ""}`],
      ["View", findings?.view ?? "unknown"],
      ["Zones", findings?.registration?.ok ? "watched" : "not watched"],
      ["Scale", scale === null ? "none" : `${scale.mm_per_px.toFixed(3)} mm/px from ${scale.source}`],
      ["Found on", findings === null ? "–" : `${clock(findings.t_s, 2)}${findings.latency_ms === null ? "" : `, ${findings.latency_ms.toFixed(0)} ms after it came`}`],
    ]);
    const rows = [
      ...(findings?.needles ?? []).map((/** @type {any} */ one) => [
        `needle ${one.id}${one.predicted ? " predicted" : one.tip_hidden ? " tip hidden" : ""}`,
        one.angle_deg === null ? "end-on" : `${one.angle_deg.toFixed(1)}°`,
        one.depth_share === null ? "–" : `${(100 * one.depth_share).toFixed(0)} %`,
        `${one.tip_px[0].toFixed(0)}, ${one.tip_px[1].toFixed(0)}`,
      ]),
      ...(findings?.cement ?? []).map((/** @type {any} */ one) => [
        `cement ${one.id}`,
        one.area_mm2 === null ? "–" : `${one.area_mm2.toFixed(1)} mm²`,
        one.growth_mm2_per_s === null ? "–" : `${one.growth_mm2_per_s.toFixed(1)} mm²/s`,
        "",
      ]),
      ...(findings?.nerve_roots ?? []).map((/** @type {any} */ one) => [`root ${one.id}`, one.area_mm2 === null ? "–" : `${one.area_mm2.toFixed(1)} mm²`, "", ""]),
    ];
    part("seen").replaceChildren(
      ...rows.map((cells) => {
        const line = element("tr", "");
        line.append(...cells.map((/** @type {string} */ words) => element("td", words)));
        return line;
      }),
    );
    const t_s = times[shot.number];
    const near = found.commands.filter((one) => one.t_s !== null && Math.abs(one.t_s - t_s) <= ORDERS_NEAR_S);
    part("orders").replaceChildren(...near.map((one) => element("li", `${clock(one.t_s ?? 0, 1)} ${kindWords(one.kind)}, by ${one.by}`)));
    if (near.length === 0) part("orders").append(element("li", "none within 30 s"));
  }

  /** @param {Pane} pane @returns {import("./review_measure.js").Scale | null} */
  function scaleOf(pane) {
    const scale = pane.shot?.then?.findings?.scale ?? pane.shot?.now?.findings?.scale;
    if (scale) return scale;
    return found.mm_per_px === null ? null : { mm_per_px: found.mm_per_px, source: "header" };
  }

  function tellCase() {
    const { header } = found;
    put("title", `Case of ${dateWords(header.began)}`);
    document.title = `${found.id} · fluoroguide`;
    put("case-words", `${sourceWords(header.source)} · ${clock(end_s)} · ${times.length} frames`);
    definitions("case-facts", [
      ["Name", found.id],
      ["Began", dateWords(header.began)],
      ["Duration", clock(end_s, 1)],
      ["Frames", `${times.length} of ${header.width_px} × ${header.height_px}, ${header.bits} bit`],
      ["Source", sourceWords(header.source)],
      ["Recorded by", header.software],
      ["State", found.state.replace("_", " ")],
      ["Alerts", String(stays.length)],
    ]);
    field("tags").value = header.tags.join(", ");
    part("keep").setAttribute("aria-pressed", String(header.keep));
    part("labels").setAttribute("href", server.labelsAddress(found.id));
    tellMissing();
    if (found.state === "recording") say("This case is still being recorded: what came since this page was opened is not in it.");
  }

  /** What the case lacks stands at its top, as long as it is looked at. */
  function tellMissing() {
    const frames = [...damaged].sort((a, b) => a - b);
    const words = [...found.missing];
    if (frames.length) words.push(`damaged, of those looked at: frame${frames.length > 1 ? "s" : ""} ${frames.slice(0, 12).join(", ")}${frames.length > 12 ? " …" : ""}`);
    put("missing", `Not complete: ${words.join(" · ")}`);
    part("missing").hidden = words.length === 0;
  }

  function tellPlaying() {
    put("play", reel.isPlaying ? "Pause" : "Play");
    choice("speed").value = String(reel.speed);
    part("speed").dataset.slow = String(reel.isSlow);
    if (reel.isPlaying && reel.isSlow) say("The pictures do not come that fast: it plays slower than was asked for.");
    else if (part("answer").textContent?.startsWith("The pictures do not")) say("");
  }

  function judged() {
    timeline.judgements = found.judgements;
    timeline.draw();
  }

  /** @param {number} t_s */
  function seekTime(t_s) {
    void reel.seek(reel.at(t_s));
  }

  /** @param {number} by */
  function step(by) {
    void reel.seek((reel.isPlaying ? reel.number : reel.wanted) + by);
  }

  /** @param {number} by */
  function skip(by) {
    seekTime(Math.min(Math.max((reel.isPlaying ? reel.t_s : times[reel.wanted]) + by, 0), end_s));
  }

  function playOrPause() {
    if (reel.isPlaying) reel.pause();
    else reel.play();
  }

  /** @param {number} by */
  function faster(by) {
    reel.setSpeed(SPEEDS[Math.min(Math.max(SPEEDS.indexOf(reel.speed) + by, 0), SPEEDS.length - 1)]);
  }

  // Comparing

  /** @param {Overlay} kind */
  function useOverlay(kind) {
    const needsNow = kind === "now" || kind === "both";
    if (needsNow && !recomputed) return say("This version has not analysed the case yet: “Analyse anew” on the Compare tab.", true);
    overlay = kind;
    for (const one of OVERLAYS) part(`overlay-${one}`).setAttribute("aria-pressed", String(one === kind));
    if (needsNow && !reel.withNow) {
      reel.withNow = true;
      reel.renew();
    } else if (main.shot !== null) main.show(main.shot, overlay);
    if (beside.shot !== null) beside.show(beside.shot, beside.shot.now === null && needsNow ? "then" : overlay);
  }

  function keepBeside() {
    const isShown = !part("pane-beside").hidden;
    measuring.forget(beside);
    beside.show(isShown ? null : main.shot, overlay);
    showBeside(!isShown);
  }

  /** @param {boolean} isShown */
  function showBeside(isShown) {
    part("pane-beside").hidden = !isShown;
    part("panes").dataset.two = String(isShown);
    part("keep-beside").setAttribute("aria-pressed", String(isShown));
    timeline.beside_s = isShown && beside.shot !== null ? times[beside.shot.number] : null;
    timeline.draw();
  }

  function swap() {
    if (beside.shot === null || main.shot === null) return say("Keep a moment beside first.", true);
    const other = beside.shot;
    measuring.forget(beside);
    beside.show(main.shot, overlay);
    showBeside(true);
    void reel.seek(other.number);
  }

  async function followProgress() {
    for (;;) {
      try {
        const told = await server.progress(found.id);
        tellProgress(told);
        if (!told.running) return;
      } catch (error) {
        put("recompute-words", error instanceof Error ? error.message : String(error));
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, PROGRESS_MS));
    }
  }

  /** @param {import("./review_server.js").Progress} told */
  function tellProgress(told) {
    recomputed = told.complete && !told.running;
    const bar = /** @type {HTMLProgressElement} */ (part("recompute-progress"));
    bar.hidden = !told.running;
    bar.max = told.frames ?? 1;
    bar.value = told.done ?? 0;
    isRecomputing = told.running;
    put("recompute", told.running ? "Stop" : "Analyse anew");
    const differences = recomputed ? (told.differences ?? []) : [];
    put(
      "recompute-words",
      told.error
        ? `It failed: ${told.error}`
        : told.running
          ? `Version ${found.version}: ${told.done} of ${told.frames} frames.`
          : recomputed
            ? `Version ${found.version}: ${differences.length} differences.${told.not_obeyed?.length ? ` Orders that could not be given again: ${told.not_obeyed.join("; ")}` : ""}${told.unreadable ? ` Of ${told.unreadable} frames what was found then cannot be read.` : ""}`
            : told.begun
              ? `Version ${found.version} was stopped after ${told.done} frames.`
              : `Version ${found.version} has not analysed this case yet.`,
    );
    timeline.differences = differences;
    timeline.draw();
    part("differences").replaceChildren(
      ...differences.map((one) => {
        const go = element("button", "");
        const when = element("span", clock(one.from_s, 1));
        when.className = "when";
        go.append(when, element("span", one.text));
        go.addEventListener("click", () => {
          useOverlay("both");
          seekTime(one.from_s);
        });
        const line = element("li", "");
        line.append(go);
        return line;
      }),
    );
    if (recomputed && differences.length === 0) part("differences").append(element("li", "none found"));
  }

  async function recompute() {
    try {
      if (isRecomputing) {
        await server.stopRecomputing(found.id);
        return;
      }
      await server.recompute(found.id);
      if (reel.withNow) {
        reel.withNow = false;
        useOverlay("then");
        reel.renew();
      }
      // It takes a moment to begin, and a short case is soon done.
      put("recompute-words", "Beginning …");
      const isBegun = (/** @type {import("./review_server.js").Progress} */ told) => told.running || told.complete;
      for (let i = 0; i < 40 && !isBegun(await server.progress(found.id)); i++) await new Promise((resolve) => setTimeout(resolve, 250));
      await followProgress();
    } catch (error) {
      say(error instanceof Error ? error.message : String(error), true);
    }
  }

  // What is asked of it

  function wire() {
    choice("speed").replaceChildren(...SPEEDS.map((speed) => new Option(speed < 1 ? `1/${1 / speed}×` : `${speed}×`, String(speed))));
    choice("speed").value = "1";
    /** @type {Record<string, () => void>} */
    const presses = {
      play: playOrPause,
      "step-back": () => step(-1),
      "step-on": () => step(1),
      "previous-alert": () => judging.step(-1),
      "next-alert": () => judging.step(1),
      "keep-beside": keepBeside,
      swap,
      recompute: () => void recompute(),
      lossless: useLossless,
      keep: () => void keepCase(),
      "keys-button": () => /** @type {HTMLDialogElement} */ (part("keys")).showModal(),
      "keys-close": () => /** @type {HTMLDialogElement} */ (part("keys")).close(),
    };
    for (const [name, press] of Object.entries(presses)) part(name).addEventListener("click", press);
    for (const kind of OVERLAYS) part(`overlay-${kind}`).addEventListener("click", () => useOverlay(kind));
    choice("speed").addEventListener("change", () => reel.setSpeed(Number(choice("speed").value)));
    part("tags-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void setTags();
    });
    for (const tab of document.querySelectorAll('[role="tab"]')) listenTab(/** @type {HTMLElement} */ (tab));
    const isMeasuring = () => measuring.tool !== null;
    listen([
      ...Object.entries(ARROWS).map(([key, [dx, dy]]) => ({
        keys: [key],
        name: "arrows",
        does: "while measuring: move the cross by 1 px, with Shift by 10",
        press: (/** @type {boolean} */ shift) => measuring.move(dx * (shift ? 10 : 1), dy * (shift ? 10 : 1)),
        repeats: true,
        when: isMeasuring,
      })),
      { keys: ["Enter", " "], name: "Enter", does: "while measuring: put a point", press: () => measuring.putHere(), when: isMeasuring },
      { keys: ["Escape"], name: "Esc", does: "end measuring; leave a field", press: leave },
      { keys: [" "], name: "Space", does: "play or pause", press: playOrPause },
      { keys: ["ArrowLeft"], name: "←", does: "one frame back; with Shift a second", press: (shift) => (shift ? skip(-1) : step(-1)), repeats: true },
      { keys: ["ArrowRight"], name: "→", does: "one frame on; with Shift a second", press: (shift) => (shift ? skip(1) : step(1)), repeats: true },
      { keys: ["PageUp"], name: "Page up", does: "10 s back", press: () => skip(-10), repeats: true },
      { keys: ["PageDown"], name: "Page down", does: "10 s on", press: () => skip(10), repeats: true },
      { keys: ["Home"], name: "Home", does: "to the first frame", press: () => seekTime(0) },
      { keys: ["End"], name: "End", does: "to the last frame", press: () => seekTime(end_s) },
      { keys: ["p"], name: "P", does: "previous alert", press: () => judging.step(-1) },
      { keys: ["n"], name: "N", does: "next alert", press: () => judging.step(1) },
      { keys: ["["], name: "[", does: "slower", press: () => faster(-1) },
      { keys: ["]"], name: "]", does: "faster", press: () => faster(1) },
      { keys: ["1"], name: "1", does: "the chosen alert is right", press: () => void judging.judge("right") },
      { keys: ["2"], name: "2", does: "the chosen alert is wrong", press: () => void judging.judge("wrong") },
      { keys: ["3"], name: "3", does: "the chosen alert is late: it should have come at the moment shown", press: () => void judging.judge("late") },
      { keys: ["4"], name: "4", does: "an alert was missed at the moment shown", press: () => void judging.missed() },
      { keys: ["e"], name: "E", does: "write a note", press: () => openTab("alerts", "note") },
      { keys: ["o"], name: "O", does: "overlay: as then, as now, both, none", press: nextOverlay },
      { keys: ["k"], name: "K", does: "keep this moment beside, or put it away", press: keepBeside },
      { keys: ["w"], name: "W", does: "swap the two moments", press: swap },
      { keys: ["d"], name: "D", does: "measure a distance", press: () => measure("distance") },
      { keys: ["a"], name: "A", does: "measure an angle", press: () => measure("angle") },
      { keys: ["l"], name: "L", does: "lossless pictures", press: useLossless },
      { keys: ["+", "="], name: "+", does: "closer in the timeline", press: () => timeline.zoom(1) },
      { keys: ["-"], name: "−", does: "farther in the timeline", press: () => timeline.zoom(-1) },
      { keys: ["0"], name: "0", does: "the whole timeline", press: () => timeline.zoom(0) },
      { keys: ["?"], name: "?", does: "these keys", press: () => /** @type {HTMLDialogElement} */ (part("keys")).showModal() },
    ]);
  }

  function leave() {
    measuring.leave();
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
  }

  /** @param {"distance" | "angle"} tool */
  function measure(tool) {
    reel.pause();
    openTab("measure");
    measuring.take(tool);
  }

  function nextOverlay() {
    const usable = OVERLAYS.filter((one) => recomputed || one === "then" || one === "none");
    useOverlay(usable[(usable.indexOf(overlay) + 1) % usable.length]);
  }

  function useLossless() {
    reel.form = reel.form === "jpg" ? "png" : "jpg";
    part("lossless").setAttribute("aria-pressed", String(reel.form === "png"));
    reel.renew();
  }

  async function setTags() {
    const tags = field("tags").value.split(",").map((tag) => tag.trim()).filter(Boolean);
    try {
      await server.setTags(found.id, tags);
      say("Tags are set.");
    } catch (error) {
      say(error instanceof Error ? error.message : String(error), true);
    }
  }

  async function keepCase() {
    const keep = part("keep").getAttribute("aria-pressed") !== "true";
    try {
      await server.setKeep(found.id, keep);
      part("keep").setAttribute("aria-pressed", String(keep));
      say(keep ? "It is kept, whatever its age." : "It may be deleted when its time comes.");
    } catch (error) {
      say(error instanceof Error ? error.message : String(error), true);
    }
  }

  /** @param {HTMLElement} one */
  function listenTab(one) {
    one.addEventListener("click", () => openTab(one.id.replace("tab-", "")));
    one.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by === undefined) return;
      const all = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('[role="tab"]')]);
      const next = all[(all.indexOf(one) + by + all.length) % all.length];
      openTab(next.id.replace("tab-", ""));
      next.focus();
    });
  }

  /** @param {string} name @param {string} [focus] */
  function openTab(name, focus) {
    for (const one of document.querySelectorAll('[role="tab"]')) {
      const isOpen = one.id === `tab-${name}`;
      one.setAttribute("aria-selected", String(isOpen));
      one.setAttribute("tabindex", isOpen ? "0" : "-1");
      part(one.getAttribute("aria-controls") ?? "").hidden = !isOpen;
    }
    if (name === "findings" && main.shot !== null) tellFindings(main.shot);
    if (focus !== undefined) part(focus).focus();
  }
}
