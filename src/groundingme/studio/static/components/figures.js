// Figures with their uncertainty, and the letters and signs that go with runs.
import { html, names } from "../core/dom.js";
import { percent } from "../core/format.js";

// An estimate { value, low, high } in [0, 1] as a point on its interval, from 0 to 100 %.
export function Strip({ of, tone }) {
  if (!of || of.value == null) return html`<span class="soft">–</span>`;
  const part = (value) => `${(100 * value).toFixed(2)}%`;
  const said = of.low == null ? percent(of.value) : `${percent(of.value)}, 95 % interval ${percent(of.low)} to ${percent(of.high)}`;
  return html`
    <svg class=${names("strip", tone)} role="img" aria-label=${said}><title>${said}</title>
      <line class="track" x1="0" x2="100%" y1="10" y2="10" />
      ${of.low != null && html`<line class="reach" x1=${part(of.low)} x2=${part(of.high)} y1="10" y2="10" />`}
      <circle class="dot" cx=${part(of.value)} cy="10" r="4.5" />
    </svg>`;
}

export const WithStrip = ({ of, tone }) => (of?.value == null
  ? html`<span class="soft">–</span>`
  : html`<span class="withstrip"><strong>${percent(of.value)}</strong><${Strip} of=${of} tone=${tone} /></span>`);

// Kinds of mistakes, in the order in which they are drawn.
export const KINDS = ["right", "sloppy box", "wrong object", "false rejection", "missed rejection", "unparsed", "failed"];
export const kindClass = (kind) => `kind${KINDS.indexOf(kind)}`;

// What became of all samples, as one bar. `counts` by kind; `link(kind)` makes its parts links.
export function Mistakes({ counts, link, label }) {
  const shown = KINDS.filter((kind) => counts?.[kind] > 0);
  const total = shown.reduce((sum, kind) => sum + counts[kind], 0);
  if (!total) return null;
  const part = (kind) => {
    const said = `${kind}: ${counts[kind]}`;
    const inside = html`<span class="count">${counts[kind] / total > 0.06 ? counts[kind] : ""}</span>`;
    const shape = { class: `part ${kindClass(kind)}`, style: { flexGrow: counts[kind] }, title: said, "aria-label": said };
    return link ? html`<a ...${shape} href=${link(kind)}>${inside}</a>` : html`<span ...${shape} role="img">${inside}</span>`;
  };
  return html`<div class="mistakes" role="group" aria-label=${label}>${shown.map(part)}</div>`;
}
export const KindLegend = ({ counts }) => html`
  <ul class="legend kinds">${KINDS.filter((kind) => !counts || counts.some((one) => one?.[kind] > 0)).map((kind) => html`
    <li><span class=${`swatch ${kindClass(kind)}`}></span>${kind}${counts?.length === 1 && html` <strong>${counts[0][kind]}</strong>`}</li>`)}</ul>`;

// Categories, each followed by its subtasks; what is about all samples comes first.
export const inOrder = (rows, l1, l2) => {
  const stems = [...new Set(rows.map(l1))];
  return [...rows].sort((a, b) => stems.indexOf(l1(a)) - stems.indexOf(l1(b)) || Boolean(l2(a)) - Boolean(l2(b)));
};

export const LETTERS = ["A", "B", "C", "D"];
export const Letter = ({ run }) => html`<span class=${`letter c${run}`}>${LETTERS[run]}</span>`;

export function Verdict({ right, children }) {
  if (right == null) return html`<span class="soft">${children}</span>`;
  return html`<span class=${names("sign", right ? "right" : "wrong")}><span aria-hidden="true">${right ? "✓" : "✗"}</span><span class="unseen">${right ? "right" : "wrong"}</span> ${children}</span>`;
}

// What became of an answer, in a few words: "IoU 0.83", "rejected", "box where nothing matches".
export function fate({ outcome, iou, right, target }) {
  if (outcome === "rejected") return right ? "rejected" : "rejected, but it is there";
  if (outcome === "box") return target === null ? "box where nothing matches" : `IoU ${(iou ?? 0).toFixed(2)}`;
  return outcome === "failed" ? "no reply" : outcome;
}
