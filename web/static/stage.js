// The picture and the drawing over it: pixels stay untouched below, strokes are vectors at the screen's own sharpness.

/** @typedef {{kind: string, style: string, xy: number[], text?: string, r?: number, subject?: string}} Stroke */
/** @typedef {{x: number, y: number, width: number, height: number}} Box in input-frame pixels, corner to corner */

const SMOOTH = new Set(["root", "cement", "now root", "now cement"]);
const HALO = "rgb(12 12 12 / 75%)";

export class Stage {
  /**
   * @param {HTMLElement} element
   * @param {HTMLCanvasElement} picture
   * @param {HTMLCanvasElement} overlay
   * @param {any} look /styles.json
   */
  constructor(element, picture, overlay, look) {
    this.element = element;
    this.picture = picture;
    this.overlay = overlay;
    this.look = look;
    /** @type {ImageBitmap | null} */
    this.bitmap = null;
    /** @type {Stroke[]} */
    this.strokes = [];
    /** @type {number[][] | null} */
    this.fieldPolygon = null;
    /** @type {string} full, thin, off, or lines: all but the words */
    this.detail = "full";
    this.fillWithField = false;
    /** @type {{left: number, top: number, zoom: number} | null} where the picture's pixel (0, 0) lies on the element */
    this.place = null;
    new ResizeObserver(() => this.draw()).observe(element);
  }

  /**
   * Show a picture with the strokes of the newest pulse that was looked at.
   * @param {ImageBitmap | null} bitmap null where the pixels are still the last ones
   * @param {Stroke[]} strokes
   * @param {number[][] | null} fieldPolygon
   */
  show(bitmap, strokes, fieldPolygon) {
    if (bitmap !== null) {
      this.bitmap?.close();
      this.bitmap = bitmap;
    }
    this.strokes = strokes;
    this.fieldPolygon = fieldPolygon;
    this.draw();
  }

  /** Width to height of what is shown; 1 before the first picture. */
  get aspect() {
    const box = this.shownBox();
    return box === null ? 1 : box.width / box.height;
  }

  /** Show nothing. */
  clear() {
    this.bitmap?.close();
    this.bitmap = null;
    this.strokes = [];
    fit(this.picture, 1, 1);
    this.draw();
  }

  draw() {
    const box = this.shownBox();
    const overlay = this.overlay;
    const ratio = window.devicePixelRatio || 1;
    const width = this.element.clientWidth;
    const height = this.element.clientHeight;
    fit(overlay, Math.round(width * ratio), Math.round(height * ratio));
    const pen = /** @type {CanvasRenderingContext2D} */ (overlay.getContext("2d"));
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, overlay.width, overlay.height);
    this.place = null;
    if (box === null || this.bitmap === null) return;

    const zoom = Math.min(width / box.width, height / box.height);
    const left = (width - box.width * zoom) / 2;
    const top = (height - box.height * zoom) / 2;
    this.drawPicture(this.bitmap, box, left, top, zoom);
    // Pixel (0, 0) is a centre: its corner lies at (-1/2, -1/2).
    const place = (this.place = { left: left - (box.x - 0.5) * zoom, top: top - (box.y - 0.5) * zoom, zoom });
    if (this.detail === "off") return;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const unit = (box.height * zoom) / 1000;
    const wanted = this.strokes.filter((stroke) => this.isWanted(stroke));
    // Lines end with the picture; labels may use the room beside it.
    pen.save();
    pen.beginPath();
    pen.rect(left, top, box.width * zoom, box.height * zoom);
    pen.clip();
    pen.lineJoin = "round";
    for (const stroke of wanted) {
      if (stroke.kind !== "text") this.drawLine(pen, stroke, place, unit);
    }
    pen.restore();
    drawLabels(pen, wanted.filter((stroke) => stroke.kind === "text"), this.look, place, unit, width, height);
  }

  /** @param {Stroke} stroke a notice stands beside the picture, not on it */
  isWanted(stroke) {
    if (stroke.kind === "notice") return false;
    if (this.detail === "lines") return stroke.kind !== "text";
    return this.detail === "full" || this.look.styles[stroke.style].essential;
  }

  /** @returns {Box | null} the part of the picture that is shown */
  shownBox() {
    if (this.bitmap === null) return null;
    const whole = { x: 0, y: 0, width: this.bitmap.width, height: this.bitmap.height };
    if (!this.fillWithField || !this.fieldPolygon?.length) return whole;
    const xs = this.fieldPolygon.map((point) => point[0]);
    const ys = this.fieldPolygon.map((point) => point[1]);
    const x = Math.max(0, Math.floor(Math.min(...xs)));
    const y = Math.max(0, Math.floor(Math.min(...ys)));
    return {
      x,
      y,
      width: Math.min(whole.width, Math.ceil(Math.max(...xs)) + 1) - x,
      height: Math.min(whole.height, Math.ceil(Math.max(...ys)) + 1) - y,
    };
  }

  /**
   * @param {ImageBitmap} bitmap @param {Box} box @param {number} left @param {number} top @param {number} zoom
   */
  drawPicture(bitmap, box, left, top, zoom) {
    const canvas = this.picture;
    fit(canvas, box.width, box.height);
    Object.assign(canvas.style, {
      left: `${left}px`,
      top: `${top}px`,
      width: `${box.width * zoom}px`,
      height: `${box.height * zoom}px`,
    });
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    pen.drawImage(bitmap, -box.x, -box.y);
  }

  /**
   * @param {CanvasRenderingContext2D} pen @param {Stroke} stroke
   * @param {{left: number, top: number, zoom: number}} place @param {number} unit
   */
  drawLine(pen, stroke, place, unit) {
    const style = this.look.styles[stroke.style];
    const path = pathOf(stroke, place);
    if (style.fill && stroke.kind !== "polyline" && stroke.kind !== "distance") {
      pen.globalAlpha = style.fill;
      pen.fillStyle = style.colour;
      pen.fill(path);
      pen.globalAlpha = 1;
    }
    const lineWidth = Math.max(1.6, style.width * unit);
    pen.setLineDash(style.dash.map((/** @type {number} */ length) => Math.max(2, length * unit)));
    pen.strokeStyle = HALO;
    pen.lineWidth = lineWidth + 2;
    pen.stroke(path);
    pen.strokeStyle = style.colour;
    pen.lineWidth = lineWidth;
    pen.stroke(path);
    pen.setLineDash([]);
  }
}

