// OpenSeadragon with boxes over it: the part of the viewer that is no component.
//
// A box is { id, box: [x1, y1, x2, y2] in pixels of the upright picture, label, kind, quiet }.
// `kind` is a class of studio.css (truth, c0 ... c3, other, draft) that gives colour and dash, so
// that boxes are told apart without their colour. `quiet` boxes are shown when they are lit, or drawn thin with `shown`.

const SVG = "http://www.w3.org/2000/svg";
const STILL = matchMedia("(prefers-reduced-motion: reduce)");
const LABELS_THAT_MOVE_ASIDE = 14;

const looks = (one) => `${one.kind}${one.quiet ? " quiet" : ""}${one.shown ? " shown" : ""}`;

const scripts = new Map();
export function loadScript(src) {
  if (!scripts.has(src)) {
    scripts.set(src, new Promise((done, failed) => {
      const made = document.createElement("script");
      made.src = src;
      made.onload = done;
      made.onerror = () => { scripts.delete(src); failed(new Error(`expected ${src}, which does not load`)); };
      document.head.append(made);
    }));
  }
  return scripts.get(src);
}
export async function loadSeadragon() {
  if (!document.querySelector("style[data-openseadragon-mobile-css]")) {
    // It would add a style element, which our policy forbids, unless it finds one. This one has its
    // name and is none; the rule is in studio.css.
    const name = document.createElementNS("urn:groundingme", "style");
    name.setAttribute("data-openseadragon-mobile-css", "true");
    document.head.append(name);
  }
  await loadScript("/static/vendor/openseadragon.js");
  return window.OpenSeadragon;
}

// Viewers that show the same part of their pictures. The one that was touched last leads.
export class Sync {
  constructor() {
    this.stages = new Set();
    this.leader = null;
    this.on = true;
  }

  follow(leader) {
    if (!this.on || this.leader !== leader) return;
    const { viewport } = leader.osd;
    const center = viewport.getCenter(true);
    const zoom = viewport.getZoom(true);
    for (const stage of this.stages) {
      if (stage === leader || !stage.opened) continue;
      stage.osd.viewport.panTo(center, true);
      stage.osd.viewport.zoomTo(zoom, null, true);
      stage.osd.forceRedraw();
    }
  }
}

const OPTIONS = {
  showNavigationControl: false,
  drawer: "canvas",
  animationTime: 0.25,
  springStiffness: 9,
  minZoomImageRatio: 0.8,
  visibilityRatio: 0.4,
  maxZoomPixelRatio: 24,
  imageLoaderLimit: 6,
  gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
  gestureSettingsPen: { clickToZoom: false },
};

export class Stage {
  constructor(Seadragon, element, { navigator = false, sync = null, over = () => {}, tell = () => {} } = {}) {
    this.Seadragon = Seadragon;
    this.sync = sync;
    this.over = over;
    this.tell = tell;
    this.opened = false;
    this.boxes = [];
    this.lit = null;
    this.wanted = null;
    this.osd = Seadragon({
      element, ...OPTIONS, showNavigator: navigator, navigatorPosition: "BOTTOM_RIGHT",
      navigatorSizeRatio: 0.16, navigatorAutoFade: false, navigatorDisplayRegionColor: "#5cb8ff",
      animationTime: STILL.matches ? 0 : OPTIONS.animationTime,
    });
    this.layer();
    this.listen();
    sync?.stages.add(this);
  }

  // Two layers in the viewer: lines that scale with the picture, and labels that do not.
  layer() {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", "boxes");
    svg.setAttribute("aria-hidden", "true");
    this.group = document.createElementNS(SVG, "g");
    svg.append(this.group);
    this.labels = document.createElement("div");
    this.labels.className = "box-labels";
    this.labels.setAttribute("aria-hidden", "true");
    this.osd.canvas.append(svg, this.labels);
  }

  listen() {
    const { osd } = this;
    // It would pan on arrows and turn on "r": keys belong to the page.
    osd.addHandler("canvas-key", (event) => { event.preventDefaultAction = true; });
    osd.addHandler("open", () => {
      this.opened = true;
      this.image = osd.world.getItemAt(0);
      const { x, y } = this.image.getContentSize();
      this.size = [x, y];
      this.place();
      if (this.wanted) this.zoomTo(...this.wanted);
      this.wanted = null;
      this.tell("open");
    });
    osd.addHandler("tile-drawn", () => this.shown());
    osd.addHandler("close", () => { this.opened = false; this.place(); });
    osd.addHandler("open-failed", () => this.tell("failed"));
    osd.addHandler("add-item-failed", () => this.tell("failed"));
    osd.addHandler("tile-load-failed", () => { if (!this.drawn) this.tell("failed"); });
    osd.addHandler("update-viewport", () => { this.place(); this.sync?.follow(this); });
    osd.addHandler("resize", () => this.place());
    for (const touch of ["canvas-press", "canvas-scroll", "canvas-pinch", "canvas-drag", "canvas-double-click", "navigator-click", "navigator-drag"]) {
      osd.addHandler(touch, () => this.lead());
    }
  }

  shown() {
    if (this.drawn) return;
    this.drawn = true;
    this.tell("drawn");
  }

  lead() { if (this.sync) this.sync.leader = this; }

