// The drawing board: a picture with shapes on it that are drawn, dragged and shaped by mouse, finger and keyboard.
// It knows nothing of zones and plans: it is shown shapes, and says what somebody would make of them.

import { distance, holds, nearestOn, shifted } from "./setup_geometry.js";

/** @typedef {import("./setup_geometry.js").Point} Point */
/**
 * What can be taken hold of is `corners`; what is drawn is `outline`, a closed one, and where it is empty the corners' line.
 * `isLine`: the corners are a line with two ends. `isFlexible`: corners may be put in and taken out.
 * @typedef {{key: string, label: string, colour: string, dash: number[], fill: number, corners: Point[], outline: Point[],
 *            isLine: boolean, isFlexible: boolean}} Shape
 */
/** @typedef {{key: string | null, corner: number | null}} Selection */
/** @typedef {{at: Point, isError: boolean}} Mark */
/**
 * `edit`: a shape's corners would be these; edits of one `step` in a row are one. `remove`: the shape would be gone.
 * @typedef {{edit: (key: string, corners: Point[], step: string) => void, remove: (key: string) => void,
 *            select: (selection: Selection) => void, say: (words: string) => void}} Hooks
 */
/** @typedef {{isLine: boolean, least: number, most: number, done: (corners: Point[]) => void, colour: string}} Drawing */

const GRASP_PX = { mouse: 9, pen: 14, touch: 24 };
const SNAP_PX = 9;
const TURN_DEG = 15;
const LONGEST_ZOOM = 12;
const LOUPE_PX = 84;
const LOUPE_ZOOM = 3;
const TAP_PX = 6;
const HALO = "rgb(8 8 8 / 80%)";

export class Board {
  /** @param {HTMLCanvasElement} canvas @param {Hooks} hooks */
  constructor(canvas, hooks) {
    this.canvas = canvas;
    this.hooks = hooks;
    /** @type {ImageBitmap | null} */
    this.bitmap = null;
    /** @type {Shape[]} */
    this.shapes = [];
    /** @type {Shape[]} what is seen behind them, and cannot be taken hold of */
    this.backdrop = [];
    /** @type {Mark[]} */
    this.marks = [];
    /** @type {Selection} */
    this.selection = { key: null, corner: null };
    this.snaps = true;
    this.mayEdit = true;
    /** Where the picture lies on the canvas: its pixel (0, 0), and CSS pixels for one of its own. */
    this.view = { left: 0, top: 0, zoom: 1 };
    this.isFitted = true;
    /** @type {Drawing | null} */
    this.drawing = null;
    /** @type {Point[]} what has been drawn so far */
    this.drawn = [];
    /** @type {Point | null} the keyboard's or the pointer's place on the picture while drawing */
    this.cursor = null;
    /** @type {Point | null} where the loupe looks */
    this.loupeAt = null;
    /** @type {Map<number, {at: Point, from: Point}>} */
    this.pointers = new Map();
    /** @type {((at: Point, event: PointerEvent) => void) | null} */
    this.drag = null;
    this.moved = false;
    this.gesture = 0;
    this.frame = 0;
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const end of /** @type {const} */ (["pointerup", "pointercancel"])) {
      canvas.addEventListener(end, (event) => this.up(event));
    }
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("dblclick", () => this.finish());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  /**
   * Show another picture, whole.
   * @param {ImageBitmap | null} bitmap
   */
  showPicture(bitmap) {
    const same =
      bitmap !== null &&
      this.bitmap !== null &&
      bitmap.width === this.bitmap.width &&
      bitmap.height === this.bitmap.height;
    this.bitmap = bitmap;
    if (!same) this.fit();
    this.redraw();
  }

  /** @param {Shape[]} shapes @param {Mark[]} marks @param {Shape[]} [backdrop] */
  showShapes(shapes, marks, backdrop = []) {
    this.shapes = shapes;
    this.backdrop = backdrop;
    this.marks = marks;
    const chosen = this.chosen();
    if (chosen === null) this.selection = { key: null, corner: null };
    else if (this.selection.corner !== null && this.selection.corner >= chosen.corners.length)
      this.selection.corner = null;
    this.redraw();
  }

  /** @param {string | null} key @param {number | null} [corner] */
  select(key, corner = null) {
    this.selection = { key, corner };
    this.hooks.select(this.selection);
    this.redraw();
  }

