// The panel of sources: which there are, what each shows now, and which is watched.

import { asks, canvas, definitions, element, part, put } from "./setup_dom.js";
import * as server from "./setup_server.js";

/**
 * `heard`: the newest words from the server. `told`: does what may be refused, and says so. `say`: says what was done.
 * @typedef {{heard: () => any, told: (work: () => Promise<unknown>) => Promise<void>, say: (words: string) => void}} Room
 */

/**
 * Look which sources there are.
 * @param {Room} room
 */
export async function listSources(room) {
  put("preview-words", "");
  const offers = await server.sources();
  const kinds = { grabber: "Grabbers", recording: "Recordings", phantom: "Phantom" };
  const lines = Object.entries(kinds).flatMap(([kind, words]) => {
    const own = offers.filter((offer) => offer.kind === kind);
    const heading = element("li", own.length ? words : `${words}: none`);
    heading.className = "heading";
    return [heading, ...own.map((offer) => offerLine(offer, room))];
  });
  part("sources").replaceChildren(...lines);
}

/** @param {server.Offer} offer @param {Room} room */
function offerLine(offer, room) {
  const line = document.createElement("li");
  const small = element("span", offer.in_use ? `${offer.words} · in use` : offer.words);
  small.className = "small";
  line.append(element("strong", offer.name), small);
  for (const [text, act] of /** @type {const} */ ([
    ["Preview", previewSource],
    ["Watch", watchSource],
  ])) {
    const press = element("button", text);
    press.setAttribute("aria-label", `${text} ${offer.kind} ${offer.name}`);
    press.disabled = !offer.may_open || (offer.in_use && text === "Preview");
    press.addEventListener("click", () => void room.told(() => act(offer, room)));
    line.append(press);
  }
  return line;
}

/** @param {server.Offer} offer */
async function previewSource(offer) {
  put("preview-words", `Looking at ${offer.name} …`);
  part("preview").hidden = true;
  try {
    const bitmap = await server.preview(offer.spec);
    const screen = canvas("preview");
    Object.assign(screen, { width: bitmap.width, height: bitmap.height });
    screen.getContext("2d", { alpha: false })?.drawImage(bitmap, 0, 0);
    screen.hidden = false;
    put("preview-words", `${offer.name}: one frame of just now. The running case goes on.`);
  } catch (error) {
    put("preview-words", "");
    throw error;
  }
}

/** @param {server.Offer} offer @param {Room} room */
async function watchSource(offer, room) {
  const heard = room.heard();
  const isLive = heard?.health?.state === "live";
  if (isLive && !(await asks(`A live case is being watched. End it, and watch ${offer.name}?`))) return;
  await server.choose(heard?.case ?? "", offer.spec, isLive);
  room.say(`${offer.name} is being opened; a new case begins with it.`);
}

/**
 * Another patient lies down before the same source.
 * @param {Room} room
 */
export async function beginNextPatient(room) {
  const heard = room.heard();
  if (!(await asks("Begin a new case on the same source? Zones and alerts of this one are not taken along."))) return;
  await server.nextPatient(heard?.case ?? "", true);
  room.say("A new case has begun: no zones, no alerts.");
}

/**
 * Say what is watched.
 * @param {any} health the service's
 */
export function showSource(health) {
  const refused = health?.source_refused ?? null;
  definitions("source-words", [
    ["Watched", health?.source ?? "nothing yet"],
    [
      "State",
      health === undefined || health === null
        ? "?"
        : `${health.state.replace("_", " ")}${health.input ? ` · ${health.input.signal.replace("_", " ")}` : ""}`,
    ],
    .../** @type {[string, string][]} */ (refused === null ? [] : [["Not opened", refused]]),
  ]);
}
