// One run: its figures by subtask, and all of its samples.
import { Fragment, html, useCallback, useEffect, useState } from "../core/dom.js";
import { at, query, useEvents, useGet } from "../core/api.js";
import { dollars, number, percent, plural, pValue, short, time } from "../core/format.js";
import { useKeys } from "../core/keys.js";
import { navigate, setQuery } from "../core/router.js";
import { SampleCard } from "../components/card.js";
import { inOrder, KINDS, KindLegend, Mistakes, Strip, WithStrip } from "../components/figures.js";
import { Gallery, useParts } from "../components/gallery.js";
import { Icon } from "../components/icons.js";
import { ErrorBanner, Loading, useTitle } from "../components/notice.js";
import { CsvLink } from "../components/table.js";
import { PROTOCOLS } from "./leaderboard.js";

export const FILTERS = ["protocol", "l1", "l2", "outcome", "right", "kind", "query", "order"];
export const filtersOf = (asked) => Object.fromEntries(FILTERS.map((name) => [name, asked.get(name) ?? ""]));
const NARROWING = ["l1", "l2", "outcome", "right", "kind", "query"];
const NOTHING = Object.fromEntries(NARROWING.map((name) => [name, ""]));
const OUTCOMES = [["box", "answered with a box"], ["rejected", "rejected"], ["unparsed", "unparsed"], ["failed", "failed: no reply"]];
const ORDERS = [
  ["id", "as in the data"], ["iou", "IoU, lowest first"], ["-iou", "IoU, highest first"], ["confidence", "confidence, lowest first"],
  ["-confidence", "confidence, highest first"], ["-tokens", "tokens, most first"], ["-latency", "latency, longest first"], ["description", "description"],
];
const TYPING = 250;

function Figure({ name, of, tone, children, title }) {
  return html`
    <div class="figure card" title=${title}><span class="soft">${name}</span>
      <strong>${of ? percent(of.value) : children}</strong>
      ${of?.value != null && html`<${Strip} of=${of} tone=${tone} /><small>${of.low == null ? "" : `${percent(of.low)} to ${percent(of.high)}`}</small>`}
    </div>`;
}

function Figures({ run, live }) {
  const done = live?.done ?? run.done;
  const failed = live?.failed ?? run.failed;
  return html`
    <${Fragment}>
      <${Figure} name="Acc@0.5" of=${run.accuracy} />
      ${run.rejection?.value != null && html`<${Figure} name="Rejection" of=${run.rejection} tone="c1" title="Of the samples that nothing matches: those that were rejected" />`}
      <${Figure} name="Samples">${number(run.samples)}<small>${run.running ? `${number(done)} done` : failed > 0 ? `${number(failed)} failed` : "all have a reply"}</small></${Figure}>
      ${run.tokens > 0 && html`<${Figure} name="Tokens">${short(run.tokens)}<small>${run.usd == null ? "no price known" : dollars(run.usd)}</small></${Figure}>`}
      ${run.rank && html`<${Figure} name="Rank" title="Best and worst that the data allow">${run.rank[0] === run.rank[1] ? run.rank[0] : `${run.rank[0]}–${run.rank[1]}`}</${Figure}>`}
    </${Fragment}>`;
}

// A figure that leads to its samples.
function Count({ value, filters, label, here }) {
  if (!value) return html`<span class="soft">0</span>`;
  const change = () => setQuery({ ...NOTHING, ...filters }, { push: true });
  return html`<button type="button" class="plain count" aria-pressed=${here} aria-label=${`${label}: show the ${plural(value, "sample")}`} onClick=${change}>${number(value)}</button>`;
}

function Matrix({ run, filters, csv }) {
  const stems = new Set(run.rows.filter((row) => row.l2).map((row) => row.l1));
  const rows = inOrder(run.rows, (one) => one.l1 ?? "", (one) => one.l2);
  const unanswered = rows.some((one) => one.unparsed || one.failed);
  const row = (one) => {
    const to = { l1: one.l1, l2: one.l2 ?? "" };
    const here = (outcome, right = "") => filters.l1 === (one.l1 ?? "") && filters.l2 === (one.l2 ?? "") && filters.outcome === outcome && filters.right === right;
    const name = one.l2 || one.l1 || "All";
    return html`
      <tr key=${`${one.l1}/${one.l2}`} class=${one.l2 ? "leaf" : "stem"}>
        <th scope="row"><button type="button" class="plain count" aria-pressed=${here("")} onClick=${() => setQuery({ ...NOTHING, ...to }, { push: true })}>${name}</button></th>
        <td class="strips"><${WithStrip} of=${{ value: one.accuracy, low: one.low, high: one.high }} /></td>
        <td class="num"><${Count} value=${one.n - one.right} label=${`${name}, wrong`} filters=${{ ...to, right: "false" }} here=${here("", "false")} /></td>
        ${unanswered && html`<td class="num"><${Count} value=${(one.unparsed ?? 0) + (one.failed ?? 0)} label=${`${name}, without an answer`} filters=${{ ...to, outcome: one.unparsed ? "unparsed" : "failed" }} here=${here("unparsed") || here("failed")} /></td>`}
        <td class="num soft">${number(one.n)}</td>
      </tr>`;
  };
  return html`
    <section class="card" aria-labelledby="by-subtask">
      <h2 id="by-subtask" class="cardhead">By subtask</h2>
      <div class="wide"><table class="matrix">
        <thead><tr><th scope="col">Subtask</th><th scope="col">Acc@0.5</th><th scope="col" class="num">Wrong</th>${unanswered && html`<th scope="col" class="num" title="Unparsed or failed: there is no answer to score">None</th>`}<th scope="col" class="num">n</th></tr></thead>
        <tbody>${rows.map(row)}</tbody>
      </table></div>
      <div class="foot"><span>${stems.size ? "A name or a number shows its samples." : ""}</span><${CsvLink} href=${csv} /></div>
    </section>`;
}

