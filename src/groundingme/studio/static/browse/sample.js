// One sample of a run: the picture with its boxes, and all that the model said about it.
import { html, names, useEffect, useMemo, useRef, useState } from "../core/dom.js";
import { at, prefetch, query, useGet } from "../core/api.js";
import { boxText, number, percent, seconds, sizeOf, subtask } from "../core/format.js";
import { useKeys } from "../core/keys.js";
import { navigate } from "../core/router.js";
import { Verdict, fate } from "../components/figures.js";
import { Icon } from "../components/icons.js";
import { ErrorBanner, Loading, say, useTitle } from "../components/notice.js";
import { Reply, linkSpans } from "../components/reply.js";
import { Step } from "../components/step.js";
import { Viewer, prefetchPicture, viewerKeys } from "../components/viewer.js";
import { filtersOf } from "./run.js";

const CLUSTERS = 4;

// All boxes of a sample: truth, answer, those of trajectories, and what else the text names.
export function boxesOf(sample, spans, all) {
  const boxes = [
    ...(sample.trajectories ?? []).map((one) => ({
      id: `t${one.index}`, box: one.box, label: `${one.index + 1}`, quiet: true, shown: all,
      kind: clusterKind(one.cluster),
    })),
    { id: "truth", box: sample.target, label: "truth", kind: "truth" },
    { id: "answer", box: sample.box, label: "answer", kind: "c0" },
  ];
  const told = new Set(boxes.map((one) => one.id));
  for (const span of spans) {
    if (told.has(span.id)) continue;
    told.add(span.id);
    boxes.unshift({ id: span.id, box: span.box, label: "in the text", kind: "other", quiet: true });
  }
  return boxes.filter((one) => one.box);
}
const clusterKind = (cluster) => (cluster == null ? "other" : `c${1 + (cluster % CLUSTERS)}`);

function BoxLine({ name, box, kind, none, lit, onLit, onOpen }) {
  return html`
    <div class=${names("boxline", lit && "lit")} onMouseEnter=${() => onLit(kind.id)} onMouseLeave=${() => onLit(null)}>
      <span class=${`key ${kind.tone}`} aria-hidden="true"></span><dt>${name}</dt>
      <dd>${box
        ? html`<button type="button" class="plain mono" title=${`${boxText(box)}: zoom to it`} onFocus=${() => onLit(kind.id)} onBlur=${() => onLit(null)} onClick=${() => onOpen(box)}>${boxText(box.map(Math.round))}</button><small>${sizeOf(box)}</small>`
        : html`<span class="soft">${none}</span>`}</dd>
    </div>`;
}