  /**
   * Draw a new line or polygon.
   * @param {Drawing} drawing
   */
  draw(drawing) {
    this.drawing = drawing;
    this.drawn = [];
    this.cursor = null;
    this.select(null);
    this.sayHow();
  }

  cancel() {
    this.drawing = null;
    this.drawn = [];
    this.loupeAt = null;
    this.hooks.say("");
    this.redraw();
  }

  /** End the drawing with what there is, if that is enough. */
  finish() {
    const drawing = this.drawing;
    if (drawing === null) return;
    // A double click has put two corners where one was meant.
    const corners = this.drawn.filter((corner, i) => i === 0 || distance(corner, this.drawn[i - 1]) > 1);
    if (corners.length < drawing.least) {
      this.hooks.say(`That takes at least ${drawing.least} corners; there are ${corners.length}.`);
      return;
    }
    this.cancel();
    drawing.done(corners);
  }

  fit() {
    this.isFitted = true;
    if (this.bitmap === null) return;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const zoom = Math.min(width / this.bitmap.width, height / this.bitmap.height) || 1;
    const left = (width - this.bitmap.width * zoom) / 2 + zoom / 2;
    const top = (height - this.bitmap.height * zoom) / 2 + zoom / 2;
    this.view = { left, top, zoom };
    this.redraw();
  }

