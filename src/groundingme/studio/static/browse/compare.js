// Two to four runs side by side: figures, pairs, agreement, and the samples on which they differ.
import { html, useMemo } from "../core/dom.js";
import { at, query, useGet } from "../core/api.js";
import { number, percent, plural, pValue } from "../core/format.js";
import { useKeys } from "../core/keys.js";
import { navigate, setQuery } from "../core/router.js";
import { inOrder, KindLegend, LETTERS, Letter, Mistakes, Verdict, WithStrip } from "../components/figures.js";
import { Icon } from "../components/icons.js";
import { Empty, ErrorBanner, Loading, useTitle } from "../components/notice.js";
import { CsvLink, Table } from "../components/table.js";
import { PROTOCOLS } from "./leaderboard.js";

const MOST = 4;
const FLIPS = 1000;
export const compareApi = (runs, protocol) => `/api/compare${query({ run: runs, protocol, limit: FLIPS })}`;
export const sidePage = (sample, runs, protocol) => at`/compare/samples/${sample}` + query({ run: runs, protocol });

// Chooses runs. Those of the same samples as the first one come first.
function Picker({ runs, all, change, sample }) {
  const known = new Map(all.map((run) => [run.id, run]));
  const print = known.get(runs[0])?.fingerprint;
  const rest = all.filter((run) => !runs.includes(run.id));
  const alike = rest.filter((run) => !print || run.fingerprint === print);
  const others = rest.filter((run) => print && run.fingerprint !== print);
  const option = (run) => html`<option value=${run.id}>${run.model} on ${run.data}${run.sampled ? ", sampled" : ""} (${percent(run.accuracy?.value)})</option>`;
  return html`
    <div class="picker">
      ${runs.map((id, i) => html`
        <span class="card slot" key=${id}><${Letter} run=${i} /><a href=${at`/runs/${id}`}>${known.get(id)?.model ?? id}</a>
          <span class="soft">${known.get(id)?.data}</span>
          <button type="button" class="plain" aria-label=${`Take ${LETTERS[i]} out`} onClick=${() => change(runs.filter((one) => one !== id))}><${Icon} name="close" /></button></span>`)}
      ${runs.length < MOST && html`
        <select aria-label="Add a run" value="" onChange=${(event) => event.target.value && change([...runs, event.target.value])}>
          <option value="">Add a run …</option>
          ${alike.length > 0 && html`<optgroup label=${print ? "On the same samples" : "Runs"}>${alike.map(option)}</optgroup>`}
          ${others.length > 0 && html`<optgroup label="On other samples">${others.map(option)}</optgroup>`}
        </select>`}
      ${sample && html`<span class="soft">Then sample ${sample} is shown in each of them.</span>`}
    </div>`;
}

const standings = () => [
  { key: "letter", name: "", label: "Letter", cell: (run) => html`<${Letter} run=${run.at} />` },
  { key: "label", name: "Run", head: true, value: (run) => run.label, cell: (run) => html`<a class="open" data-row href=${at`/runs/${run.id}`}>${run.label}</a>` },
  { key: "rank", name: "Rank", value: (run) => run.rank && run.rank[0], cell: (run) => (run.rank ? (run.rank[0] === run.rank[1] ? run.rank[0] : `${run.rank[0]}–${run.rank[1]}`) : "–") },
  { key: "accuracy", name: "Acc@0.5", strip: true, value: (run) => run.accuracy.value, cell: (run) => html`<${WithStrip} of=${run.accuracy} tone=${`c${run.at}`} />` },
  { key: "rejection", name: "Rejection", strip: true, value: (run) => run.rejection?.["N-acc"]?.value, cell: (run) => html`<${WithStrip} of=${run.rejection?.["N-acc"]} tone=${`c${run.at}`} />` },
  { key: "false", name: "False rejections", strip: true, value: (run) => run.rejection?.["false rejections"]?.value, cell: (run) => html`<${WithStrip} of=${run.rejection?.["false rejections"]} tone=${`c${run.at}`} />` },
  { key: "mistakes", name: "What became of the samples", class: "bars", cell: (run) => html`<${Mistakes} counts=${run.mistakes} label=${`What became of the samples of ${run.label}`} />` },
];

// A difference with its interval, around 0.
function Difference({ pair, reach }) {
  const spot = (value) => `${(50 + (50 * value) / reach).toFixed(2)}%`;
  const said = `${percent(pair.difference)} points, 95 % interval ${percent(pair.low)} to ${percent(pair.high)}`;
  return html`
    <span class="withstrip"><strong>${pair.difference > 0 ? "+" : ""}${percent(pair.difference)}</strong>
    <svg class="strip" role="img" aria-label=${said}><title>${said}</title>
      <line class="track" x1="0" x2="100%" y1="10" y2="10" /><line class="zero" x1="50%" x2="50%" y1="2" y2="18" />
      ${pair.low != null && html`<line class="reach" x1=${spot(pair.low)} x2=${spot(pair.high)} y1="10" y2="10" />`}
      <circle class="dot" cx=${spot(pair.difference)} cy="10" r="4" /></svg></span>`;
}


