// Asking the server; whatever it refuses comes as one sentence in an Error.

/** What the server would not do, in its words. */
export class Refusal extends Error {
  /** @param {string} words @param {number} status HTTP's word for it */
  constructor(words, status) {
    super(words);
    this.status = status;
  }
}

/** @param {string} path @param {RequestInit} [how] @returns {Promise<Response>} */
export async function asked(path, how) {
  let answer;
  try {
    answer = await fetch(path, how);
  } catch {
    throw new Error("The server does not answer.");
  }
  if (answer.ok) return answer;
  let words = `The server refused (${answer.status}).`;
  try {
    words = (await answer.json()).error ?? words;
  } catch {
    // No words with it: its number says all there is.
  }
  throw new Refusal(words, answer.status);
}

/** @param {string} method @param {unknown} body @returns {RequestInit} */
export function said(method, body) {
  return { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}
