// Wires the line, the stage and the words together.

import { Account } from "./account.js";
import { Freshness, coverOf } from "./freshness.js";
import { Link } from "./link.js";
import { part, put, showAlerts, showBanner, showFindings, showHistory, showSound } from "./panel.js";
import { Sound } from "./sound.js";
import { Stage } from "./stage.js";

const WATCH_MS = 40;
const WORDS_MS = 200;
// A page that is just opening is not a lost connection yet.
const OPENING_MS = 1500;
const DETAILS = ["full", "thin", "off"];

const look = await lookOfThings();
for (const [priority, alarm] of Object.entries(look.alarms)) {
  document.body.style.setProperty(`--${priority}-colour`, alarm.colour);
  document.body.style.setProperty(`--${priority}-ink`, alarm.ink);
  if (alarm.flash_hz > 0) document.body.style.setProperty(`--${priority}-period`, `${1 / alarm.flash_hz}s`);
}

const stage = new Stage(
  part("stage"),
  /** @type {HTMLCanvasElement} */ (part("picture")),
  /** @type {HTMLCanvasElement} */ (part("overlay")),
  look,
);
const freshness = new Freshness();
const sound = new Sound();
const account = new Account(part("account"));
/** @typedef {import("./link.js").LiveMessage} LiveMessage */
/** @type {LiveMessage | null} the newest message of any kind */
let heard = null;
/** @type {any} the header of the picture that is shown */
let shown = null;
/** @type {{message: LiveMessage, capturedAt: number} | null} */
let waiting = null;
let drawing = false;
let wordsAt = -Infinity;
const openedAt = performance.now();

const link = new Link((message) => {
  heard = message;
  if (message.picture) {
    if (waiting !== null) link.acknowledge();
    waiting = { message, capturedAt: performance.now() - (message.age_ms ?? 0) };
    if (!drawing) void drawWaiting();
  }
  watch();
}, showRefusal);
// The clock's own watch: it greys the picture also when nothing is heard any more.
setInterval(watch, WATCH_MS);

/** How everything looks; asked for until it is told, as without it nothing can be shown. */
async function lookOfThings() {
  for (;;) {
    try {
      const answer = await fetch("styles.json");
      if (answer.ok) return answer.json();
    } catch {
      put(part("banner-text"), "Connecting: the server does not answer");
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

async function drawWaiting() {
  drawing = true;
  try {
    while (waiting !== null) {
      const { message, capturedAt } = waiting;
      waiting = null;
      try {
        if (shown === null) wordsAt = -Infinity;
        const pixels = message.jpeg.length ? await createImageBitmap(new Blob([message.jpeg], { type: "image/jpeg" })) : null;
        shown = message.picture;
        stage.show(pixels, shown.strokes, shown.findings.field_px?.polygon ?? null);
        freshness.note(capturedAt, shown.state === "live");
        showNotices(shown.strokes);
        watch();
      } finally {
        link.acknowledge();
      }
    }
  } finally {
    drawing = false;
  }
}

function watch() {
  const opening = heard === null && performance.now() - openedAt < OPENING_MS;
  const late = freshness.late;
  const health = heard?.health ?? null;
  // The heartbeat may be older than the picture, so it is asked only where pictures fail to come.
  const state = late && health !== null && health.state !== "live" ? health.state : (shown?.state ?? null);
  const lost = !opening && (link.silenceMs > 1000 || heard === null || heard.deaf);
  const cover = opening
    ? { word: "CONNECTING", detail: "" }
    : coverOf({
        loggedOut: link.loggedOut,
        silenceMs: link.silenceMs,
        deaf: heard?.deaf ?? true,
        state,
        late,
        ageMs: freshness.ageMs,
        states: look.states,
        inputFault: shown?.findings.input_fault ?? null,
      });
  account.note(link.loggedOut);
  document.body.classList.toggle("stale", cover !== null);
  document.body.dataset.word = cover?.word ?? "LIVE";
  put(part("cover-word"), cover?.word ?? "");
  put(part("cover-detail"), cover?.detail ?? "");
  put(part("state"), cover?.word ?? "LIVE");
  if (!opening) {
    const alerts = heard?.alerts ?? [];
    showBanner(alerts, lost, look);
    showAlerts(alerts, lost, look);
    showHistory(heard?.changes ?? []);
    // What sounded when the line broke goes on: that nothing is known does not mean that it is over.
    sound.set(heard?.audio?.sounding ?? null);
    showSound(heard?.audio ?? null, lost, sound.allowed);
  }
  if (performance.now() - wordsAt > WORDS_MS) showSlowWords();
}

/** Numbers that would flicker faster than anyone reads. */
function showSlowWords() {
  wordsAt = performance.now();
  put(part("age"), ageWords(performance.now() - freshness.liveAt));
  if (shown !== null) showFindings(shown.findings, heard?.alerts ?? []);
  const health = heard?.health ?? null;
  if (health === null || heard === null) return;
  const rate = health.rate_hz === null ? "" : ` · ${health.rate_hz.toFixed(0)} frames/s`;
  const latency = health.latency_ms === null ? "" : ` · analysed in ${health.latency_ms.toFixed(0)} ms`;
  const delay = health.alarm_delay_max_ms === null ? "" : ` · alarms told within ${health.alarm_delay_max_ms.toFixed(0)} ms`;
  put(part("source-line"), `${health.source}${rate}${latency}${delay} · dropped ${health.dropped} · missed messages ${heard.lost}`);
}

function ageWords(/** @type {number} */ ageMs) {
  if (!Number.isFinite(ageMs)) return "";
  return ageMs < 1000 ? `${(Math.round(ageMs / 10) * 10).toFixed(0)} ms old` : `${(ageMs / 1000).toFixed(1)} s old`;
}

function showNotices(/** @type {import("./stage.js").Stroke[]} */ strokes) {
  const words = strokes.filter((stroke) => stroke.kind === "notice").map((stroke) => stroke.text ?? "");
  const notices = part("notices");
  if (notices.dataset.stamp === words.join("|")) return;
  notices.dataset.stamp = words.join("|");
  notices.replaceChildren(
    ...words.map((text) => {
      const line = document.createElement("span");
      line.textContent = text;
      return line;
    }),
  );
}

/** Why the last order was not obeyed; nothing once one is. */
function showRefusal(/** @type {string | null} */ error) {
  put(part("refusal"), error ?? "");
}

function pause() {
  link.order({ kind: "audio_pause", on: !((heard?.audio?.paused_s ?? 0) > 0) });
}

/** One alert at a time: acknowledging one never touches another. */
function acknowledge(/** @type {Event} */ event) {
  const button = event.target instanceof Element ? event.target.closest("button[data-alert]") : null;
  if (button instanceof HTMLElement) link.order({ kind: "acknowledge", alert: Number(button.dataset.alert) });
}

function thin() {
  stage.detail = DETAILS[(DETAILS.indexOf(stage.detail) + 1) % DETAILS.length];
  put(part("overlay-button"), `Overlay: ${stage.detail} (O)`);
  stage.draw();
}

function fill() {
  stage.fillWithField = !stage.fillWithField;
  part("zoom-button").setAttribute("aria-pressed", String(stage.fillWithField));
  stage.draw();
}

part("alerts").addEventListener("click", acknowledge);
part("pause-button").addEventListener("click", pause);
part("overlay-button").addEventListener("click", thin);
part("zoom-button").addEventListener("click", fill);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === "o" || event.key === "O") thin();
  if (event.key === "f" || event.key === "F") fill();
  if (event.key === "p" || event.key === "P") pause();
});