function Pairs({ found, runs, csv }) {
  const letter = (id) => LETTERS[runs.indexOf(id)];
  const reach = Math.max(0.05, ...found.pairs.flatMap((one) => [one.low, one.high, one.difference].map((value) => Math.abs(value ?? 0))));
  const columns = [
    { key: "pair", name: "Pair", head: true, cell: (one) => html`<span class="pairname"><${Letter} run=${runs.indexOf(one.a)} /> − <${Letter} run=${runs.indexOf(one.b)} /></span>` },
    { key: "difference", name: "Difference in points", strip: true, value: (one) => one.difference, cell: (one) => html`<${Difference} pair=${one} reach=${reach} />` },
    { key: "only", name: "Only one is right", cell: (one) => html`${letter(one.a)} ${number(one.only_a)}, ${letter(one.b)} ${number(one.only_b)}` },
    { key: "p", name: "p", num: true, title: "McNemar's exact test, with Holm's correction over the pairs", value: (one) => one.adjusted, cell: (one) => pValue(one.adjusted) },
    { key: "better", name: "What follows", cell: (one) => (one.better ? html`<strong>${letter(one.better)} is better</strong>` : html`<span class="soft">the data cannot tell</span>`) },
  ];
  return html`<section><h2>Pairs</h2><${Table} caption="Pairs of runs" columns=${columns} rows=${found.pairs} rowKey=${(one) => one.a + one.b} sort="pairs" csv=${csv} /></section>`;
}

function Agreement({ found }) {
  const shade = (value) => `h${Math.round(20 * value)}`;
  return html`
    <section><h2>Agreement</h2>
      <div class="card"><div class="wide" tabindex="0" role="region" aria-label="Agreement">
        <table class="heat"><caption>Share of samples that two runs both have right or both wrong</caption>
          <thead><tr><th scope="col"><span class="unseen">Run</span></th>${found.runs.map((_, i) => html`<th scope="col"><${Letter} run=${i} /></th>`)}</tr></thead>
          <tbody>${found.agreement.map((row, i) => html`<tr><th scope="row"><${Letter} run=${i} /></th>
            ${row.map((value, j) => (i === j ? html`<td class="soft">·</td>` : html`<td class=${shade(value)}>${percent(value)}<span class="under">only ${LETTERS[i]}: ${number(found.wins[i][j])}</span></td>`))}</tr>`)}</tbody>
        </table></div>
        <p class="foot">Samples that both have right, or both wrong, in %; below, those that only the row has right.</p></div>
    </section>`;
}

function Groups({ found, csv }) {
  const best = (row) => Math.max(...row.accuracy.map((one) => one.value ?? -1));
  const shade = (value) => (value == null ? "" : `h${Math.round(20 * value)}`);
  const name = (group) => (group === "all" ? "All" : group.split("/").at(-1));
  return html`
    <section><h2>By subtask</h2>
      <div class="card"><div class="wide" tabindex="0" role="region" aria-label="Accuracy by subtask">
        <table class="heat"><caption>Acc@0.5 by subtask</caption>
          <thead><tr><th scope="col">Subtask</th>${found.runs.map((_, i) => html`<th scope="col"><${Letter} run=${i} /></th>`)}</tr></thead>
          <tbody>${inOrder(found.groups, (row) => row.group.split("/")[0], (row) => row.group.split("/")[1]).map((row) => html`<tr class=${row.group.includes("/") ? "leaf" : "stem"}><th scope="row">${name(row.group)}</th>
            ${row.accuracy.map((one) => html`<td class=${shade(one.value)} title=${one.low == null ? null : `${percent(one.low)} to ${percent(one.high)}`}>
              ${one.value === best(row) ? html`<strong>${percent(one.value)}</strong>` : percent(one.value)}</td>`)}</tr>`)}</tbody>
        </table></div><div class="foot"><span>Acc@0.5, the best in bold; the interval is shown on hover.</span><${CsvLink} href=${csv} /></div></div>
    </section>`;
}

// Which runs are right, as "✓✗": the patterns of the flips.
const pattern = (right) => right.map((one) => (one ? "✓" : "✗")).join("");

