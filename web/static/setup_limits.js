// The panel of thresholds that a plan may have of its own.

import { commit, desk, say } from "./setup_desk.js";
import { element, part, setUnlessTyping } from "./setup_dom.js";
import * as server from "./setup_server.js";

/** @type {server.Limit[]} */
let limits = [];

/**
 * Fill the panel.
 * @param {server.Limit[]} told
 */
export function fillLimits(told) {
  limits = told;
  part("limits").replaceChildren(
    ...limits.map((limit) => {
      const box = element("div", "");
      box.className = "limit";
      const label = document.createElement("label");
      const input = document.createElement("input");
      Object.assign(input, {
        type: "number",
        id: `limit-${limit.name}`,
        min: String(limit.least),
        max: String(limit.most),
        step: "any",
        placeholder: String(limit.default),
      });
      input.addEventListener("input", () => setLimit(limit, input));
      label.append(
        element("span", `${limit.name.replaceAll("_", " ").replace(/ (mm2|mm per s|mm|s)$/, "")}`),
        input,
        element("span", limit.unit),
      );
      const about = element("p", `${limit.about}; ${limit.least} to ${limit.most}, usually ${limit.default}`);
      about.className = "small";
      box.append(label, about);
      return box;
    }),
  );
}

/** @param {server.Limit} limit @param {HTMLInputElement} input */
function setLimit(limit, input) {
  if (!input.validity.valid) return say(`${limit.name}: expected ${limit.least} to ${limit.most} ${limit.unit}.`, true);
  say("");
  const others = Object.entries(desk.history.present.limits).filter(([name]) => name !== limit.name);
  const own = input.value === "" ? others : [...others, [limit.name, Number(input.value)]];
  commit({ ...desk.history.present, limits: Object.fromEntries(own) }, `limit ${limit.name}`);
}

/** Bring the numbers up to date. */
export function showLimits() {
  for (const { name } of limits) setUnlessTyping(`limit-${name}`, String(desk.history.present.limits[name] ?? ""));
}
