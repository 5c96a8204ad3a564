// A sample as a card: its picture with the boxes, what was asked, and what became of it.
import { html, names, useState } from "../core/dom.js";
import { percent, short, subtask } from "../core/format.js";
import { Verdict, fate } from "./figures.js";
import { thumb } from "./viewer.js";

// Boxes over a thumbnail, in pixels of the picture that it shows.
export function Boxes({ width, height, boxes }) {
  if (!width || !height) return null;
  return html`
    <svg class="boxes" viewBox=${`0 0 ${width} ${height}`} aria-hidden="true">
      ${boxes.filter((one) => one.box).flatMap(({ box: [x1, y1, x2, y2], kind }) => ["halo", `line ${kind}`].map((name) => html`
        <rect class=${name} x=${Math.min(x1, x2)} y=${Math.min(y1, y2)} width=${Math.abs(x2 - x1)} height=${Math.abs(y2 - y1)} />`))}
    </svg>`;
}

export function Thumb({ picture, width, height, boxes = [], side = 320 }) {
  const [broken, setBroken] = useState(false);
  return html`
    <span class="thumb">
      ${picture && !broken
        ? html`<img src=${thumb(picture, side)} alt="" loading="lazy" decoding="async" onError=${() => setBroken(true)} />`
        : html`<span class="soft">no picture</span>`}
      ${!broken && html`<${Boxes} width=${width} height=${height} boxes=${boxes} />`}
    </span>`;
}

const EXTRA = {
  confidence: (item) => item.confidence != null && `${percent(item.confidence, 0)} % sure`,
  tokens: (item) => item.tokens != null && `${short(item.tokens)} tokens`,
  iou: () => false,
  id: () => false,
};

export function SampleCard({ item, href, order, tabIndex }) {
  const boxes = [{ box: item.target, kind: "truth" }, { box: item.box, kind: "c0" }];
  const extra = (EXTRA[order] ?? EXTRA.id)(item);
  return html`
    <a class=${names("samplecard", item.right === false && "is-wrong")} href=${href} tabindex=${tabIndex}>
      <${Thumb} picture=${item.picture} width=${item.width} height=${item.height} boxes=${boxes} />
      <span class="words">
        <span class="said">${item.description}</span>
        <span class="line2"><${Verdict} right=${item.right}>${fate(item)}</${Verdict}>
          ${extra && html`<span class="soft">${extra}</span>`}</span>
        <span class="soft line3"><span>${subtask(item.l1, item.l2)}</span><span>${item.id}</span></span>
      </span>
    </a>`;
}
