// What a model wrote, always as text. Coordinates in it are linked to boxes on the picture.
import { html, names, useState } from "../core/dom.js";
import { boxText } from "../core/format.js";

const SHOWN = 20_000;

// Cuts a text at its spans: strings, and { text, id, box } for coordinates. Spans count characters,
// while a string here counts halves of those beyond the basic plane. Spans that overlap or lie
// outside of the text are left out.
export function pieces(said, spans) {
  const wide = spans.length > 0 && /[\ud800-\udfff]/.test(said) && Array.from(said);
  const text = wide ? { length: wide.length, slice: (from, to) => wide.slice(from, to).join("") } : said;
  const cut = [];
  let at = 0;
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    if (span.start < at || span.end > text.length || span.end <= span.start) continue;
    if (span.start > at) cut.push(text.slice(at, span.start));
    cut.push({ text: text.slice(span.start, span.end), id: span.id, box: span.box });
    at = span.end;
  }
  if (at < text.length) cut.push(text.slice(at));
  return cut;
}

// `spans`: { start, end, id, box } in this text; `onLit(id | null)`; `onOpen(box)` zooms to one.
export function Reply({ text, spans = [], lit, onLit, onOpen, label }) {
  const [whole, setWhole] = useState(false);
  const shown = whole ? text : text.slice(0, SHOWN);
  if (!text) return html`<p class="soft">empty</p>`;
  return html`
    <pre tabindex="0" aria-label=${label}>${pieces(shown, spans).map((piece) => (typeof piece === "string" ? piece : html`
      <button type="button" class=${names("coord", lit === piece.id && "lit")} title=${`Zoom to ${boxText(piece.box)}`}
        onMouseEnter=${() => onLit(piece.id)} onMouseLeave=${() => onLit(null)} onFocus=${() => onLit(piece.id)} onBlur=${() => onLit(null)}
        onClick=${() => onOpen(piece.box)}>${piece.text}</button>`))}</pre>
    ${shown.length < text.length && html`<button type="button" class="plain" onClick=${() => setWhole(true)}>Show all ${text.length.toLocaleString("en-US")} characters</button>`}`;
}

// Spans of one field with the ids of the boxes that they name; a span whose box is among `boxes`
// takes that one's id.
export function linkSpans(spans, field, boxes) {
  const near = (a, b) => a && b && a.every((edge, i) => Math.abs(edge - b[i]) < 1);
  return (spans ?? []).filter((span) => span.field === field && span.box).map((span, i) => ({
    ...span, id: boxes.find((one) => near(one.box, span.box))?.id ?? `${field}${i}`,
  }));
}