// What each way to choose among the trajectories of a sample is worth.
function Ways({ address }) {
  const { data, error } = useGet(`${address}/selectors`, { final: true });
  if (error) return html`<${ErrorBanner} error=${error} />`;
  if (!data?.items.length) return null;
  const gain = (one) => (one.gain == null ? "" : `${one.gain > 0 ? "+" : ""}${percent(one.gain)}`);
  return html`
    <section class="card" aria-labelledby="ways">
      <h2 id="ways" class="cardhead">Ways to choose</h2>
      <div class="wide"><table class="matrix">
        <thead><tr><th scope="col">Way</th><th scope="col">Acc@0.5</th><th scope="col" class="num" title="Points above the mean of the trajectories">Gain</th><th scope="col" class="num">p</th></tr></thead>
        <tbody>${data.items.map((one) => html`<tr key=${one.name}><th scope="row">${one.name}</th>
          <td class="strips"><${WithStrip} of=${{ value: one.score, low: one.low, high: one.high }} tone="c4" /></td>
          <td class="num">${gain(one)}</td><td class="num soft">${one.p == null ? "" : pValue(one.p)}</td></tr>`)}</tbody>
      </table></div>
      <div class="foot"><span></span><${CsvLink} href=${`${address}/selectors.csv`} /></div>
    </section>`;
}

