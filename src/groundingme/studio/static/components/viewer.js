// The viewer: a picture that zooms, plain or in tiles, with boxes drawn over it.
import { html, names, useEffect, useRef, useState } from "../core/dom.js";
import { at, get } from "../core/api.js";
import { boxText } from "../core/format.js";
import { Icon } from "./icons.js";
import { Stage, Sync, loadSeadragon } from "./stage.js";

export { Stage, Sync, loadSeadragon };

// { width, height, tiled } of a picture, asked once.
const infos = new Map();
export function pictureInfo(key) {
  if (!infos.has(key)) {
    const asked = get(at`/api/pictures/${key}/info`);
    asked.catch(() => infos.delete(key));
    infos.set(key, asked);
  }
  return infos.get(key);
}
export const thumb = (key, side = 320) => `${at`/api/pictures/${key}/thumb`}?side=${side}`;

// Brings what will be shown next into the browser's cache. Tiles of a big picture come by
// themselves: of those, only what describes them.
const near = new Map();
export async function prefetchPicture(key) {
  if (!key || near.has(key)) return;
  const picture = new Image();
  near.set(key, picture);
  if (near.size > 8) near.delete(near.keys().next().value);
  try {
    const { tiled } = await pictureInfo(key);
    picture.src = tiled ? thumb(key, 640) : at`/api/pictures/${key}`;
    await picture.decode();
  } catch {
    // Whoever opens it is told.
  }
}

async function sourceOf({ picture, src }) {
  if (src) return { url: src, tiled: false };
  const { tiled } = await pictureInfo(picture);
  return tiled ? { url: `${at`/api/pictures/${picture}`}.dzi`, tiled } : { url: at`/api/pictures/${picture}`, tiled };
}

// Props: `picture` (a key of the API) or `src` (an address); `boxes` as stage.js says; `lit`, the
// id of the box that stands out, and `onLit(id | null)`; `sync`, a Sync shared by viewers;
// `control`, a ref that gets the Stage; `onReady(osd, stage)` once, for layers such as the box
// editor; `label`, what it shows, for a screen reader; `navigator`, a small map for big
// pictures; `children`, buttons beside the zoom's.
export function Viewer({ picture, src, boxes = [], lit = null, onLit, sync, control, onReady, label, navigator, children }) {
  const element = useRef();
  const stage = useRef(null);
  const latest = useRef({});
  latest.current = { boxes, lit, onLit, onReady };
  const [state, setState] = useState("coming");

  useEffect(() => {
    let gone = false;
    loadSeadragon().then((Seadragon) => {
      if (gone) return;
      stage.current = new Stage(Seadragon, element.current, {
        navigator, sync, over: (id) => latest.current.onLit?.(id), tell: setState,
      });
      if (control) control.current = stage.current;
      latest.current.onReady?.(stage.current.osd, stage.current);
      stage.current.setBoxes(latest.current.boxes);
      stage.current.setLit(latest.current.lit);
      show();
    }, () => setState("failed"));
    return () => {
      gone = true;
      stage.current?.destroy();
      stage.current = null;
      if (control) control.current = null;
    };
  }, []);

  const wanted = useRef(null);
  const show = async () => {
    const now = src ?? picture;
    wanted.current = now;
    if (!now || !stage.current) return;
    setState("coming");
    try {
      const source = await sourceOf({ picture, src });
      if (wanted.current === now) stage.current?.open(source);
    } catch {
      if (wanted.current === now) setState("failed");
    }
  };
  useEffect(() => { if (stage.current) show(); else wanted.current = src ?? picture; }, [picture, src]);
  useEffect(() => stage.current?.setBoxes(boxes), [boxes]);
  useEffect(() => stage.current?.setLit(lit), [lit]);

  const under = picture && !src && state !== "drawn";
  const say = [label, ...boxes.filter((one) => one.box).map((one) => `${one.label ?? one.kind}: ${boxText(one.box)}`)];
  return html`
    <div class=${names("viewer", state)} role="group" aria-label=${say.filter(Boolean).join(". ")} data-state=${state}>
      ${under && html`<img class="under" src=${thumb(picture, 640)} alt="" />`}
      <div class="pane" ref=${element}></div>
      ${state === "failed" && html`<p class="cannot" role="alert">The picture cannot be shown.</p>`}
      <div class="zoom" role="toolbar" aria-label="Zoom">
        <button type="button" aria-label="Zoom in" title="Zoom in (+)" onClick=${() => stage.current?.zoomBy(1.6)}><${Icon} name="plus" /></button>
        <button type="button" aria-label="Zoom out" title="Zoom out (−)" onClick=${() => stage.current?.zoomBy(1 / 1.6)}><${Icon} name="minus" /></button>
        <button type="button" aria-label="Whole picture" title="Whole picture (0)" onClick=${() => stage.current?.fit()}><${Icon} name="fit" /></button>
        ${children}
      </div>
    </div>`;
}

// The keys of a viewer, for useKeys: `control` is the ref that the viewer was given.
export const viewerKeys = (control) => [
  { keys: ["+", "="], does: "Zoom in", run: () => control.current?.zoomBy(1.6) },
  { keys: ["-"], does: "Zoom out", run: () => control.current?.zoomBy(1 / 1.6) },
  { keys: ["0", "f"], does: "Whole picture", run: () => control.current?.fit() },
  { keys: ["Shift+ArrowLeft"], does: "Move left", run: () => control.current?.panBy(-0.25, 0) },
  { keys: ["Shift+ArrowRight"], does: "Move right", run: () => control.current?.panBy(0.25, 0) },
  { keys: ["Shift+ArrowUp"], does: "Move up", run: () => control.current?.panBy(0, -0.25) },
  { keys: ["Shift+ArrowDown"], does: "Move down", run: () => control.current?.panBy(0, 0.25) },
];
