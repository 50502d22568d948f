// Where a service is at work behind these pages, its worst alert stands over them at all times: whoever looks at an old
// case on the room's screen must hear of a leak all the same. Pages of `fluoroguide review` have no service.

import { Link } from "./link.js";
import { asked } from "./server.js";
import { part, put } from "./setup_dom.js";

const SILENT_MS = 1000;
const PICTURE_EVERY_MS = 2000;

export async function showLive() {
  let isLive = false;
  try {
    isLive = (await (await asked("review/about")).json()).live;
  } catch {
    // Whatever else the page asks for says what is wrong.
  }
  part("live-link").hidden = !isLive;
  if (!isLive) return;
  const look = await (await asked("styles.json")).json();
  for (const [priority, alarm] of Object.entries(look.alarms)) {
    document.body.style.setProperty(`--${priority}-colour`, alarm.colour);
    document.body.style.setProperty(`--${priority}-ink`, alarm.ink);
  }
  /** @type {import("./link.js").LiveMessage | null} */
  let heard = null;
  const show = () => {
    const lost = link.silenceMs > SILENT_MS || heard === null || heard.deaf;
    const worst = heard?.alerts[0];
    const quiet = `LIVE NOW: alerts: none detected · source ${(heard?.health?.state ?? "unknown").replace("_", " ")}`;
    part("live-words").dataset.priority = lost ? "high" : (worst?.priority ?? "none");
    put("live-words", lost ? "LIVE: CONNECTION LOST, nothing is known of alerts" : worst ? `LIVE NOW: ${worst.text}` : quiet);
  };
  const link = new Link((message) => {
    heard = message;
    // Words come by themselves; of pictures, which are not shown here, only as few as the line takes for alive.
    if (message.picture || message.jpeg.length) setTimeout(() => link.acknowledge(), PICTURE_EVERY_MS);
    show();
  });
  setInterval(show, 250);
}
