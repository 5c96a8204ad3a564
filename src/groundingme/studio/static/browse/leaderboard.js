// All runs: figures with intervals, ranks, and those that are under way.
import { html, useCallback, useEffect, useMemo, useState } from "../core/dom.js";
import { at, query, useEvents, useGet } from "../core/api.js";
import { day, dollars, number, percent, plural, short, time } from "../core/format.js";
import { useKeys } from "../core/keys.js";
import { navigate, setQuery, usePlace } from "../core/router.js";
import { WithStrip } from "../components/figures.js";
import { Icon } from "../components/icons.js";
import { Empty, ErrorBanner, Loading, useTitle } from "../components/notice.js";
import { Table } from "../components/table.js";

// A browser keeps six connections to one server: more streams would hold up the pages.
const STREAMS = 2;
const POLL = 5000;
// Figures that the server has not computed yet are asked for again after this time.
const SOON = 1000;
export const PROTOCOLS = ["strict", "official", "official-lmms-eval"];
const MOST = 4;

function Running({ run }) {
  const [now, setNow] = useState(run);
  useEvents(at`/api/runs/${run.id}/events`, useCallback((said) => setNow((old) => ({ ...old, ...said })), []));
  return html`<${Progress} run=${now} />`;
}

function Progress({ run }) {
  const done = (run.done ?? 0) + (run.failed ?? 0);
  const soFar = typeof run.accuracy === "number" ? run.accuracy : run.accuracy?.value;
  return html`
    <li class="card pad">
      <div class="running">
        <span class="pulse"></span><a href=${at`/runs/${run.id}`}>${run.model}</a><span class="soft">${run.data}</span>
        <span class="end">${number(done)} of ${number(run.samples)}${run.failed ? `, ${number(run.failed)} failed` : ""}${soFar == null ? "" : `, Acc@0.5 so far ${percent(soFar)}`}</span>
      </div>
      <progress max=${run.samples || 1} value=${done} aria-label=${`Progress of ${run.model}`}></progress>
    </li>`;
}

const rankText = (rank) => (rank ? (rank[0] === rank[1] ? `${rank[0]}` : `${rank[0]}–${rank[1]}`) : "–");

const about = (run) => [
  run.running && "under way", run.thinking === true ? "thinking" : run.thinking, run.subset, run.limit && `first ${run.limit}`,
  run.sampled && "sampled", run.control && `control: ${run.control}`, run.problem,
].filter(Boolean).join(", ");

const columns = (picked, toggle) => [
  { key: "pick", name: "", label: "To compare", cell: (run) => html`
    <input type="checkbox" aria-label=${`Compare ${run.model} on ${run.data}`} checked=${picked.includes(run.id)}
      onChange=${() => toggle(run.id)} />` },
  { key: "rank", name: "Rank", title: "Best and worst rank that the data allow, among runs of the same samples", value: (run) => run.rank && run.rank[0] + run.rank[1] / 1000, cell: (run) => rankText(run.rank) },
  { key: "model", name: "Model", head: true, value: (run) => run.model, cell: (run) => html`
    <a class="open" data-row href=${at`/runs/${run.id}`}>${run.model}</a>
    ${about(run) && html`<span class="under">${about(run)}</span>`}<span class="under narrow-only">${run.data}</span>` },
  { key: "data", name: "Data", class: "wide-only", value: (run) => run.data, cell: (run) => run.data },
  { key: "accuracy", name: "Acc@0.5", strip: true, value: (run) => run.accuracy?.value, cell: (run) => html`<${WithStrip} of=${run.accuracy} />` },
  { key: "rejection", name: "Rejection", strip: true, title: "Of the samples that nothing matches: those that were rejected", value: (run) => run.rejection?.value, cell: (run) => html`<${WithStrip} of=${run.rejection} tone="c1" />` },
  { key: "samples", name: "Samples", num: true, value: (run) => run.samples, cell: (run) => html`
    ${number(run.samples)}${run.failed > 0 && html`<span class="under wrong">${number(run.failed)} failed</span>`}` },
  { key: "tokens", name: "Tokens", num: true, value: (run) => run.tokens, cell: (run) => short(run.tokens || null) },
  { key: "usd", name: "Cost", num: true, value: (run) => run.usd, cell: (run) => dollars(run.usd) },
  { key: "created", name: "Created", num: true, value: (run) => run.created, cell: (run) => html`<time datetime=${run.created} title=${time(run.created)}>${day(run.created)}</time>` },
];

