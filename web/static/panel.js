// Words: the banner, the alerts, the findings. Nothing here is drawn over the picture.

const PHASES = { baseline: "baseline", epidurogram: "epidurogram", needle: "needle", cement: "cement" };
const VIEWS = { ap: "AP", lateral: "lateral" };

/** @param {string} id @returns {HTMLElement} */
export const part = (id) => {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no part named ${id}`);
  return element;
};

/** Write words only where they differ: the page is told the same thing many times a second. */
export function put(/** @type {HTMLElement} */ element, /** @type {string} */ words) {
  if (element.textContent !== words) element.textContent = words;
}

/**
 * Give an element these rows, only where they differ from what it shows.
 * @param {HTMLElement} element @param {unknown} rows what decides whether they differ
 * @param {() => HTMLElement[]} make
 */
function rebuild(element, rows, make) {
  const stamp = JSON.stringify(rows);
  if (element.dataset.stamp === stamp) return;
  element.dataset.stamp = stamp;
  element.replaceChildren(...make());
}

/** @param {string} tag @param {string} [words] @param {string} [name] @returns {HTMLElement} */
function make(tag, words = "", name = "") {
  const element = document.createElement(tag);
  element.textContent = words;
  if (name) element.className = name;
  return element;
}

/** @param {any[]} alerts worst first @param {boolean} lost whether nothing is known @param {any} look */
export function showBanner(alerts, lost, look) {
  const worst = alerts[0];
  const priority = lost ? "high" : (worst?.priority ?? "none");
  const words = lost ? "Connection lost: alerts unknown" : (worst?.text ?? look.nothing_active);
  const banner = part("banner");
  banner.dataset.priority = priority;
  banner.classList.toggle("flash", lost || (worst !== undefined && worst.state !== "acknowledged"));
  banner.classList.toggle("long", words.length > 42);
  put(part("banner-marks"), priority === "none" ? "" : look.alarms[priority].marks);
  put(part("banner-text"), words);
  const more = alerts.length > 1 ? `+${alerts.length - 1} more` : "";
  put(part("banner-more"), lost ? "" : `${standing(worst)} ${more}`.trim());
}

/** How an alert stands, in words. */
function standing(/** @type {any} */ alert) {
  if (alert === undefined || alert.state === "raised") return "";
  return alert.state === "cleared" ? "no longer seen, not acknowledged" : "acknowledged";
}

/**
 * @param {any} audio what must be heard, null while that is not known @param {boolean} lost
 * @param {boolean} allowed whether the browser lets this page sound
 */
export function showSound(audio, lost, allowed) {
  document.body.dataset.sounding = audio?.sounding ?? "none";
  put(part("sound"), allowed ? "Alerts are sounded." : "Alerts are NOT sounded: touch this page once to let it.");
  const left = audio === null || lost ? 0 : Math.ceil(audio.paused_s);
  const button = part("pause-button");
  button.setAttribute("aria-pressed", String(left > 0));
  put(button, left > 0 ? `Audio paused: ${left} s (P)` : "Pause audio (P)");
}

/**
 * A row for each alert. Rows stay the same elements while their words change: a button must not vanish under a finger.
 * @param {any[]} alerts worst first @param {boolean} lost @param {any} look
 */
export function showAlerts(alerts, lost, look) {
  const list = part("alerts");
  const known = new Map([...list.children].map((row) => [/** @type {HTMLElement} */ (row).dataset.key, row]));
  const rowOf = (/** @type {string} */ key, /** @type {() => HTMLElement} */ make) => {
    const row = /** @type {HTMLElement} */ (known.get(key) ?? make());
    row.dataset.key = key;
    return row;
  };
  const rows = alerts.map((alert) => {
    const row = rowOf(`alert ${alert.id}`, alertRow);
    fill(row, alert, look);
    return row;
  });
  const words = lost ? (rows.length ? "Unknown now. Last heard:" : "Unknown: no connection") : "none detected";
  if (lost || !rows.length) rows.unshift(rowOf(words, () => make("li", words, "none")));
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

function fill(/** @type {HTMLElement} */ row, /** @type {any} */ alert, /** @type {any} */ look) {
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

/** @param {any} findings of the picture that is shown @param {any[]} alerts */
export function showFindings(findings, alerts) {
  const { registration, scale } = findings;
  const watched = registration !== null && registration.ok;
  const situation = [
    ["Time", `${findings.t_s.toFixed(1)} s`],
    ["Phase", `${PHASES[/** @type {keyof PHASES} */ (findings.phase)]} (${findings.phase_inferred ? "inferred" : "planned"})`],
    ["View", VIEWS[/** @type {keyof VIEWS} */ (findings.view)] ?? "unknown"],
    ["Zones", zonesWords(findings.zones.length, watched)],
    ["Scale", scale === null ? "unknown: no mm" : `${scale.mm_per_px.toFixed(3)} mm/px, from ${scale.source}`],
  ];
  rebuild(part("situation"), situation, () => situation.flatMap(([name, words]) => [make("dt", name), make("dd", words)]));

  const needles = findings.needles.map((/** @type {any} */ needle) => [
    `${needle.id}${needle.predicted ? " predicted" : needle.tip_hidden ? " tip hidden" : ""}`,
    needle.angle_deg === null ? "end-on" : `${needle.angle_deg.toFixed(0)}°`,
    needle.depth_share === null ? "–" : `${(100 * needle.depth_share).toFixed(0)} %`,
    nearestWords(needle, alerts),
  ]);
  showTable("needles", needles, 4);

  const cement = findings.cement.map((/** @type {any} */ deposit) => [
    deposit.needle === null ? `${deposit.id}` : `${deposit.id} of needle ${deposit.needle}`,
    deposit.area_mm2 === null ? "unknown" : `${deposit.area_mm2.toFixed(0)} mm²`,
    deposit.growth_mm2_per_s === null ? "–" : `${signed(deposit.growth_mm2_per_s)} mm²/s`,
  ]);
  showTable("cement", cement, 3);
  const roots = findings.nerve_roots.length;
  put(part("roots"), roots ? `Nerve roots on the roadmap: ${roots}` : "Nerve roots: none detected");
}

function showTable(/** @type {string} */ id, /** @type {string[][]} */ rows, /** @type {number} */ columns) {
  rebuild(part(id), rows, () => {
    const shown = rows.map((cells) => {
      const row = make("tr");
      row.append(...cells.map((words) => make("td", words)));
      return row;
    });
    if (shown.length) return shown;
    const row = make("tr");
    const cell = /** @type {HTMLTableCellElement} */ (make("td", "none detected"));
    cell.colSpan = columns;
    row.append(cell);
    return [row];
  });
}

function zonesWords(/** @type {number} */ count, /** @type {boolean} */ watched) {
  if (count === 0) return "none drawn for this view";
  return watched ? `${count} watched` : "not watched";
}

function nearestWords(/** @type {any} */ needle, /** @type {any[]} */ alerts) {
  const told = alerts.find((alert) => alert.needle === needle.id && alert.unit === "mm");
  if (told === undefined) return "none";
  const place = (told.zone ?? "root").replaceAll("_", " ");
  return `${quantity(told)} ${told.kind === "needle_in_zone" ? "inside" : "to"} ${place}`;
}

function quantity(/** @type {any} */ alert) {
  return `${alert.value.toFixed(1)} ${alert.unit.replace("2", "²")}`;
}

function signed(/** @type {number} */ value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
}
