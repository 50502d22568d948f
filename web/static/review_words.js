// How times, alerts and cases are told in words on the review pages.

const MARKS = /** @type {Record<string, string>} */ ({ high: "!!!", medium: "!!", low: "!" });

/** @param {number} seconds @param {number} [digits] as in "1:02:03.45" */
export function clock(seconds, digits = 0) {
  const rounded = Number(seconds.toFixed(digits));
  const whole = Math.floor(rounded);
  const rest = digits ? (rounded - whole).toFixed(digits).slice(1) : "";
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return `${h ? `${h}:${two(m)}` : m}:${two(s)}${rest}`;
}

/** @param {string} iso */
export function dateWords(iso) {
  const date = new Date(iso);
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** @param {string} kind "cement_in_zone" as "cement in zone" */
export function kindWords(kind) {
  return kind.replaceAll("_", " ");
}

/** @param {string} priority */
export function marks(priority) {
  return MARKS[priority] ?? "!";
}

/**
 * A source's name without the folders that it lies in.
 * @param {string} source
 */
export function sourceWords(source) {
  return source.includes("://") ? source : (source.split("/").filter(Boolean).slice(-2).join("/") || source);
}

/** @param {number} bytes */
export function sizeWords(bytes) {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
