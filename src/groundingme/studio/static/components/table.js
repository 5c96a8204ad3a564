// A table that sorts, is walked by keys, and downloads as CSV.
import { html, names, useMemo, useRef } from "../core/dom.js";
import { setQuery, usePlace } from "../core/router.js";
import { Icon } from "./icons.js";

// Numbers by size, words by the alphabet, and what is missing at the end, whichever way.
function compare(a, b, down) {
  const none = (value) => value === null || value === undefined || Number.isNaN(value);
  if (none(a) || none(b)) return none(a) - none(b);
  const order = typeof a === "string" || typeof b === "string"
    ? String(a).localeCompare(String(b), "en", { numeric: true }) : a - b;
  return down ? -order : order;
}

export const CsvLink = ({ href }) => html`
  <a href=${href} download><${Icon} name="download" />Download CSV</a>`;

// Arrow keys go from row to row: each row has one link or button, marked `data-row`.
function walk(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !event.target.closest("tr")) return;
  const stops = [...event.currentTarget.querySelectorAll("[data-row]")];
  const here = stops.indexOf(event.target.closest("tr").querySelector("[data-row]"));
  const next = stops[here + step];
  if (!next) return;
  event.preventDefault();
  event.stopPropagation();
  next.focus();
}

// `columns`: { key, name, num | strip, value(row), cell(row), title }; one without `value` does not sort.
// The order is in the address as `?{sort}=key` or `-key`, so it is shared with the page.
export function Table({ caption, columns, rows, rowKey = (row) => row.id, csv, sort = "sort", first = "", foot, children }) {
  const { query } = usePlace();
  const wanted = query.get(sort) ?? first;
  const down = wanted.startsWith("-");
  const by = columns.find((column) => column.value && column.key === wanted.replace(/^-/, ""));
  const sorted = useMemo(
    () => (by ? [...rows].sort((a, b) => compare(by.value(a), by.value(b), down)) : rows),
    [rows, by?.key, down],
  );
  const body = useRef();
  const turn = (column) => {
    const again = by?.key === column.key;
    // Figures are first shown from the top, names from the beginning of the alphabet.
    const now = again ? (down ? column.key : `-${column.key}`) : (column.num || column.strip ? `-${column.key}` : column.key);
    setQuery({ [sort]: now === first ? "" : now });
  };
  return html`
    <div class="card">
      <div class="wide" tabindex="0" role="region" aria-label=${caption}>
        <table>
          <caption>${caption}</caption>
          <thead><tr>${columns.map((column) => html`
            <th key=${column.key} scope="col" class=${names(column.num && "num", column.strip && "strips", column.class)} title=${column.title}
              aria-sort=${by?.key === column.key ? (down ? "descending" : "ascending") : null}>
              ${column.value
                ? html`<button type="button" onClick=${() => turn(column)}>${column.name}<span aria-hidden="true">${by?.key === column.key ? (down ? "↓" : "↑") : ""}</span></button>`
                : column.name || html`<span class="unseen">${column.label}</span>`}
            </th>`)}</tr></thead>
          <tbody ref=${body} onKeyDown=${walk}>${sorted.map((row) => html`
            <tr key=${rowKey(row)}>${columns.map((column) => (column.head
              ? html`<th key=${column.key} scope="row" class=${column.class}>${column.cell(row)}</th>`
              : html`<td key=${column.key} class=${names(column.num && "num", column.strip && "strips", column.class)}>${column.cell(row)}</td>`))}</tr>`)}
          </tbody>
        </table>
      </div>
      ${children}
      ${(csv || foot) && html`<div class="foot"><span>${foot}</span>${csv && html`<${CsvLink} href=${csv} />`}</div>`}
    </div>`;
}