  // Shows a picture: a deep-zoom address, or a plain picture's.
  open({ url, tiled }) {
    this.opened = false;
    this.drawn = false;
    this.place();
    this.osd.open(tiled ? url : { type: "image", url, buildPyramid: false });
  }

  setBoxes(boxes) {
    this.boxes = boxes.filter((one) => one.box);
    this.group.replaceChildren(...this.boxes.flatMap((one) => {
      const [x1, y1, x2, y2] = one.box;
      return [`halo ${looks(one)}`, `line ${looks(one)}`].map((name) => {
        const made = document.createElementNS(SVG, "rect");
        for (const [key, value] of Object.entries({
          class: name, "data-box": one.id, x: Math.min(x1, x2), y: Math.min(y1, y2),
          width: Math.abs(x2 - x1), height: Math.abs(y2 - y1),
        })) made.setAttribute(key, value);
        if (!name.startsWith("halo")) {
          made.addEventListener("pointerenter", () => this.over(one.id));
          made.addEventListener("pointerleave", () => this.over(null));
        }
        return made;
      });
    }));
    this.labels.replaceChildren(...this.boxes.map((one) => {
      const made = document.createElement("span");
      made.className = `box-label ${looks(one)}`;
      made.dataset.box = one.id;
      made.textContent = one.label ?? "";
      made.hidden = !one.label;
      return made;
    }));
    this.widths = null;
    this.setLit(this.lit);
    this.place();
  }

  setLit(id) {
    this.lit = id;
    for (const part of [...this.group.children, ...this.labels.children]) {
      part.classList.toggle("lit", part.dataset.box === String(id));
    }
    this.group.classList.toggle("some-lit", id != null && this.boxes.some((one) => String(one.id) === String(id)));
    if (this.opened) this.place();
  }

  // Puts lines and labels where the picture is now.
  place() {
    const seen = this.opened && this.image;
    this.group.style.display = seen ? "" : "none";
    this.labels.style.display = seen ? "" : "none";
    if (!seen) return;
    const { Point } = this.Seadragon;
    const zero = this.image.imageToViewerElementCoordinates(new Point(0, 0));
    const far = this.image.imageToViewerElementCoordinates(new Point(1000, 0));
    const scale = (far.x - zero.x) / 1000;
    this.group.setAttribute("transform", `matrix(${scale} 0 0 ${scale} ${zero.x} ${zero.y})`);
    this.placeLabels(scale, zero);
  }

  placeLabels(scale, zero) {
    const view = this.osd.viewport.getContainerSize();
    const spans = [...this.labels.children];
    this.widths ??= spans.map((span) => [span.offsetWidth, span.offsetHeight]);
    const taken = [];
    spans.forEach((span, i) => {
      const [x1, y1, x2, y2] = this.boxes[i].box.map((edge, k) => edge * scale + (k % 2 ? zero.y : zero.x));
      const [width, height] = this.widths[i];
      const outside = x2 < 0 || y2 < 0 || x1 > view.x || y1 > view.y;
      span.style.visibility = outside ? "hidden" : "";
      if (outside) return;
      const x = Math.max(2, Math.min(x1 - 1, view.x - width - 2));
      // Truth sits above its box and answers below theirs, so the two rarely meet.
      const above = this.boxes[i].kind === "truth";
      let y = above ? y1 - height - 3 : y2 + 3;
      y = Math.max(2, Math.min(y, view.y - height - 2));
      if (spans.length <= LABELS_THAT_MOVE_ASIDE && !this.boxes[i].quiet) {
        const meets = () => taken.some(([tx, ty, tw, th]) => x < tx + tw && tx < x + width && y < ty + th && ty < y + height);
        const step = y + height * 2 > view.y || above ? -(height + 2) : height + 2;
        for (let tries = 0; tries < LABELS_THAT_MOVE_ASIDE && meets(); tries += 1) y += step;
        taken.push([x, y, width, height]);
      }
      span.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
    });
  }

  fit() {
    this.lead();
    this.osd.viewport?.goHome(STILL.matches);
  }

  // Brings a box near, with some of what is around it. Before the picture is there, it waits.
  zoomTo(box, at_once = false) {
    if (!box) return;
    if (!this.opened) { this.wanted = [box, at_once]; return; }
    this.lead();
    const [x1, y1, x2, y2] = box;
    const side = Math.max(x2 - x1, y2 - y1, 16);
    const { Rect } = this.Seadragon;
    const around = new Rect((x1 + x2) / 2 - side * 1.3, (y1 + y2) / 2 - side * 1.3, side * 2.6, side * 2.6);
    this.osd.viewport.fitBounds(this.image.imageToViewportRectangle(around), at_once || STILL.matches);
  }

  zoomBy(factor) {
    if (!this.opened) return;
    this.lead();
    this.osd.viewport.zoomBy(factor).applyConstraints();
  }

  // By parts of what is seen.
  panBy(right, down) {
    if (!this.opened) return;
    this.lead();
    const { width, height } = this.osd.viewport.getBounds();
    this.osd.viewport.panBy(new this.Seadragon.Point(right * width, down * height)).applyConstraints();
  }

  destroy() {
    this.sync?.stages.delete(this);
    this.osd.destroy();
  }
}