export default function Leaderboard() {
  const { query: asked } = usePlace();
  const [protocol, data, model] = ["protocol", "data", "model"].map((name) => asked.get(name) ?? "");
  const picked = asked.getAll("pick");
  const { data: found, error, reload } = useGet(`/api/runs${query({ protocol: protocol || "strict", limit: 1000 })}`);
  useTitle("Runs");
  const runs = found?.items ?? [];
  const live = runs.filter((run) => run.running);
  useEffect(() => {
    if (!live.length) return undefined;
    const timer = setInterval(reload, POLL);
    return () => clearInterval(timer);
  }, [live.length > 0]);
  useEffect(() => {
    if (!found?.pending) return undefined;
    const timer = setTimeout(reload, SOON);
    return () => clearTimeout(timer);
  }, [found]);

  const shown = useMemo(() => runs.filter((run) => (!data || run.data === data)
    && (!model || run.model.toLowerCase().includes(model.toLowerCase()))), [found, data, model]);
  const toggle = (id) => setQuery({
    pick: picked.includes(id) ? picked.filter((one) => one !== id) : [...picked, id].slice(-MOST),
  });
  const compare = `/compare${query({ run: picked, protocol })}`;
  const ready = picked.length >= 2;
  useKeys("Runs", [
    { keys: ["/"], does: "Search a model", run: () => document.querySelector("[name=model]")?.focus() },
    { keys: ["c"], does: "Compare what is ticked", off: !ready, run: () => navigate(compare) },
    { keys: ["Escape"], does: "Tick nothing", off: !picked.length, run: () => setQuery({ pick: [] }) },
  ]);
  if (error && !found) return html`<div class="page"><${ErrorBanner} error=${error} retry=${reload} /></div>`;
  if (!found) return html`<${Loading} what="Reading the runs" />`;
  if (!runs.length) return html`<${NoRuns} />`;
  const sets = [...new Set(runs.map((run) => run.data))].sort();
  return html`
    <div class="page">
      <div class="head"><div><h1 tabindex="-1">Runs</h1>
        <p>${plural(found.total, "run")} on ${plural(sets.length, "data set")}. Bars are 95 % intervals; a rank is a range where the data cannot tell runs apart.</p></div></div>
      ${live.length > 0 && html`<ul class="lives" aria-label="Runs under way">${live.map((run, i) => html`
        <${i < STREAMS ? Running : Progress} key=${run.id} run=${run} />`)}</ul>`}
      <div class="bar" role="search">
        <label class="field grow">Model<input name="model" type="search" placeholder="any" value=${model} onInput=${(event) => setQuery({ model: event.target.value })} /></label>
        <label class="field">Data set<select value=${data} onChange=${(event) => setQuery({ data: event.target.value })}>
          <option value="">all</option>${sets.map((name) => html`<option value=${name}>${name}</option>`)}</select></label>
        <label class="field">Protocol<select value=${protocol || "strict"} onChange=${(event) => setQuery({ protocol: event.target.value === "strict" ? "" : event.target.value })}>
          ${PROTOCOLS.map((name) => html`<option value=${name}>${name}</option>`)}</select></label>
        <div class="end">
          ${ready ? html`<a class="button main" href=${compare}><${Icon} name="compare" />Compare ${picked.length}</a>`
            : html`<span class="soft">${picked.length ? "Tick one more to compare" : "Tick two to four to compare"}</span>`}
        </div>
      </div>
      <${ErrorBanner} error=${error} />
      <${Table} caption="Runs" columns=${columns(picked, toggle)} rows=${shown} first="-accuracy"
        foot=${shown.length === runs.length ? plural(runs.length, "run") : `${shown.length} of ${plural(runs.length, "run")}`}
        csv=${`/api/runs.csv${query({ protocol, data, query: model })}`} />
    </div>`;
}

const NoRuns = () => html`
  <${Empty} title="No runs yet">
    <p>A run is one model on one data set. The built-in model on generated scenes takes a minute:</p>
    <pre>groundingme eval builtin/grounder --data scenes:n=60</pre>
    <p class="soft">It appears here while it runs. Meanwhile, <a href="/ask">ask the built-in model</a> about a picture of yours.</p>
  </${Empty}>`;
