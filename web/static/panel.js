// Words beside the picture: the alerts, the findings, what happened.

import { standing } from "./banner.js";
import { make, part, put, rebuild } from "./dom.js";

const PHASES = { baseline: "baseline", epidurogram: "epidurogram", needle: "needle", cement: "cement" };
const VIEWS = { ap: "AP", lateral: "lateral" };

/**
 * A row for each alert. Rows stay the same elements while their words change: a button must not vanish under a finger.
 * @param {any[]} alerts worst first @param {boolean} lost @param {any} look
 */
export function showAlerts(alerts, lost, look) {
  const list = part("alerts");
  const known = new Map([...list.children].map((row) => [/** @type {HTMLElement} */ (row).dataset.key, row]));
  const rowOf = (/** @type {string} */ key, /** @type {() => HTMLElement} */ made) => {
    const row = /** @type {HTMLElement} */ (known.get(key) ?? made());
    row.dataset.key = key;
    return row;
  };
  const rows = alerts.map((alert) => {
    const row = rowOf(`alert ${alert.id}`, alertRow);
    fill(row, alert, look);
    return row;
  });
  const words = rows.length ? "Unknown now. Last heard:" : "Unknown: no connection";
  if (lost) rows.unshift(rowOf(words, () => make("li", words, "none")));
  // Where there is none the banner says so, and nothing else needs to.
  part("alerts-section").hidden = rows.length === 0;
  if (rows.length !== list.children.length || rows.some((row, i) => row !== list.children[i])) {
    list.replaceChildren(...rows);
  }
}

function alertRow() {
  const row = make("li");
  const button = make("button", "Acknowledge");
  row.append(make("span", "", "marks"), make("span", "", "words"), make("span", "", "when"), button);
  return row;
}

/** @param {HTMLElement} row @param {any} alert @param {any} look */
function fill(row, alert, look) {
  const [marks, words, when, button] = /** @type {HTMLElement[]} */ ([...row.children]);
  row.dataset.priority = alert.priority;
  row.dataset.technical = String(alert.technical);
  put(marks, look.alarms[alert.priority].marks);
  put(words, alert.text);
  // A text may tell another value than the alert's own.
  const value = alert.text.includes(quantity(alert)) ? "" : `${quantity(alert)} · `;
  const kind = alert.technical ? `technical · ${alert.priority}` : alert.priority;
  const who = alert.by === null ? "" : ` by ${alert.by}`;
  put(when, `${value}${kind} · since ${alert.t_s.toFixed(1)} s · ${standing(alert) || alert.state}${who}`);
  button.hidden = alert.state === "acknowledged";
  button.dataset.alert = String(alert.id);
  button.setAttribute("aria-label", `Acknowledge: ${alert.text}`);
}

/** @param {any[]} changes newest first */
export function showHistory(changes) {
  rebuild(part("history"), changes, () =>
    changes.map((change) => make("li", `${change.t_s.toFixed(1)} s ${change.state}: ${change.text}`)),
  );
}

/** @param {any} findings of the picture that is shown @param {import("./stage.js").Stroke[]} strokes */
export function showFindings(findings, strokes) {
  const { registration, scale } = findings;
  const watched = registration !== null && registration.ok;
  const situation = [
    ["Time", `${findings.t_s.toFixed(1)} s`],
    ["Phase", `${PHASES[/** @type {keyof PHASES} */ (findings.phase)]} (${findings.phase_inferred ? "inferred" : "planned"})`],
    ["View", VIEWS[/** @type {keyof VIEWS} */ (findings.view)] ?? "unknown"],
    ["Zones", zonesWords(findings.zones.length, watched)],
    ["Roots", findings.nerve_roots.length ? `${findings.nerve_roots.length} mapped` : "none detected"],
    ["Scale", scale === null ? "unknown: no mm" : `${scale.mm_per_px.toFixed(3)} mm/px (${scale.source})`],
  ];
  rebuild(part("situation"), situation, () =>
    situation.map(([name, words]) => {
      const pair = make("div");
      pair.append(make("dt", name), make("dd", words));
      return pair;
    }),
  );

  /** @param {string} subject */
  const next = (subject) => {
    const distance = strokes.find((stroke) => stroke.kind === "distance" && stroke.subject === subject);
    return distance?.text ?? (watched ? "nothing mapped" : "not watched");
  };
  const needles = findings.needles.map((/** @type {any} */ needle) => [
    `Needle ${needle.id}${needle.predicted ? " predicted" : needle.tip_hidden ? " tip hidden" : ""}`,
    needle.angle_deg === null ? "end-on" : `${needle.angle_deg.toFixed(0)}°`,
    needle.depth_share === null ? "–" : `${(100 * needle.depth_share).toFixed(0)} %`,
    next(`needle ${needle.id}`),
  ]);
  showRows("needles", needles, "Needles: none detected");

  const cement = findings.cement.map((/** @type {any} */ deposit) => [
    deposit.needle === null ? `Cement ${deposit.id}` : `Cement ${deposit.id} of needle ${deposit.needle}`,
    deposit.area_mm2 === null ? "unknown" : `${deposit.area_mm2.toFixed(0)} mm²`,
    deposit.growth_mm2_per_s === null ? "–" : `${signed(deposit.growth_mm2_per_s)} mm²/s`,
    next(`cement ${deposit.id}`),
  ]);
  showRows("cement", cement, "Cement: none detected");
}

/** @param {string} id @param {string[][]} rows of four cells @param {string} none */
function showRows(id, rows, none) {
  rebuild(part(id), rows, () => {
    const shown = rows.map((cells) => {
      const row = make("tr");
      row.append(...cells.map((words) => make("td", words)));
      return row;
    });
    if (shown.length) return shown;
    const row = make("tr");
    const cell = /** @type {HTMLTableCellElement} */ (make("td", none));
    cell.colSpan = 4;
    row.append(cell);
    return [row];
  });
}

/** @param {number} count @param {boolean} watched */
function zonesWords(count, watched) {
  if (count === 0) return "none drawn for this view";
  return watched ? `${count} watched` : "not watched";
}

/** @param {any} alert */
function quantity(alert) {
  return `${alert.value.toFixed(1)} ${alert.unit.replace("2", "²")}`;
}

/** @param {number} value */
export function signed(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
}