  /**
   * Zoom about a place of the canvas; its middle if none is given.
   * @param {number} by @param {Point} [about]
   */
  zoom(by, about = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2]) {
    const before = this.view.zoom;
    const zoom = Math.min(LONGEST_ZOOM, Math.max(0.1, before * by));
    const share = zoom / before;
    this.view = {
      left: about[0] - (about[0] - this.view.left) * share,
      top: about[1] - (about[1] - this.view.top) * share,
      zoom,
    };
    this.isFitted = false;
    this.redraw();
  }

  /** How much larger than on a small screen things are drawn and reached for: a wall screen is looked at from afar. */
  get unit() {
    return Math.max(1, this.canvas.clientHeight / 900);
  }

  /**
   * How near to a thing a press must come to mean it, in CSS pixels.
   * @param {string} pointer its type
   */
  reach(pointer) {
    return this.unit * (GRASP_PX[/** @type {keyof typeof GRASP_PX} */ (pointer)] ?? GRASP_PX.mouse);
  }

  /**
   * The middle of what is seen of the picture, within it.
   * @returns {Point}
   */
  middle() {
    const [x, y] = this.toPicture([this.canvas.clientWidth / 2, this.canvas.clientHeight / 2]);
    return this.bitmap === null ? [x, y] : [clamp(x, 0, this.bitmap.width - 1), clamp(y, 0, this.bitmap.height - 1)];
  }

  /** @param {Point} at on the canvas @returns {Point} on the picture */
  toPicture([x, y]) {
    return [(x - this.view.left) / this.view.zoom, (y - this.view.top) / this.view.zoom];
  }

  /** @param {Point} at on the picture @returns {Point} on the canvas */
  toCanvas([x, y]) {
    return [this.view.left + x * this.view.zoom, this.view.top + y * this.view.zoom];
  }

  chosen() {
    return this.shapes.find((shape) => shape.key === this.selection.key) ?? null;
  }

  // Pointers

  /** @param {PointerEvent} event */
  down(event) {
    this.canvas.focus({ preventScroll: true });
    try {
      this.canvas.setPointerCapture(event.pointerId);
    } catch {
      // A pointer that a script has made up cannot be captured; it needs no capture either.
    }
    const at = placeOf(event);
    this.pointers.set(event.pointerId, { at, from: at });
    this.moved = false;
    if (this.pointers.size > 1) {
      // Two fingers move the picture, whatever one of them was about to do.
      this.drag = null;
      this.loupeAt = null;
      return;
    }
    this.gesture += 1;
    if (this.drawing !== null) {
      this.drag = (now, moving) => this.aim(now, moving);
      this.aim(at, event);
    } else {
      this.drag = this.mayEdit ? this.grasp(at, event) : null;
    }
    this.redraw();
  }

  /** @param {PointerEvent} event */
  move(event) {
    const pointer = this.pointers.get(event.pointerId);
    const at = placeOf(event);
    if (pointer === undefined) {
      if (this.drawing !== null) {
        this.cursor = this.snapped(this.toPicture(at), event.shiftKey);
        this.redraw();
      }
      return;
    }
    const before = pointer.at;
    if (this.pointers.size === 2) {
      this.pinch(event.pointerId, at);
    } else if (this.moved || distance(at, pointer.from) > TAP_PX) {
      this.moved = true;
      if (this.drag !== null) this.drag(at, event);
      else this.pan(at[0] - before[0], at[1] - before[1]);
    }
    pointer.at = at;
    this.redraw();
  }

  /** @param {PointerEvent} event */
  up(event) {
    const pointer = this.pointers.get(event.pointerId);
    if (pointer === undefined) return;
    this.pointers.delete(event.pointerId);
    const drawing = this.drawing !== null && this.drag !== null && event.type === "pointerup";
    const isTap = this.drag === null && !this.moved && this.pointers.size === 0;
    this.loupeAt = null;
    this.drag = null;
    if (drawing && this.cursor !== null) this.place(this.cursor, event.pointerType);
    else if (isTap) this.select(null);
    this.redraw();
  }

  /** @param {number} id @param {Point} at */
  pinch(id, at) {
    const other = [...this.pointers].find(([pointer]) => pointer !== id)?.[1].at;
    const before = this.pointers.get(id)?.at;
    if (other === undefined || before === undefined) return;
    this.moved = true;
    this.zoom(distance(at, other) / Math.max(1, distance(before, other)), [
      (at[0] + other[0]) / 2,
      (at[1] + other[1]) / 2,
    ]);
    this.pan((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
  }

  /** @param {number} dx @param {number} dy */
  pan(dx, dy) {
    this.view = { ...this.view, left: this.view.left + dx, top: this.view.top + dy };
    this.isFitted = false;
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 400), [event.offsetX, event.offsetY]);
  }

  /**
   * What a press takes hold of: a corner, an edge (which gets a new corner), a whole shape, or nothing.
   * @param {Point} at @param {PointerEvent} event
   */
  grasp(at, event) {
    const reach = this.reach(event.pointerType);
    const chosen = this.chosen();
    const order = chosen === null ? this.shapes : [chosen, ...this.shapes.filter((shape) => shape !== chosen)];
    const step = `drag ${this.gesture}`;
    for (const shape of order) {
      const corner = this.nearestCorner(shape, at, reach);
      if (corner !== null) {
        this.select(shape.key, corner);
        return this.cornerDrag(shape.key, corner, step);
      }
    }
    if (chosen !== null && chosen.isFlexible) {
      const edge = this.nearestEdge(chosen, at, reach * 0.75);
      if (edge !== null) {
        const corners = [...chosen.corners];
        corners.splice(edge + 1, 0, this.toPicture(at));
        this.hooks.edit(chosen.key, corners, step);
        this.select(chosen.key, edge + 1);
        return this.cornerDrag(chosen.key, edge + 1, step);
      }
    }
    const place = this.toPicture(at);
    const under = order.find((shape) =>
      shape.outline.length > 2 ? holds(shape.outline, place) : this.nearestEdge(shape, at, reach) !== null,
    );
    if (under === undefined) return null;
    this.select(under.key);
    const from = place;
    const corners = under.corners;
    return (/** @type {Point} */ now) => {
      const [x, y] = this.toPicture(now);
      this.hooks.edit(under.key, this.within(shifted(corners, x - from[0], y - from[1])), step);
    };
  }

  /** @param {string} key @param {number} corner @param {string} step */
  cornerDrag(key, corner, step) {
    return (/** @type {Point} */ now, /** @type {PointerEvent} */ event) => {
      const shape = this.shapes.find((one) => one.key === key);
      if (shape === undefined) return;
      const before =
        shape.corners[corner - 1] ??
        (shape.isLine ? shape.corners[corner + 1] : shape.corners[shape.corners.length - 1]);
      const at = this.snapped(this.toPicture(now), event.shiftKey, key, before);
      this.loupeAt = at;
      this.hooks.edit(
        key,
        shape.corners.map((old, i) => (i === corner ? at : old)),
        step,
      );
    };
  }

  /**
   * Follow a press that draws; the corner is put where it ends.
   * @param {Point} at @param {PointerEvent} event
   */
  aim(at, event) {
    this.cursor = this.snapped(this.toPicture(at), event.shiftKey);
    this.loupeAt = this.cursor;
  }

  /** @param {Point} corner @param {string} [pointer] */
  place(corner, pointer = "mouse") {
    const drawing = this.drawing;
    if (drawing === null) return;
    const reach = this.reach(pointer);
    const closes = !drawing.isLine && this.drawn.length >= drawing.least;
    if (closes && distance(this.toCanvas(corner), this.toCanvas(this.drawn[0])) <= reach) {
      this.finish();
      return;
    }
    this.drawn = [...this.drawn, corner];
    if (this.drawn.length >= drawing.most) this.finish();
    else this.sayHow();
    this.redraw();
  }

  sayHow() {
    if (this.drawing === null) return;
    const { isLine, least, most } = this.drawing;
    const count = this.drawn.length;
    const end = isLine ? "double-click or Enter ends it" : "the first corner or Enter closes it";
    const how = count < least || most === least ? "" : ` · ${end}`;
    this.hooks.say(
      `${count === 0 ? "Tap the first" : "Tap the next"} corner${how} · Backspace takes one back · Esc gives up`,
    );
  }

  /**
   * A place that is drawn to the nearest corner or edge of another shape; with the angle kept to steps while Shift is held.
   * @param {Point} at @param {boolean} turns @param {string | null} [own] @param {Point | undefined} [before] @returns {Point}
   */
  snapped(at, turns, own = null, before = this.drawn[this.drawn.length - 1]) {
    const [inside] = this.within([at]);
    if (turns && before !== undefined) {
      const step = (TURN_DEG * Math.PI) / 180;
      const angle = Math.round(Math.atan2(inside[1] - before[1], inside[0] - before[0]) / step) * step;
      const far = distance(inside, before);
      return this.within([[before[0] + far * Math.cos(angle), before[1] + far * Math.sin(angle)]])[0];
    }
    if (!this.snaps) return inside;
    const reach = (this.unit * SNAP_PX) / this.view.zoom;
    const others = this.shapes.filter((shape) => shape.key !== own && shape.outline.length > 2);
    const corners = others.flatMap((shape) => shape.outline);
    const corner = nearestOf(corners, inside, reach);
    if (corner !== null) return corner;
    const edges = others.flatMap(({ outline }) =>
      outline.map((a, i) => nearestOn(inside, a, outline[(i + 1) % outline.length])),
    );
    return nearestOf(edges, inside, reach) ?? inside;
  }

  /**
   * The same points, moved together so far that none lies outside the picture.
   * @param {Point[]} points @returns {Point[]}
   */
  within(points) {
    if (this.bitmap === null) return points;
    const limits = [this.bitmap.width - 1, this.bitmap.height - 1];
    const [dx, dy] = [0, 1].map((axis) => {
      const values = points.map((point) => point[axis]);
      const [low, high] = [Math.min(...values), Math.max(...values)];
      if (high - low > limits[axis]) return 0;
      return low < 0 ? -low : high > limits[axis] ? limits[axis] - high : 0;
    });
    return shifted(points, dx, dy);
  }

  /** @param {Shape} shape @param {Point} at on the canvas @param {number} reach @returns {number | null} */
  nearestCorner(shape, at, reach) {
    let [best, nearest] = [/** @type {number | null} */ (null), reach];
    for (const [i, corner] of shape.corners.entries()) {
      const far = distance(this.toCanvas(corner), at);
      if (far <= nearest) [best, nearest] = [i, far];
    }
    return best;
  }

  /**
   * The edge that begins at this corner.
   * @param {Shape} shape @param {Point} at on the canvas @param {number} reach @returns {number | null}
   */
  nearestEdge(shape, at, reach) {
    let [best, nearest] = [/** @type {number | null} */ (null), reach];
    const { corners, isLine } = shape;
    for (let i = 0; i < corners.length - (isLine ? 1 : 0); i++) {
      const [a, b] = [this.toCanvas(corners[i]), this.toCanvas(corners[(i + 1) % corners.length])];
      const far = distance(nearestOn(at, a, b), at);
      if (far <= nearest) [best, nearest] = [i, far];
    }
    return best;
  }

  // Keys

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const arrow = arrows[/** @type {keyof typeof arrows} */ (event.key)];
    const far = event.shiftKey ? 10 : 1;
    let done = true;
    if (event.key === "+" || event.key === "=") this.zoom(1.25);
    else if (event.key === "-") this.zoom(0.8);
    else if (event.key === "0") this.fit();
    else if (this.drawing !== null) done = this.drawingKey(event, arrow, far);
    else if (this.mayEdit) done = this.editingKey(event, arrow, far);
    else done = false;
    if (done) event.preventDefault();
    this.redraw();
  }

  /** @param {KeyboardEvent} event @param {number[] | undefined} arrow @param {number} far */
  drawingKey(event, arrow, far) {
    if (arrow !== undefined) {
      const from = this.cursor ?? this.middle();
      const [x, y] = [Math.round(from[0]), Math.round(from[1])];
      this.cursor = this.within([[x + arrow[0] * far, y + arrow[1] * far]])[0];
      this.loupeAt = this.cursor;
    } else if (event.key === " ") {
      this.cursor ??= this.middle();
      this.place(this.cursor);
    } else if (event.key === "Enter") this.finish();
    else if (event.key === "Escape") this.cancel();
    else if (event.key === "Backspace") {
      this.drawn = this.drawn.slice(0, -1);
      this.sayHow();
    } else return false;
    return true;
  }

  /** @param {KeyboardEvent} event @param {number[] | undefined} arrow @param {number} far */
  editingKey(event, arrow, far) {
    const shape = this.chosen();
    const corner = this.selection.corner;
    const next = { n: 1, ".": 1, p: -1, ",": -1 }[event.key];
    if (event.key === "Escape") this.select(null);
    else if (next !== undefined && shape === null) this.select(this.shapes[0]?.key ?? null);
    else if (shape === null) return false;
    else if (event.key === "n" || event.key === "p") {
      const count = this.shapes.length;
      this.select(this.shapes[(this.shapes.indexOf(shape) + (next ?? 0) + count) % count].key);
    } else if (next !== undefined) {
      const count = shape.corners.length;
      this.select(shape.key, corner === null ? 0 : (corner + next + count) % count);
    } else if (arrow !== undefined) {
      const by = /** @type {Point} */ ([arrow[0] * far, arrow[1] * far]);
      const whole = this.within(shifted(shape.corners, by[0], by[1]));
      const one = corner === null ? null : this.within(shifted([shape.corners[corner]], by[0], by[1]))[0];
      const corners = one === null ? whole : shape.corners.map((old, i) => (i === corner ? one : old));
      this.hooks.edit(shape.key, corners, `arrows ${shape.key} ${corner}`);
      this.loupeAt = one;
    } else if (event.key === "Insert" || event.key === "i") {
      if (corner !== null && shape.isFlexible) this.insertAfter(shape, corner);
    } else if (event.key === "Delete" || event.key === "Backspace") this.removeChosen();
    else return false;
    return true;
  }

  /**
   * Put a corner in the middle of the edge after this one.
   * @param {Shape} shape @param {number} corner
   */
  insertAfter(shape, corner) {
    const after = shape.isLine ? Math.min(corner + 1, shape.corners.length - 1) : (corner + 1) % shape.corners.length;
    const from = after === corner ? corner - 1 : corner;
    const [a, b] = [shape.corners[from], shape.corners[after]];
    const corners = [...shape.corners];
    corners.splice(from + 1, 0, [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]);
    this.hooks.edit(shape.key, corners, `insert ${performance.now()}`);
    this.select(shape.key, from + 1);
  }

  /** Take out the chosen corner, or the whole shape where none is chosen or too few would be left. */
  removeChosen() {
    const shape = this.chosen();
    if (shape === null) return;
    const corner = this.selection.corner;
    const least = shape.isLine ? 2 : 3;
    if (corner === null) {
      this.hooks.remove(shape.key);
    } else if (shape.isFlexible && shape.corners.length > least) {
      this.select(shape.key, corner === 0 ? 0 : corner - 1);
      this.hooks.edit(
        shape.key,
        shape.corners.filter((_, i) => i !== corner),
        `delete ${performance.now()}`,
      );
    } else this.hooks.say(`It needs ${least} corners; press Esc and then Delete to remove all of it.`);
  }

  // Drawing

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(this.canvas.clientWidth * ratio), Math.round(this.canvas.clientHeight * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    if (this.isFitted) this.fit();
    this.paint();
  }

  redraw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  paint() {
    const pen = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d", { alpha: false }));
    const ratio = window.devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.bitmap === null) return;
    this.paintScene(pen, this.view, true);
    if (this.loupeAt !== null) this.paintLoupe(pen, this.loupeAt);
  }

  /** @param {CanvasRenderingContext2D} pen @param {{left: number, top: number, zoom: number}} view @param {boolean} words */
  paintScene(pen, view, words) {
    if (this.bitmap === null) return;
    const { left, top, zoom } = view;
    pen.imageSmoothingEnabled = zoom < 4;
    // Pixel (0, 0) is a centre: its corner lies at (-1/2, -1/2).
    pen.drawImage(this.bitmap, left - zoom / 2, top - zoom / 2, this.bitmap.width * zoom, this.bitmap.height * zoom);
    /** @param {Point} at @returns {Point} */
    const to = ([x, y]) => [left + x * zoom, top + y * zoom];
    for (const shape of this.backdrop) this.paintShape(pen, shape, to, false);
    for (const shape of this.shapes) this.paintShape(pen, shape, to, shape.key === this.selection.key);
    this.paintDrawn(pen, to);
    for (const mark of this.marks) paintMark(pen, to(mark.at), this.unit, mark.isError);
    if (words) for (const shape of [...this.backdrop, ...this.shapes]) this.paintLabel(pen, shape, to);
  }

  /** @param {CanvasRenderingContext2D} pen @param {Shape} shape @param {(at: Point) => Point} to @param {boolean} isChosen */
  paintShape(pen, shape, to, isChosen) {
    if (shape.outline.length > 1) {
      const path = pathOf(shape.outline.map(to), true);
      pen.globalAlpha = isChosen ? Math.max(shape.fill, 0.16) : Math.max(shape.fill, 0.06);
      pen.fillStyle = shape.colour;
      pen.fill(path);
      pen.globalAlpha = 1;
      stroke(
        pen,
        path,
        shape.colour,
        this.unit * (isChosen ? 3 : 2),
        shape.dash.map((length) => this.unit * length),
      );
    }
    if (shape.isLine)
      stroke(pen, pathOf(shape.corners.map(to), false), shape.colour, this.unit * (isChosen ? 3 : 2), []);
    if (!isChosen || !this.mayEdit) return;
    for (const [i, corner] of shape.corners.entries())
      paintHandle(
        pen,
        to(corner),
        shape.colour,
        this.unit * (i === this.selection.corner ? 7 : 5),
        i === this.selection.corner,
      );
  }

  /** @param {CanvasRenderingContext2D} pen @param {(at: Point) => Point} to */
  paintDrawn(pen, to) {
    if (this.drawing === null) return;
    const corners = [...this.drawn, ...(this.cursor === null ? [] : [this.cursor])];
    if (corners.length > 1) stroke(pen, pathOf(corners.map(to), false), this.drawing.colour, 2 * this.unit, []);
    for (const [i, corner] of this.drawn.entries())
      paintHandle(pen, to(corner), this.drawing.colour, this.unit * (i === 0 ? 7 : 5), i === 0);
    if (this.cursor !== null) paintCross(pen, to(this.cursor), this.unit);
  }

  /** @param {CanvasRenderingContext2D} pen @param {Shape} shape @param {(at: Point) => Point} to */
  paintLabel(pen, shape, to) {
    const points = shape.outline.length > 1 ? shape.outline : shape.corners;
    if (shape.label === "" || points.length === 0) return;
    const lowest = points.map(to).reduce((a, b) => (b[1] > a[1] ? b : a));
    const unit = this.unit;
    pen.font = `600 ${13 * unit}px system-ui, "DejaVu Sans", sans-serif`;
    pen.textBaseline = "middle";
    const [width, height] = [pen.measureText(shape.label).width + 10 * unit, 20 * unit];
    const x = clamp(lowest[0] - width / 2, 2, Math.max(2, this.canvas.clientWidth - width - 2));
    const y = clamp(lowest[1] + 8 * unit, 2, this.canvas.clientHeight - height - 2);
    pen.fillStyle = "rgb(10 14 18 / 78%)";
    pen.fillRect(x, y, width, height);
    pen.fillStyle = shape.colour;
    pen.fillText(shape.label, x + 5 * unit, y + height / 2);
  }

  /**
   * What a finger hides, three times as large, in the corner that is farther away.
   * @param {CanvasRenderingContext2D} pen @param {Point} at
   */
  paintLoupe(pen, at) {
    const [x, y] = this.toCanvas(at);
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const radius = LOUPE_PX * this.unit;
    /** @type {Point} */
    const centre = [
      x < width / 2 ? width - radius - 12 : radius + 12,
      y < height / 2 ? height - radius - 12 : radius + 12,
    ];
    const zoom = this.view.zoom * LOUPE_ZOOM;
    pen.save();
    pen.beginPath();
    pen.arc(centre[0], centre[1], radius, 0, 2 * Math.PI);
    pen.clip();
    pen.fillStyle = "#000";
    pen.fillRect(centre[0] - radius, centre[1] - radius, 2 * radius, 2 * radius);
    this.paintScene(pen, { left: centre[0] - at[0] * zoom, top: centre[1] - at[1] * zoom, zoom }, false);
    paintCross(pen, centre, this.unit);
    pen.restore();
    pen.strokeStyle = "#e8eef4";
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(centre[0], centre[1], radius, 0, 2 * Math.PI);
    pen.stroke();
  }
}

