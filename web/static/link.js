// The live line to the server: messages in, acknowledgements and orders out, and back again when it breaks.

import { LOGGED_OUT } from "./account.js";

/**
 * @typedef {{deaf: boolean, lost: number, case: string | null, health: any, audio: any, alerts: any[], changes: any[],
 *            newest: {pulse: number, age_ms: number} | null, other: {frame: number, age_ms: number} | null,
 *            age_ms?: number, captured_ms?: number, picture?: any, jpeg: Uint8Array}} LiveMessage
 */

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 4000;
// The server says something at least every 100 ms: a line this quiet is dead even if nobody closed it.
const SILENT_MS = 1500;

export class Link {
  /** @param {(message: LiveMessage) => void} take is called with every message */
  constructor(take) {
    this.take = take;
    /**
     * Is called with what became of each order.
     * @type {(error: string | null, done: string) => void}
     */
    this.answered = () => {};
    /** @type {string[]} what to say of the orders that are not answered yet, in their order */
    this.ordered = [];
    this.lastHeard = -Infinity;
    /** Whether the line is closed because nobody is logged in. */
    this.loggedOut = false;
    this.waitMs = FIRST_WAIT_MS;
    /** @type {WebSocket | null} */
    this.socket = null;
    this.open();
    setInterval(() => this.dropIfSilent(), 250);
    // A page that is left may be kept by the browser, asleep: it must not hold a line that it does not answer on.
    window.addEventListener("pagehide", () => this.socket?.close());
  }

  /** Milliseconds since the server was last heard; infinite while there is no line. */
  get silenceMs() {
    const up = this.socket !== null && this.socket.readyState === WebSocket.OPEN;
    return up ? performance.now() - this.lastHeard : Infinity;
  }

  /** Tell the server that a picture has been drawn. */
  acknowledge() {
    if (this.socket !== null && this.socket.readyState === WebSocket.OPEN) this.socket.send("ack");
  }

  /**
   * Give an order to the service.
   * @param {object} command as docs/schema/order.json has it @param {string} done what to say once it is obeyed
   */
  order(command, done) {
    if (this.socket !== null && this.socket.readyState === WebSocket.OPEN) {
      this.ordered.push(done);
      this.socket.send(JSON.stringify(command));
    } else this.answered("There is no connection: nothing was ordered.", "");
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.lastHeard = performance.now();
    socket.onmessage = (event) => {
      this.lastHeard = performance.now();
      this.waitMs = FIRST_WAIT_MS;
      this.loggedOut = false;
      if (typeof event.data === "string") this.answered(JSON.parse(event.data).error, this.ordered.shift() ?? "");
      else this.take(unpack(event.data));
    };
    socket.onclose = (event) => {
      this.loggedOut = event.code === LOGGED_OUT;
      this.retry(socket);
    };
  }

  /** @param {WebSocket} socket */
  retry(socket) {
    if (this.socket !== socket) return;
    this.socket = null;
    if (this.ordered.length) this.answered("The connection broke: nobody knows whether the order was obeyed.", "");
    this.ordered = [];
    setTimeout(() => this.open(), this.waitMs);
    this.waitMs = Math.min(2 * this.waitMs, LONGEST_WAIT_MS);
  }

  dropIfSilent() {
    const socket = this.socket;
    if (socket === null || performance.now() - this.lastHeard < SILENT_MS) return;
    // close() alone would wait for a server that does not answer.
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
    this.retry(socket);
  }
}

/**
 * @param {ArrayBuffer} data uint32 length, JSON, JPEG
 * @returns {any} the header's fields, and ``jpeg``
 */
export function unpack(data) {
  const length = new DataView(data).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  return { ...header, jpeg: new Uint8Array(data, 4 + length) };
}
