// Very many samples as a grid of cards: only those near the window are made, a part at a time read.
import { html, useEffect, useLayoutEffect, useReducer, useRef, useState } from "../core/dom.js";
import { get, query } from "../core/api.js";
import { plural } from "../core/format.js";

const PART = 100;
const PASSING = 60;
const GAP = 14;
const BEYOND = 1.5;

// Items of a paged list, by index: `want(first, last)` asks for those that are not there.
export function useParts(path, filters) {
  const key = path + query(filters);
  const [, redraw] = useReducer((n) => n + 1, 0);
  const state = useRef({}).current;
  if (state.key !== key) {
    state.stop?.abort();
    // What was shown stays until the new list is known, so that typing a filter does not flicker.
    Object.assign(state, { key, parts: new Map(), stop: new AbortController(), total: null, error: null, before: state.total });
  }
  const ask = (part) => {
    if (state.parts.has(part)) return;
    state.parts.set(part, null);
    const { parts, stop } = state;
    get(path + query({ ...filters, offset: part * PART, limit: PART }), { signal: stop.signal }).then(
      (found) => {
        parts.set(part, found.items);
        if (state.parts === parts) Object.assign(state, { total: found.total, error: null });
      },
      (error) => {
        if (error.name === "AbortError") return;
        parts.delete(part);
        if (state.parts === parts) state.error = error;
      },
    ).then(() => { if (state.parts === parts) redraw(); });
  };
  useEffect(() => ask(0), [key]);
  useEffect(() => () => state.stop?.abort(), []);
  return {
    total: state.total, before: state.before, error: state.error,
    key,
    item: (i) => state.parts.get(Math.floor(i / PART))?.[i % PART],
    want: (first, last) => {
      for (let part = Math.floor(first / PART); part * PART < last; part += 1) ask(part);
    },
    reload: () => { state.error = null; ask(0); redraw(); },
  };
}

// Where the window stands over an element: the rows that are seen, and the columns that fit.
function useWindow(element, height, narrowest, ready) {
  const [seen, setSeen] = useState({ columns: 1, from: 0, to: 12 });
  useLayoutEffect(() => {
    if (!element.current) return undefined;
    let frame = 0;
    const measure = () => {
      frame = 0;
      if (!element.current) return;
      const { top, width } = element.current.getBoundingClientRect();
      const columns = Math.max(1, Math.floor((width + GAP) / (narrowest + GAP)));
      const row = height + GAP;
      const from = Math.max(0, Math.floor((-top - innerHeight * (BEYOND - 1)) / row));
      const to = Math.ceil((-top + innerHeight * BEYOND) / row);
      setSeen((old) => (old.columns === columns && old.from === from && old.to === to ? old : { columns, from, to }));
    };
    const soon = () => { frame ||= requestAnimationFrame(measure); };
    measure();
    const watcher = new ResizeObserver(soon);
    watcher.observe(element.current);
    addEventListener("scroll", soon, { passive: true });
    addEventListener("resize", soon);
    return () => {
      cancelAnimationFrame(frame);
      watcher.disconnect();
      removeEventListener("scroll", soon);
      removeEventListener("resize", soon);
    };
  }, [height, narrowest, ready]);
  return seen;
}

// Props: `parts` of useParts; `card(item, i)` makes a link; `height` of a card and the least
// width of one, in pixels. Arrow keys, Home and End go from card to card.
export function Gallery({ parts, card, height, narrowest, label }) {
  const list = useRef();
  const [stop, setStop] = useState(0);
  const total = parts.total;
  const { columns, from, to } = useWindow(list, height, narrowest, total === null);
  const wantsFocus = useRef(false);
  const count = total ?? parts.before ?? 0;
  const first = Math.min(from * columns, Math.max(0, count - columns));
  const last = Math.min(count, to * columns);
  // Parts that a quick scroll only passes are not asked.
  useEffect(() => {
    if (last <= first) return undefined;
    const timer = setTimeout(() => parts.want(first, last), PASSING);
    return () => clearTimeout(timer);
  }, [parts.key, first, last]);
  const reached = Math.min(stop, Math.max(0, count - 1));

  useLayoutEffect(() => {
    if (!wantsFocus.current) return;
    const link = list.current.querySelector(`[data-at="${reached}"] a`);
    if (!link) return;
    wantsFocus.current = false;
    link.focus({ preventScroll: true });
  });
  const walk = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -count, End: count }[event.key];
    if (!step || event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const next = Math.max(0, Math.min(count - 1, reached + step));
    wantsFocus.current = true;
    setStop(next);
    const top = list.current.getBoundingClientRect().top + Math.floor(next / columns) * (height + GAP);
    if (top < 70) scrollBy(0, top - 90);
    else if (top + height > innerHeight) scrollBy(0, top + height - innerHeight + 20);
  };
  const cells = [];
  for (let i = first; i < last; i += 1) {
    const item = parts.item(i);
    const place = {
      width: `calc((100% - ${(columns - 1) * GAP}px) / ${columns})`, height: `${height}px`,
      left: `calc((100% + ${GAP}px) / ${columns} * ${i % columns})`, top: `${Math.floor(i / columns) * (height + GAP)}px`,
    };
    cells.push(html`
      <li key=${i} data-at=${i} style=${place} aria-setsize=${count} aria-posinset=${i + 1} onFocusIn=${() => setStop(i)}>
        ${item ? card(item, i === reached ? 0 : -1) : html`<div class="waiting"></div>`}
      </li>`);
  }
  return html`
    <ul class="gallery" ref=${list} aria-label=${`${label}: ${plural(count, "sample")}`} onKeyDown=${walk}
      style=${{ height: `${Math.max(0, Math.ceil(count / columns) * (height + GAP) - GAP)}px` }}>${cells}</ul>`;
}