/** @param {PointerEvent} event @returns {Point} */
function placeOf(event) {
  return [event.offsetX, event.offsetY];
}

/** @param {number} value @param {number} low @param {number} high */
function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

/** @param {Point[]} points @param {Point} at @param {number} reach @returns {Point | null} */
function nearestOf(points, at, reach) {
  let [best, nearest] = [/** @type {Point | null} */ (null), reach];
  for (const point of points) {
    const far = distance(point, at);
    if (far <= nearest) [best, nearest] = [point, far];
  }
  return best;
}

/** @param {Point[]} points @param {boolean} closed */
function pathOf(points, closed) {
  const path = new Path2D();
  for (const [x, y] of points) path.lineTo(x, y);
  if (closed) path.closePath();
  return path;
}

/** @param {CanvasRenderingContext2D} pen @param {Path2D} path @param {string} colour @param {number} width @param {number[]} dash */
function stroke(pen, path, colour, width, dash) {
  pen.lineJoin = "round";
  pen.setLineDash(dash);
  pen.strokeStyle = HALO;
  pen.lineWidth = width + 2;
  pen.stroke(path);
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.stroke(path);
  pen.setLineDash([]);
}

/**
 * @param {CanvasRenderingContext2D} pen @param {Point} at @param {string} colour @param {number} radius
 * @param {boolean} isChosen
 */
