// How many items stand where.
import { html } from "../core/dom.js";
import { number } from "../core/format.js";

export const STATUSES = {
  open: "open", annotated: "annotated", conflict: "differ", accepted: "accepted", rejected: "rejected", skipped: "skipped",
};

/** A bar of the statuses with its figures under it. */
export function Counts({ counts = {} }) {
  const shown = Object.keys(STATUSES).filter((name) => counts[name] > 0);
  const total = Object.keys(STATUSES).reduce((sum, name) => sum + (counts[name] ?? 0), 0);
  return html`
    <div class="an-counts">
      <svg class="an-bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
        ${parts(counts, total).map(([name, x, width]) => html`<rect class=${`an-fill-${name}`} x=${x} y="0" width=${width} height="4" />`)}
      </svg>
      <p>${shown.length === 0 ? "Nothing in it" : shown.map((name) => html`<span class="an-count"><i class=${`an-dot an-fill-${name}`} aria-hidden="true"></i>${number(counts[name])} ${STATUSES[name]}</span>`)}</p>
    </div>`;
}

function parts(counts, total) {
  let x = 0;
  return ["accepted", "annotated", "conflict", "rejected", "skipped", "open"].flatMap((name) => {
    const width = total ? (100 * (counts[name] ?? 0)) / total : 0;
    x += width;
    return width ? [[name, x - width, width]] : [];
  });
}