function Facts({ run }) {
  const rows = [["Coordinates", run.coords], ["Created", time(run.created)], ...Object.entries(run.settings ?? {})];
  return html`
    <details class="card pad facts"><summary>How it was asked</summary>
      <dl>${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${typeof value === "object" ? JSON.stringify(value) : String(value)}</dd></div>`)}</dl>
      ${run.prompt && html`<h3>Prompt</h3><pre tabindex="0">${run.prompt}</pre>`}
    </details>`;
}

function Filters({ filters, run, parts }) {
  const [text, setText] = useState(filters.query);
  useEffect(() => setText(filters.query), [filters.query]);
  useEffect(() => {
    if (text === filters.query) return undefined;
    const timer = setTimeout(() => setQuery({ query: text }), TYPING);
    return () => clearTimeout(timer);
  }, [text]);
  const pairs = run.rows.filter((row) => row.l1 || row.l2);
  const chosen = filters.l1 || filters.l2 ? `${filters.l1}/${filters.l2}` : "";
  const pick = (event) => { const [l1 = "", l2 = ""] = event.target.value.split("/"); setQuery({ l1, l2 }); };
  const result = filters.kind || { true: "all right", false: "all wrong" }[filters.right] || "";
  const judge = (event) => setQuery({
    right: { "all right": "true", "all wrong": "false" }[event.target.value] ?? "",
    kind: KINDS.slice(1).includes(event.target.value) ? event.target.value : "",
  });
  const any = NARROWING.some((name) => filters[name]);
  return html`
    <div class="bar" role="search">
      <label class="field grow">Search<input name="query" type="search" placeholder="description or id" value=${text} onInput=${(event) => setText(event.target.value)} /></label>
      <label class="field">Subtask<select name="subtask" value=${chosen} onChange=${pick}>
        <option value="">all</option>${pairs.map((row) => html`<option value=${`${row.l1}/${row.l2 ?? ""}`}>${row.l2 ? `${row.l1} / ${row.l2}` : row.l1}</option>`)}</select></label>
      <label class="field">Answer<select name="outcome" value=${filters.outcome} onChange=${(event) => setQuery({ outcome: event.target.value })}>
        <option value="">any</option>${OUTCOMES.map(([value, name]) => html`<option value=${value}>${name}</option>`)}</select></label>
      <label class="field">Result<select name="result" value=${result} onChange=${judge}>
        <option value="">any</option><option>all right</option><option>all wrong</option>${KINDS.slice(1).map((kind) => html`<option>${kind}</option>`)}</select></label>
      <label class="field">Order<select name="order" value=${filters.order || "id"} onChange=${(event) => setQuery({ order: event.target.value === "id" ? "" : event.target.value })}>
        ${ORDERS.map(([value, name]) => html`<option value=${value}>${name}</option>`)}</select></label>
    </div>
    <div class="found"><span role="status">${parts.total == null ? "…" : `${number(parts.total)} of ${plural(run.samples, "sample")}`}</span>
      ${any && html`<button type="button" class="plain" onClick=${() => setQuery(NOTHING)}>Show all</button>`}
      <span class="legend" aria-hidden="true"><span class="key truth">truth</span><span class="key c0">answer</span></span></div>`;
}

const CARD = { wide: [262, 230], narrow: [236, 160] };

export default function RunPage({ parts: [, id], query: asked }) {
  const filters = filtersOf(asked);
  const { protocol } = filters;
  const address = at`/api/runs/${id}`;
  const { data: run, stale, error, reload } = useGet(address + query({ protocol }));
  const samples = useParts(`${address}/samples`, filters);
  const [live, setLive] = useState(null);
  useEvents(run?.running ? `${address}/events` : null, useCallback((said) => {
    setLive(said);
    if (!said.running) reload();
  }, []));
  useTitle(run ? `${run.model} on ${run.data}` : "Run");
  useKeys("Run", [
    { keys: ["/"], does: "Search samples", run: () => document.querySelector("[name=query]")?.focus() },
    { keys: ["w"], does: "Only wrong, or all", run: () => setQuery({ right: filters.right === "false" ? "" : "false" }) },
    { keys: ["Enter"], does: "Open the first sample", run: () => document.querySelector(".gallery a")?.click() },
    { keys: ["c"], does: "Compare with another run", run: () => navigate(`/compare${query({ run: id, protocol })}`) },
    { keys: ["u"], does: "All runs", run: () => navigate("/runs") },
  ]);
  const shown = run ?? (stale?.id === id ? stale : null);
  if (error && !shown) return html`<div class="page"><${ErrorBanner} error=${error} retry=${reload} /></div>`;
  if (!shown) return html`<${Loading} what="Reading the run" />`;
  const [height, narrowest] = innerWidth < 760 ? CARD.narrow : CARD.wide;
  const done = (live?.done ?? shown.done) + (live?.failed ?? shown.failed);
  return html`
    <div class="page">
      <div class="head">
        <div><ol class="crumbs"><li><a href="/runs">Runs</a></li><li>${shown.data}</li></ol>
          <h1 tabindex="-1">${shown.model}</h1></div>
        <div class="bar">
          <label class="field">Protocol<select value=${protocol || "strict"} onChange=${(event) => setQuery({ protocol: event.target.value === "strict" ? "" : event.target.value })}>
            ${(shown.protocols?.length ? shown.protocols : PROTOCOLS).map((one) => html`<option value=${one.name ?? one}>${one.name ?? one}</option>`)}</select></label>
          <a class="button" href=${`/compare${query({ run: id, protocol })}`}><${Icon} name="compare" />Compare</a>
          <a class="button" download href=${`${address}/samples.csv${query(filters)}`}><${Icon} name="download" />CSV of samples</a>
        </div>
      </div>
      <${ErrorBanner} error=${error} retry=${reload} />
      ${shown.running && html`<p class="running card pad"><span class="pulse"></span> Under way: ${number(done)} of ${number(shown.samples)}${live?.accuracy == null ? "" : `, Acc@0.5 so far ${percent(live.accuracy.value ?? live.accuracy)}`}
        <progress max=${shown.samples || 1} value=${done} aria-label="Progress"></progress></p>`}
      ${shown.notes?.length > 0 && html`<ul class="notes">${shown.notes.map((note) => html`<li>${note}</li>`)}</ul>`}
      <div class="figures"><${Figures} run=${shown} live=${live} />
        <div class="card pad fates"><span class="soft">What became of the samples</span><${Mistakes} counts=${shown.mistakes} label="What became of the samples"
        link=${(kind) => at`/runs/${id}` + query({ protocol, ...(kind === "right" ? { right: "true" } : { kind }) })} />
        <${KindLegend} counts=${[shown.mistakes]} /></div></div>
      <div class="split">
        <aside><${Matrix} run=${shown} filters=${filters} csv=${`${address}/rows.csv${query({ protocol })}`} />
          ${shown.trajectories > 1 && html`<${Ways} address=${address} />`}<${Facts} run=${shown} /></aside>
        <section aria-label="Samples">
          <${Filters} filters=${filters} run=${shown} parts=${samples} />
          <${ErrorBanner} error=${samples.error} retry=${samples.reload} />
          ${samples.total === 0 && html`<p class="soft nothing">No sample is like that.</p>`}
          <${Gallery} parts=${samples} height=${height} narrowest=${narrowest} label="Samples"
            card=${(item, tabIndex) => html`<${SampleCard} item=${item} tabIndex=${tabIndex} order=${filters.order} href=${`${at`/runs/${id}/samples/${item.id}`}${query(filters)}`} />`} />
        </section>
      </div>
    </div>`;
}
