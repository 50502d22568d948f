// The view that is not on the screen, as it was last seen live: fetched once for each change, and never taken for live.

import { ageWords, part, put } from "./dom.js";
import { unpack } from "./link.js";

const VIEWS = { ap: "AP", lateral: "Lateral" };

export class OtherView {
  /** @param {import("./stage.js").Stage} stage where it is shown */
  constructor(stage) {
    this.stage = stage;
    /** @type {number | null} the frame that is shown */
    this.frame = null;
    this.view = "";
    this.capturedAt = -Infinity;
    this.asking = false;
  }

  /** @param {{frame: number, age_ms: number} | null} other which picture the server has stored */
  hear(other) {
    if (other === null) this.forget();
    else if (other.frame !== this.frame && !this.asking) void this.fetch(other);
  }

  /** @param {{frame: number, age_ms: number}} other */
  async fetch(other) {
    const capturedAt = performance.now() - other.age_ms;
    this.asking = true;
    try {
      const answer = await fetch("other-view");
      if (!answer.ok) return;
      const { frame, findings, strokes, jpeg } = unpack(await answer.arrayBuffer());
      const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
      this.frame = frame;
      this.view = VIEWS[/** @type {keyof VIEWS} */ (findings.view)] ?? "View unknown";
      this.capturedAt = capturedAt;
      this.stage.show(bitmap, strokes, findings.field_px?.polygon ?? null);
    } catch {
      // The line is down: the next message asks again, and until then the older picture tells its own age.
    } finally {
      this.asking = false;
    }
  }

  forget() {
    if (this.frame === null) return;
    this.frame = null;
    this.stage.clear();
  }

  /** Write how old it is. */
  tell() {
    part("other").classList.toggle("stored", this.frame !== null);
    const age = ageWords(Math.max(1000, performance.now() - this.capturedAt));
    put(part("other-title"), this.frame === null ? "Other view" : `${this.view} · STORED`);
    put(part("other-words"), this.frame === null ? "No other view yet" : `NOT LIVE · ${age} old`);
  }
}