/** @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
function fit(canvas, width, height) {
  // Setting the size, even to the same, costs a new buffer.
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}

/** @param {Stroke} stroke @param {{left: number, top: number, zoom: number}} place */
function pathOf(stroke, place) {
  const path = new Path2D();
  const { xy } = stroke;
  if (stroke.kind === "circle") {
    path.arc(place.left + xy[0] * place.zoom, place.top + xy[1] * place.zoom, (stroke.r ?? 0) * place.zoom, 0, 2 * Math.PI);
    return path;
  }
  const x = (/** @type {number} */ i) => place.left + xy[i % xy.length] * place.zoom;
  const y = (/** @type {number} */ i) => place.top + xy[(i + 1) % xy.length] * place.zoom;
  if (SMOOTH.has(stroke.style)) {
    // Through the middle of each edge, bent by each corner: what was found on pixels is no staircase.
    path.moveTo((x(0) + x(2)) / 2, (y(0) + y(2)) / 2);
    for (let i = 2; i <= xy.length; i += 2) path.quadraticCurveTo(x(i), y(i), (x(i) + x(i + 2)) / 2, (y(i) + y(i + 2)) / 2);
  } else for (let i = 0; i < xy.length; i += 2) path.lineTo(x(i), y(i));
  if (stroke.kind === "polygon") path.closePath();
  return path;
}

/**
 * Labels on a dark ground; where two would overlap, the less important one moves down.
 * @param {CanvasRenderingContext2D} pen @param {Stroke[]} labels @param {any} look
 * @param {{left: number, top: number, zoom: number}} place @param {number} unit @param {number} width @param {number} height
 */
function drawLabels(pen, labels, look, place, unit, width, height) {
  const size = Math.max(11, look.label_height * unit) * 1.38; // capitals are about 0.72 of the font's size
  pen.font = `500 ${size}px system-ui, "DejaVu Sans", sans-serif`;
  pen.textBaseline = "middle";
  const step = 1.3 * size;
  /** @type {{x0: number, x1: number, top: number}[]} */
  const taken = [];
  const urgentFirst = [...labels].sort((a, b) => look.styles[b.style].essential - look.styles[a.style].essential);
  for (const label of urgentFirst) {
    const words = label.text ?? "";
    const extent = pen.measureText(words).width;
    const x = Math.min(Math.max(place.left + label.xy[0] * place.zoom, 6), Math.max(6, width - extent - 6));
    let top = Math.min(Math.max(place.top + label.xy[1] * place.zoom - step / 2, 0), height - step);
    while (taken.some((other) => x < other.x1 && other.x0 < x + extent && Math.abs(top - other.top) < step)) top += 2;
    taken.push({ x0: x, x1: x + extent, top });
    pen.fillStyle = "rgb(12 12 12 / 65%)";
    pen.fillRect(x - 4, top, extent + 8, step);
    pen.fillStyle = look.styles[label.style].colour;
    pen.fillText(words, x, top + step / 2);
  }
}
