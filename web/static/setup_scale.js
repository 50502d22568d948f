// The panel of the scale: what it is, what it is by the needle, and how a plan comes by one of its own.

import { commit, desk, drawable } from "./setup_desk.js";
import { button, choice, definitions, part, put, setUnlessTyping } from "./setup_dom.js";
import { distance } from "./setup_geometry.js";

// Outer diameters by the Birmingham gauge that needles are named by.
const GAUGES = {
  "8 G": 4.19,
  "10 G": 3.4,
  "11 G": 3.05,
  "12 G": 2.77,
  "13 G": 2.41,
  "14 G": 2.11,
  "15 G": 1.83,
  "18 G": 1.27,
};
const USUAL_NEEDLE_MM = 3.05;
// How well somebody puts the end of a line on an edge, in pixels.
const HAND_PX = 1.5;
const SCALES_DIFFER = 0.15;
const DEPTH_WORDS = "10 cm nearer to the tube, things are shown about a tenth larger.";
const HEADER_WORDS =
  "true where its header was calibrated, or at the detector: things at the patient's depth are then 20 to 40 % smaller.";
const RULER_WORDS = "Draw a line on something of known length, such as a ruler or a marker ball at the needle's depth.";

/** Millimetres a pixel by the widths of needles on the screen, their median; null without one. */
function byNeedle() {
  if (desk.widths.length === 0) return null;
  const sorted = [...desk.widths].sort((a, b) => a - b);
  return (desk.history.present.needle_mm ?? USUAL_NEEDLE_MM) / sorted[sorted.length >> 1];
}

/** @param {number} value */
function scaleWords(value) {
  return `${value.toFixed(4)} mm a pixel`;
}

/** @param {import("./setup_plan.js").Ruler} ruler */
function rulerWords({ corners, mm }) {
  const far = distance(corners[0], corners[1]);
  if (mm === null) return `${far.toFixed(1)} pixels: say how many mm they are.`;
  const error = (100 * HAND_PX) / far;
  const hand = `to ±${error.toFixed(error < 1 ? 1 : 0)} % by the hand`;
  return `${far.toFixed(1)} pixels = ${scaleWords(mm / far)}, ${hand}, and only at its own depth: ${DEPTH_WORDS}`;
}

/** Bring the words about the scale up to date. */
export function showScale() {
  const { present } = desk.history;
  const needle = byNeedle();
  const header = desk.heard?.health?.source_mm_per_px ?? null;
  const scale = desk.seen?.scale ?? null;
  const sources = {
    plan: "the plan",
    needle: "a needle's width",
    header: "the source's header",
    assumed: "a guess: the field's usual size",
  };
  definitions("scale-words", [
    [
      "In use",
      scale === null
        ? "nothing yet"
        : `${scaleWords(scale.mm_per_px)} from ${sources[/** @type {keyof typeof sources} */ (scale.source)]}`,
    ],
    ["This plan", present.mm_per_px === null ? "none of its own" : scaleWords(present.mm_per_px)],
    ["By the needle", needle === null ? "no needle on the screen" : scaleWords(needle)],
  ]);
  const differs = present.mm_per_px !== null && needle !== null ? present.mm_per_px / needle - 1 : 0;
  const by = `${Math.abs(100 * differs).toFixed(0)} % ${differs > 0 ? "more" : "less"}`;
  const question = "Is the gauge right, is the distance at the needle's depth?";
  const warning = `The plan's scale is ${by} than the needle's width says. ${question}`;
  put("scale-warning", Math.abs(differs) > SCALES_DIFFER ? warning : "");
  put("header-words", header === null ? "This source states none." : `${scaleWords(header)}: ${HEADER_WORDS}`);
  button("use-header").disabled = header === null;
  const ruler = present.ruler;
  button("use-ruler").disabled = ruler?.mm == null;
  put("ruler-words", ruler === null ? RULER_WORDS : rulerWords(ruler));
  setUnlessTyping("ruler-mm", ruler?.mm == null ? "" : String(ruler.mm));
  choice("gauge").value = present.needle_mm === null ? "" : String(present.needle_mm);
}

/** @param {number | null} mm_per_px */
export function takeScale(mm_per_px) {
  commit({ ...desk.history.present, mm_per_px: mm_per_px === null ? null : Number(mm_per_px.toPrecision(5)) });
}

/** Draw a line of known length. */
export function drawRuler() {
  const view = drawable();
  if (view === null) return;
  desk.board.draw({
    isLine: true,
    least: 2,
    most: 2,
    colour: "#ffffff",
    done: (corners) => {
      commit({ ...desk.history.present, ruler: { view, corners, mm: desk.history.present.ruler?.mm ?? null } });
      part("ruler-mm").focus();
    },
  });
  desk.board.canvas.focus();
}

/** Take the scale that the drawn distance makes. */
export function takeRuler() {
  const ruler = desk.history.present.ruler;
  if (ruler?.mm) takeScale(ruler.mm / distance(ruler.corners[0], ruler.corners[1]));
}

/** Fill the choice of gauges. */
export function fillGauges() {
  choice("gauge").append(
    new Option("not said: 11 G, 3.05 mm", ""),
    ...Object.entries(GAUGES).map(([name, mm]) => new Option(`${name}, ${mm} mm`, String(mm))),
  );
}