function Flips({ found, runs, protocol, wanted }) {
  const { items, total } = found.flips;
  const patterns = useMemo(() => {
    const counts = new Map();
    for (const one of items) counts.set(pattern(one.right), (counts.get(pattern(one.right)) ?? 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1]);
  }, [items]);
  const said = (text) => [...text].map((sign, i) => `${LETTERS[i]} ${sign === "✓" ? "right" : "wrong"}`).join(", ");
  const shown = useMemo(() => items.filter((one) => !wanted || pattern(one.right) === wanted), [items, wanted]);
  const columns = [
    ...runs.map((_, i) => ({ key: `r${i}`, name: LETTERS[i], class: "center", value: (one) => (one.right[i] ? 1 : 0), cell: (one) => html`<${Verdict} right=${one.right[i]} />` })),
    { key: "description", name: "Description", head: true, value: (one) => one.description, cell: (one) => html`<a class="open" data-row href=${sidePage(one.id, runs, protocol)}>${one.description}</a>` },
    { key: "id", name: "Sample", value: (one) => one.id, cell: (one) => html`<span class="mono">${one.id}</span>` },
  ];
  return html`
    <section id="flips"><h2>Flips <small>${plural(total, "sample")} on which the runs differ${total > items.length ? `, the first ${number(items.length)} here` : ""}</small></h2>
      ${patterns.length > 1 && html`<div class="chips patterns" role="group" aria-label="Which runs are right">
        ${patterns.map(([text, count]) => html`<button type="button" aria-pressed=${wanted === text} onClick=${() => setQuery({ flips: wanted === text ? "" : text })}>
          <span class="unseen">${said(text)}: </span>${[...text].map((sign, i) => html`<span class=${`sign ${sign === "✓" ? "right" : "wrong"}`} aria-hidden="true">${LETTERS[i]}${sign}</span>`)} <span class="soft">${number(count)}</span></button>`)}
      </div>`}
      ${total === 0 ? html`<p class="soft">The runs are right on the same samples.</p>`
        : html`<${Table} caption="Flips" columns=${columns} rows=${shown.slice(0, 300)} sort="order"
            foot=${shown.length > 300 ? `The first 300 of ${number(shown.length)}` : plural(shown.length, "sample")} csv=${`/api/compare.csv${query({ run: runs, protocol, table: "flips" })}`} />`}
    </section>`;
}

export default function ComparePage({ query: asked }) {
  const runs = asked.getAll("run");
  const protocol = asked.get("protocol") ?? "";
  const sample = asked.get("sample");
  const list = useGet(`/api/runs${query({ protocol, limit: 1000 })}`);
  const { data: found, stale, error } = useGet(runs.length >= 2 ? compareApi(runs, protocol) : null);
  const change = (now) => (sample && now.length >= 2 ? navigate(sidePage(sample, now, protocol)) : setQuery({ run: now, flips: "" }, { push: true }));
  const shown = found ?? (stale && stale.runs?.length === runs.length ? stale : null);
  useTitle("Compare");
  useKeys("Compare", [
    { keys: ["Enter"], does: "Open the first flip", off: !shown?.flips.items.length, run: () => navigate(sidePage(shown.flips.items[0].id, runs, protocol)) },
    { keys: ["u"], does: "All runs", run: () => navigate("/runs") },
  ]);
  const csv = (table) => `/api/compare.csv${query({ run: runs, protocol, table })}`;
  return html`
    <div class="page">
      <div class="head"><div><h1 tabindex="-1">Compare</h1>
        <p>${shown ? `${plural(shown.samples, "sample")} that all of them were asked.` : "Two to four runs on the samples that all of them were asked."}</p></div>
        <label class="field">Protocol<select value=${protocol || "strict"} onChange=${(event) => setQuery({ protocol: event.target.value === "strict" ? "" : event.target.value })}>
          ${PROTOCOLS.map((name) => html`<option value=${name}>${name}</option>`)}</select></label></div>
      <${Picker} runs=${runs} all=${list.data?.items ?? []} change=${change} sample=${sample} />
      <${ErrorBanner} error=${error ?? list.error} />
      ${runs.length < 2 && html`<${Empty} title=${runs.length ? "Add one more run" : "Choose two runs"}><p class="soft">The same model before and after a training, or several models on the same samples. Runs can be ticked on <a href="/runs">their list</a>, too.</p></${Empty}>`}
      ${runs.length >= 2 && !shown && !error && html`<${Loading} what="Comparing" />`}
      ${shown && html`
        ${shown.notes?.length > 0 && html`<ul class="notes">${shown.notes.map((note) => html`<li>${note}</li>`)}</ul>`}
        <section><h2>Figures</h2>
          <${Table} caption="Figures" columns=${standings()} rows=${shown.runs.map((run, i) => ({ ...run, at: i }))} sort="by"><div class="foot"><${KindLegend} counts=${shown.runs.map((run) => run.mistakes)} /></div></${Table}></section>
        <${Pairs} found=${shown} runs=${runs} csv=${csv("pairs")} />
        <div class="two"><${Groups} found=${shown} csv=${csv("pairs")} /><${Agreement} found=${shown} /></div>
        <${Flips} found=${shown} runs=${runs} protocol=${protocol} wanted=${asked.get("flips") ?? ""} />`}
    </div>`;
}
