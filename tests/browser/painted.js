// Runs in the page before its own scripts: notes when each picture stands on the canvas, by the number in its pixels.
// LAYOUT is set by who injects it. Each record: the number (null: unreadable), and by performance.now() when its message
// came, was decoded, drawn and painted; its age and the analysis's share as the message says; and what was found.

(() => {
  const { cell_px, columns, rows, check_bits, threshold } = LAYOUT;
  const value_bits = columns * rows - check_bits;
  /** @type {any[]} */
  const records = [];
  let message = null;
  let unpainted = null;

  // The header is what the page itself parses: to parse it twice would cost the page's time.
  const parse = JSON.parse;
  JSON.parse = (text, ...rest) => {
    const value = parse(text, ...rest);
    if (value?.picture) {
      const { findings } = value.picture;
      message = {
        came: performance.now(),
        age_ms: value.age_ms,
        analysed_ms: findings.latency_ms,
        needles: findings.needles.length,
        roots: findings.nerve_roots.length,
        cement: findings.cement.length,
        alerts: value.alerts.length,
      };
    }
    if (value?.captured_ms !== undefined) {
      // Pixels that nobody has looked at yet: what stands over them was found before.
      message = { ...message, came: performance.now(), age_ms: value.captured_ms, analysed_ms: 0 };
    }
    return value;
  };

  const messageOf = new WeakMap();
  const decode = window.createImageBitmap;
  window.createImageBitmap = async (...given) => {
    const from = message;
    const bitmap = await decode(...given);
    messageOf.set(bitmap, { ...from, decoded: performance.now() });
    return bitmap;
  };

  const draw = CanvasRenderingContext2D.prototype.drawImage;
  CanvasRenderingContext2D.prototype.drawImage = function (source, ...rest) {
    draw.call(this, source, ...rest);
    if (this.canvas.id !== "picture" || !messageOf.has(source)) return;
    const awaited = unpainted !== null;
    unpainted = { ...messageOf.get(source), drawn: performance.now(), pen: this };
    messageOf.delete(source);
    if (!awaited) requestAnimationFrame(() => afterPaint.port2.postMessage(null));
  };

  // What is posted in a frame's last callback is heard after the frame was painted.
  const afterPaint = new MessageChannel();
  afterPaint.port1.onmessage = () => {
    const { pen, ...record } = unpainted;
    unpainted = null;
    record.painted = performance.now();
    record.number = read(pen);
    records.push(record);
  };

  function read(pen) {
    const { data, width } = pen.getImageData(0, 0, columns * cell_px, rows * cell_px);
    let value = 0;
    let check = 0;
    for (let i = 0; i < columns * rows; i += 1) {
      const bit = meanOf(data, width, (i % columns) * cell_px, Math.floor(i / columns) * cell_px) > threshold ? 1 : 0;
      if (i < value_bits) value = 2 * value + bit;
      else check = 2 * check + bit;
    }
    return checksum(value) === check ? value : null;
  }

  function meanOf(data, width, left, top) {
    let sum = 0;
    for (let y = top + cell_px / 4; y < top + (3 * cell_px) / 4; y += 1) {
      for (let x = left + cell_px / 4; x < left + (3 * cell_px) / 4; x += 1) sum += data[4 * (y * width + x)];
    }
    return sum / (cell_px / 2) ** 2;
  }

  function checksum(value) {
    let crc = 0xff;
    for (let i = value_bits - 1; i >= 0; i -= 1) {
      const top = (crc >> 7) ^ (Math.floor(value / 2 ** i) % 2);
      crc = ((crc << 1) & 0xff) ^ (top ? 0x07 : 0);
    }
    return crc;
  }

  /** All records since this was last called. */
  window.paintedSince = () => records.splice(0);
})();