function Facts({ sample }) {
  const rows = [
    ["Confidence", sample.confidence == null ? null : `${percent(sample.confidence)} %`],
    ["Tokens", sample.tokens == null ? null : number(sample.tokens)],
    ["Latency", sample.latency ? seconds(sample.latency) : null],
    ["Read as", sample.reason || null],
    ["Finished by", sample.finish_reason || null],
    ["Served by", sample.served_model || null],
    ["Picture", sample.width ? `${sample.width} × ${sample.height} px` : null],
  ].filter(([, value]) => value != null);
  return html`<dl class="factgrid">${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

// Which trajectory each selector takes.
const Choices = ({ list }) => html`
  <div class="chips choices" role="group" aria-label="What each way to choose takes">${list.map((one) => html`
    <span class="chip" key=${one.name}>${one.name} <strong>${one.index == null ? "a box of its own" : one.index + 1}</strong> <${Verdict} right=${one.right} /></span>`)}</div>`;

function Trajectories({ list, choices, chosen, choose, lit, onLit, onOpen }) {
  const right = list.filter((one) => one.right).length;
  return html`
    <section>
      <h2>Trajectories <small>${right} of ${list.length} right</small></h2>
      <ul class="trajectories">${list.map((one) => html`
        <li key=${one.index} class=${names(lit === `t${one.index}` && "lit")}>
          <button type="button" class="plain" aria-expanded=${chosen === one.index}
            onMouseEnter=${() => onLit(`t${one.index}`)} onMouseLeave=${() => onLit(null)}
            onFocus=${() => onLit(`t${one.index}`)} onBlur=${() => onLit(null)}
            onClick=${() => { choose(chosen === one.index ? null : one.index); if (one.box && chosen !== one.index) onOpen(one.box); }}>
            <span class="mono at">${one.index + 1}</span><span class=${`key ${clusterKind(one.cluster)}`} aria-hidden="true"></span>
            <${Verdict} right=${one.right}>${fate(one)}</${Verdict}>
            <span class="soft end">${[one.cluster != null && `cluster ${one.cluster + 1}`, one.confidence != null && `${percent(one.confidence, 0)} %`, one.tokens != null && `${number(one.tokens)} tokens`].filter(Boolean).join(", ")}</span>
          </button>
          ${chosen === one.index && html`<div class="opened">${one.reasoning && html`<h3>Reasoning</h3><${Reply} text=${one.reasoning} label="Reasoning" />`}
            <h3>Reply</h3><${Reply} text=${one.text ?? ""} label="Reply" /></div>`}
        </li>`)}</ul>
      ${choices?.length > 0 && html`<h3 class="later">What each way to choose takes</h3><${Choices} list=${choices} />`}
    </section>`;
}

const Verdicts = ({ list }) => html`
  <section>
    <h2>Judges <small>${list.length === 1 ? "one verdict" : `${list.length} verdicts`}</small></h2>
    <ul class="verdicts">${list.map((one, i) => html`
      <li key=${i}><details><summary><strong>${one.judge}</strong>: ${one.first + 1} against ${one.second + 1}, <span>${one.winner == null ? "no winner" : `${one.winner + 1} wins`}</span></summary>
        ${(one.words || one.reason) && html`<pre tabindex="0">${one.words || one.reason}</pre>`}</details></li>`)}</ul>
  </section>`;

export default function SamplePage({ parts: [, run, , id], query: asked }) {
  const filters = filtersOf(asked);
  const search = query(filters);
  const api = (sample) => at`/api/runs/${run}/samples/${sample}` + search;
  const page = (sample) => at`/runs/${run}/samples/${sample}` + search;
  const { data, stale, error, reload } = useGet(api(id), { final: true });
  const sample = data ?? stale;
  const model = useGet(at`/api/runs/${run}` + query({ protocol: filters.protocol }), { final: true }).data?.model ?? "Run";
  const [lit, setLit] = useState(null);
  const [hidden, setHidden] = useState(false);
  const [all, setAll] = useState(false);
  const [chosen, setChosen] = useState(null);
  const control = useRef(null);
  const open = (box) => control.current?.zoomTo(box);

  useEffect(() => { setLit(null); setChosen(null); if (data) say(`${data.id}: ${data.description}`); }, [data?.id]);
  useEffect(() => {
    if (!data) return;
    for (const near of [data.next, data.previous]) {
      if (near) prefetch(api(near)).then((found) => prefetchPicture(found?.picture));
    }
  }, [data]);
  const spans = useMemo(() => {
    if (!sample) return { text: [], reasoning: [] };
    const known = boxesOf(sample, []).reverse();
    return { text: linkSpans(sample.spans, "text", known), reasoning: linkSpans(sample.spans, "reasoning", known) };
  }, [sample]);
  const boxes = useMemo(
    () => (sample && !hidden ? boxesOf(sample, [...spans.text, ...spans.reasoning], all) : []),
    [sample, spans, hidden, all],
  );
  useTitle(sample ? `${sample.id}: ${sample.description}` : "Sample");
  const go = (to) => { if (to) navigate(page(to)); };
  useKeys("Sample", [
    { keys: ["ArrowRight", "j", "n"], does: "Next sample", run: () => go(data?.next) },
    { keys: ["ArrowLeft", "k", "p"], does: "Previous sample", run: () => go(data?.previous) },
    { keys: ["t"], does: "Zoom to the truth", off: !sample?.target, run: () => open(sample.target) },
    { keys: ["a"], does: "Zoom to the answer", off: !sample?.box, run: () => open(sample.box) },
    { keys: ["m"], does: "Boxes of all trajectories", off: !(sample?.trajectories?.length > 1), run: () => setAll((was) => !was) },
    { keys: ["b"], does: "Hide or show boxes", run: () => setHidden((was) => !was) },
    { keys: ["c"], does: "The same sample in other runs", run: () => navigate(compareTo) },
    { keys: ["u", "Escape"], does: "All samples of the run", run: () => navigate(at`/runs/${run}` + search) },
  ]);
  useKeys("Picture", viewerKeys(control));
  const compareTo = `/compare${query({ run, sample: id, protocol: filters.protocol })}`;
  if (error && !sample) return html`<div class="page"><${ErrorBanner} error=${error} retry=${reload} /></div>`;
  if (!sample) return html`<${Loading} what="Reading the sample" />`;
  const link = (name, boxOf, tone, none) => html`
    <${BoxLine} name=${name} box=${boxOf} none=${none} kind=${{ id: tone === "truth" ? "truth" : "answer", tone }}
      lit=${lit === (tone === "truth" ? "truth" : "answer")} onLit=${setLit} onOpen=${open} />`;
  return html`
    <div class="stagepage" data-sample=${sample.id}>
      <div class="stagebox">
        <${Viewer} picture=${sample.picture} boxes=${boxes} lit=${lit} onLit=${setLit} control=${control}
          label=${`Picture of ${sample.id}`} navigator=${sample.width * sample.height > 4e6}>
          <button type="button" disabled=${!sample.target} onClick=${() => open(sample.target)} title="Zoom to the truth (t)"><span class="key truth"></span>truth</button>
          <button type="button" disabled=${!sample.box} onClick=${() => open(sample.box)} title="Zoom to the answer (a)"><span class="key c0"></span>answer</button>
          ${sample.trajectories?.length > 1 && html`<button type="button" aria-pressed=${all} onClick=${() => setAll(!all)} title="Boxes of all trajectories (m)">all ${sample.trajectories.length}</button>`}
          <button type="button" aria-pressed=${hidden} onClick=${() => setHidden(!hidden)} title="Hide or show boxes (b)" aria-label="Hide boxes"><${Icon} name=${hidden ? "hide" : "eye"} /></button>
        </${Viewer}>
      </div>
      <div class="panel">
        <div class="walk">
          <ol class="crumbs"><li><a href=${at`/runs/${run}` + search}>${model}</a></li><li>${sample.id}${sample.place == null ? "" : html` <span class="soft">(${number(sample.place + 1)} of ${number(sample.total)})</span>`}</li></ol>
          <span class="end">
            <${Step} to=${sample.previous && page(sample.previous)} icon="left" label="Previous sample" title="Previous (←)" />
            <${Step} to=${sample.next && page(sample.next)} icon="right" label="Next sample" title="Next (→)" />
          </span>
        </div>
        <${ErrorBanner} error=${error} retry=${reload} />
        <h1 tabindex="-1" class="asked">${sample.description}</h1>
        <div class="chips"><span class="chip">${subtask(sample.l1, sample.l2)}</span>
          <span class=${names("chip", sample.right ? "right" : "wrong")}><${Verdict} right=${sample.right}>${fate(sample)}</${Verdict}></span>
          ${sample.kind && sample.kind !== "right" && html`<span class="chip">${sample.kind}</span>`}</div>
        <dl class="boxlines">
          ${link("Truth", sample.target, "truth", "nothing matches")}
          ${link("Answer", sample.box, "c0", sample.outcome === "rejected" ? "nothing matches" : sample.outcome === "failed" ? "no reply" : "no box")}
        </dl>
        <${Facts} sample=${sample} />
        ${sample.reasoning && html`<section><h2>Reasoning</h2><${Reply} text=${sample.reasoning} spans=${spans.reasoning} lit=${lit} onLit=${setLit} onOpen=${open} label="Reasoning" /></section>`}
        ${sample.failure && html`<p class="banner"><span><strong>${sample.failure}</strong>${sample.detail && `: ${sample.detail}`}</span></p>`}
        <section><h2>Reply</h2><${Reply} text=${sample.reply ?? ""} spans=${spans.text} lit=${lit} onLit=${setLit} onOpen=${open} label="Reply" /></section>
        ${sample.trajectories?.length > 1 && html`<${Trajectories} list=${sample.trajectories} choices=${sample.choices} chosen=${chosen} choose=${setChosen} lit=${lit} onLit=${setLit} onOpen=${open} />`}
        ${sample.verdicts?.length > 0 && html`<${Verdicts} list=${sample.verdicts} />`}
        <p><a href=${compareTo}>The same sample in other runs</a></p>
      </div>
    </div>`;
}
