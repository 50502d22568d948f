// Wires the line, the stage and the words together.

import { Account } from "./account.js";
import { Banner } from "./banner.js";
import { Controls } from "./controls.js";
import { ageWords, canvas, make, part, put, rebuild } from "./dom.js";
import { Freshness, SILENT_MS, WATCH_MS, coverOf } from "./freshness.js";
import { Link } from "./link.js";
import { OtherView } from "./other_view.js";
import { showAlerts, showFindings, showHistory } from "./panel.js";
import { Sound } from "./sound.js";
import { Stage } from "./stage.js";
import { Trends } from "./trends.js";

const WORDS_MS = 200;
// A page that is just opening is not a lost connection yet.
const OPENING_MS = 1500;
// A server that is started again answers within this; then somebody must hear that nobody watches.
const LOST_SOUNDS_MS = 4000;

const look = await lookOfThings();
for (const [priority, alarm] of Object.entries(look.alarms)) {
  document.body.style.setProperty(`--${priority}-colour`, alarm.colour);
  document.body.style.setProperty(`--${priority}-ink`, alarm.ink);
}

const stage = new Stage(part("stage"), canvas("picture"), canvas("overlay"), look);
const otherStage = new Stage(part("other-stage"), canvas("other-picture"), canvas("other-overlay"), look);
otherStage.detail = "lines";
otherStage.fillWithField = true;
const otherView = new OtherView(otherStage);
const trends = new Trends(/** @type {SVGSVGElement} */ (/** @type {unknown} */ (part("trends"))));
const freshness = new Freshness();
const sound = new Sound();
const account = new Account(part("account"));
const banner = new Banner(look);
/** @typedef {import("./link.js").LiveMessage} LiveMessage */
/** @type {LiveMessage | null} the newest message of any kind */
let heard = null;
/** @type {any} the header of the picture that is shown */
let shown = null;
/** @type {{message: LiveMessage, capturedAt: number} | null} */
let waiting = null;
let drawing = false;
let wordsAt = -Infinity;
/** Since when nothing is known; Infinity while something is. */
let lostAt = Infinity;
let lossIsHeard = false;
const openedAt = performance.now();

const link = new Link(take);
const controls = new Controls(link, stage, banner, hushLoss);
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

function take(/** @type {LiveMessage} */ message) {
  if (message.case !== heard?.case) {
    otherView.forget();
    void trends.recall();
  }
  heard = message;
  if (message.newest !== null) freshness.vouch(message.newest.pulse, performance.now() - message.newest.age_ms);
  otherView.hear(message.other);
  if (message.picture || message.jpeg.length) {
    if (waiting !== null) link.acknowledge();
    waiting = { message, capturedAt: performance.now() - (message.age_ms ?? 0) };
    if (!drawing) void drawWaiting();
  }
  watch();
}

async function drawWaiting() {
  drawing = true;
  try {
    while (waiting !== null) {
      const { message, capturedAt } = waiting;
      waiting = null;
      try {
        const pixels = message.jpeg.length ? await createImageBitmap(new Blob([message.jpeg], { type: "image/jpeg" })) : null;
        if (!message.picture) {
          // Not looked at yet: its pixels stand under what was seen last.
          stage.show(pixels, stage.strokes, stage.fieldPolygon);
          continue;
        }
        if (shown === null) wordsAt = -Infinity;
        shown = message.picture;
        // The panel takes the room that the picture leaves.
        document.body.style.setProperty("--aspect", stage.aspect.toFixed(3));
        stage.show(pixels, shown.strokes, shown.findings.field_px?.polygon ?? null);
        freshness.note(capturedAt, shown.state === "live", shown.findings.pulse);
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
  const late = freshness.look();
  const health = heard?.health ?? null;
  // The heartbeat may be older than the picture, so it is asked only where pictures fail to come.
  const state = late && health !== null && health.state !== "live" ? health.state : (shown?.state ?? null);
  const lost = !opening && (link.silenceMs > SILENT_MS || heard === null || heard.deaf);
  lostAt = lost ? Math.min(lostAt, performance.now()) : Infinity;
  if (!lost) lossIsHeard = false;
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
    const waits = (/** @type {any} */ alert) => alert.state !== "acknowledged";
    banner.show(alerts, lost ? (link.loggedOut ? "Logged out" : "Connection lost") : null);
    // As in the banner: what somebody must look at stands first.
    showAlerts([...alerts.filter(waits), ...alerts.filter((alert) => !waits(alert))], lost, look);
    soundAlerts(lost);
    controls.show(lost ? null : (heard?.audio ?? null), shown?.findings ?? null, alerts.some(waits));
  }
  if (performance.now() - wordsAt > WORDS_MS) showSlowWords();
}

function soundAlerts(/** @type {boolean} */ lost) {
  // What sounded when the line broke goes on: that nothing is known does not mean that it is over.
  const told = heard?.audio?.sounding ?? null;
  const lossSounds = lost && !lossIsHeard && performance.now() - lostAt > LOST_SOUNDS_MS;
  const sounding = told ?? (lossSounds ? "medium" : null);
  sound.set(sounding);
  document.body.dataset.sounding = sounding ?? "none";
  part("silence").hidden = sound.allowed;
  put(part("sound"), sound.allowed ? "Alerts are sounded." : "Alerts are NOT sounded.");
}

/** Whoever acknowledges while nothing is known has heard that nothing is; true where that was so. */
function hushLoss() {
  if (lostAt === Infinity) return false;
  lossIsHeard = true;
  return true;
}

/** Numbers that would flicker faster than anyone reads. */
function showSlowWords() {
  wordsAt = performance.now();
  const age = ageWords(performance.now() - freshness.liveAt);
  put(part("age"), age && `${age} old`);
  otherView.tell();
  showHistory(heard?.changes ?? []);
  if (shown !== null) {
    showFindings(shown.findings, shown.strokes);
    trends.note(shown.findings);
  }
  const health = heard?.health ?? null;
  if (health === null || heard === null) return;
  const rate = health.rate_hz === null ? "" : ` · ${health.rate_hz.toFixed(0)} frames/s`;
  const latency = health.latency_ms === null ? "" : ` · analysed in ${health.latency_ms.toFixed(0)} ms`;
  const delay = health.alarm_delay_max_ms === null ? "" : ` · alarms told within ${health.alarm_delay_max_ms.toFixed(0)} ms`;
  put(part("source-line"), `${health.source}${rate}${latency}${delay} · dropped ${health.dropped} · missed messages ${heard.lost}`);
}

function showNotices(/** @type {import("./stage.js").Stroke[]} */ strokes) {
  const words = strokes.filter((stroke) => stroke.kind === "notice").map((stroke) => stroke.text ?? "");
  rebuild(part("notices"), words, () => words.map((text) => make("span", text)));
}