function paintHandle(pen, [x, y], colour, radius, isChosen) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fillStyle = isChosen ? "#ffffff" : colour;
  pen.fill();
  pen.lineWidth = 2;
  pen.strokeStyle = HALO;
  pen.stroke();
}

/** @param {CanvasRenderingContext2D} pen @param {Point} at @param {number} unit */
function paintCross(pen, [x, y], unit) {
  const path = new Path2D();
  for (const [dx, dy] of [
    [1, 0],
    [-1, 0],
    [0, 1],
    [0, -1],
  ]) {
    path.moveTo(x + 4 * unit * dx, y + 4 * unit * dy);
    path.lineTo(x + 16 * unit * dx, y + 16 * unit * dy);
  }
  stroke(pen, path, "#ffffff", 1.5 * unit, []);
}

/**
 * A fault's place: a ring for what is worth a look, with a cross in it for what cannot be used.
 * @param {CanvasRenderingContext2D} pen @param {Point} at @param {number} unit @param {boolean} isError
 */
function paintMark(pen, [x, y], unit, isError) {
  const path = new Path2D();
  path.arc(x, y, 12 * unit, 0, 2 * Math.PI);
  const arm = 6 * unit;
  if (isError) {
    path.moveTo(x - arm, y - arm);
    path.lineTo(x + arm, y + arm);
    path.moveTo(x + arm, y - arm);
    path.lineTo(x - arm, y + arm);
  }
  stroke(pen, path, "#ffffff", 2.5 * unit, isError ? [] : [4 * unit, 4 * unit]);
}
