// The box that one draws and changes: a layer over the viewer.
//
// Annotorious would be the library for this, but it needs `unsafe-eval`, which the studio's policy
// forbids; one rectangle is small. The box stays in pixels of the picture, so what is drawn is
// what is saved, at any zoom.
import { at } from "../core/api.js";
import { between, moved, resized } from "./boxes.js";

const SVG = "http://www.w3.org/2000/svg";
const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const TILED_FROM = 4_000_000;
const TILE = 512;
// Screen pixels per pixel of the picture from which on its pixels are shown as squares.
const SQUARES_FROM = 4;
// A side shorter than this has no handle in its middle: it would lie on those of the corners.
const ROOM = 48;

/** Reads the tiles that a first look at a big picture needs, so that they are there by then. */
export function prefetchTiles(key, { width, height }, across = 1000) {
  if (width * height <= TILED_FROM) return;
  const top = Math.ceil(Math.log2(Math.max(width, height)));
  const level = Math.min(top, Math.max(top + Math.ceil(Math.log2(across / width)), 0));
  const scale = 2 ** (level - top);
  for (let x = 0; x < Math.ceil((width * scale) / TILE); x += 1) {
    for (let y = 0; y < Math.ceil((height * scale) / TILE); y += 1) {
      new Image().src = `${at`/api/pictures/${key}`}_files/${level}/${x}_${y}.jpg`;
    }
  }
}

function node(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function set(element, attributes) {
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
}

export class Editor {
  /**
   * @param stage  a Stage of components/stage.js
   * @param onBox  called with the box when it was drawn or changed by hand
   * @param onDrawing  called with whether the next drag draws a box
   */
  constructor(stage, { onBox = () => {}, onDrawing = () => {} } = {}) {
    Object.assign(this, { stage, onBox, onDrawing, box: null, drag: null, drawing: false, crisp: null });
    this.scale = 1;
    this.origin = { x: 0, y: 0 };
    this.build();
    for (const name of ["update-viewport", "resize", "open"]) stage.osd.addHandler(name, () => this.place());
    stage.osd.container.append(this.svg);
    this.place();
  }

  build() {
    this.halo = node("rect", { class: "halo" });
    this.body = node("rect", { class: "body" });
    this.handles = HANDLES.map((name) => node("circle", { class: `handle ${name}`, "data-handle": name }));
    this.label = node("text", { class: "size" });
    this.edit = node("g", {}, this.halo, this.body, ...this.handles, this.label);
    this.lines = [node("line", { class: "guide" }), node("line", { class: "guide" })];
    this.sheet = node("rect", { class: "drawing-sheet", width: "100%", height: "100%" });
    this.svg = node("svg", { class: "editor", "aria-hidden": "true" }, this.edit, this.sheet, ...this.lines);
    const grabs = (element, what) => element.addEventListener("pointerdown", (event) => this.grab(event, what));
    grabs(this.body, "move");
    grabs(this.sheet, "draw");
    for (const handle of this.handles) grabs(handle, handle.dataset.handle);
    this.svg.addEventListener("pointermove", (event) => this.pull(event));
    this.svg.addEventListener("pointerup", (event) => this.drop(event));
    this.svg.addEventListener("pointercancel", () => this.give());
    // A wheel that is turned above the box zooms, as it does beside it.
    this.svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.stage.osd.canvas.dispatchEvent(new WheelEvent("wheel", event));
    }, { passive: false });
  }

  get size() {
    const [width, height] = this.stage.size ?? [1, 1];
    return { width, height };
  }

  /** Shows a box, or none; one that is being dragged is left alone. */
  show(box, editable) {
    this.editable = editable;
    if (this.drag) return;
    this.box = box;
    this.place();
  }

  /** Says whether the next drag draws a new box. */
  draw(on) {
    this.drawing = on && this.editable;
    this.svg.classList.toggle("drawing", this.drawing);
    this.onDrawing(this.drawing);
  }

  // Puts the box where the picture is now.
  place() {
    const { opened, image, osd } = this.stage;
    this.edit.style.display = opened && image && this.box ? "" : "none";
    if (!opened || !image) return;
    const seen = (x, y) => image.imageToViewerElementCoordinates(new this.stage.Seadragon.Point(x, y));
    const [zero, far] = [seen(0, 0), seen(1000, 0)];
    this.scale = (far.x - zero.x) / 1000;
    this.origin = zero;
    const crisp = this.scale >= SQUARES_FROM;
    if (crisp !== this.crisp) osd.drawer.setImageSmoothingEnabled(!crisp);
    this.crisp = crisp;
    osd.element.dataset.box = this.box ? this.box.join(",") : "";
    if (this.box) this.placeBox();
  }

  placeBox() {
    const [x1, y1, x2, y2] = this.box.map((edge, i) => edge * this.scale + this.origin[i % 2 ? "y" : "x"]);
    for (const rect of [this.halo, this.body]) {
      set(rect, { x: x1, y: y1, width: Math.max(x2 - x1, 0), height: Math.max(y2 - y1, 0) });
    }
    for (const handle of this.handles) {
      const name = handle.dataset.handle;
      set(handle, {
        cx: name.includes("w") ? x1 : name.includes("e") ? x2 : (x1 + x2) / 2,
        cy: name.includes("n") ? y1 : name.includes("s") ? y2 : (y1 + y2) / 2,
      });
      const side = "ns".includes(name) ? x2 - x1 : y2 - y1;
      handle.style.display = this.editable && (name.length === 2 || side > ROOM) ? "" : "none";
    }
    this.svg.classList.toggle("fixed", !this.editable);
    const [width, height] = [this.box[2] - this.box[0], this.box[3] - this.box[1]];
    this.label.textContent = `${Math.round(width)} × ${Math.round(height)} px`;
    // Above the box: labels of other boxes are below theirs.
    set(this.label, { x: x1, y: y1 > 26 ? y1 - 11 : y1 + 20 });
  }

  // Where an event is, in pixels of the picture.
  point(event) {
    const frame = this.svg.getBoundingClientRect();
    return {
      x: (event.clientX - frame.left - this.origin.x) / this.scale,
      y: (event.clientY - frame.top - this.origin.y) / this.scale,
    };
  }

  grab(event, what) {
    if (event.button || !this.editable) return;
    event.preventDefault();
    event.stopPropagation();
    document.activeElement?.blur?.();
    this.svg.setPointerCapture(event.pointerId);
    this.drag = { what, from: this.point(event), box: this.box };
  }

  pull(event) {
    if (this.drawing) this.guide(event);
    if (!this.drag) return;
    const { what, from, box } = this.drag;
    const now = this.point(event);
    if (what === "draw") this.box = between(from, now, this.size) ?? this.box;
    else if (what === "move") this.box = moved(box, now.x - from.x, now.y - from.y, this.size);
    else this.box = resized(box, what, now, this.size);
    this.place();
  }

  drop(event) {
    if (!this.drag) return;
    this.pull(event);
    const { what, box } = this.drag;
    this.drag = null;
    if (what === "draw") this.draw(false);
    if (String(this.box) !== String(box)) this.onBox(this.box);
  }

  /** Leaves a drag as if it had not begun, and drawing. */
  give() {
    if (this.drag) this.box = this.drag.box;
    this.drag = null;
    this.draw(false);
    this.place();
  }

  guide(event) {
    const frame = this.svg.getBoundingClientRect();
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    set(this.lines[0], { x1: x, x2: x, y1: 0, y2: frame.height });
    set(this.lines[1], { x1: 0, x2: frame.width, y1: y, y2: y });
  }
}
