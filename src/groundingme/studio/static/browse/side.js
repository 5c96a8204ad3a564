// One sample as two to four runs answered it, with pictures that zoom together.
import { html, useEffect, useMemo, useRef, useState } from "../core/dom.js";
import { at, prefetch, query, useGet } from "../core/api.js";
import { percent, subtask } from "../core/format.js";
import { useKeys } from "../core/keys.js";
import { navigate } from "../core/router.js";
import { LETTERS, Letter, Verdict, fate } from "../components/figures.js";
import { Icon } from "../components/icons.js";
import { ErrorBanner, Loading, useTitle } from "../components/notice.js";
import { Reply } from "../components/reply.js";
import { Step } from "../components/step.js";
import { Sync, Viewer, prefetchPicture, viewerKeys } from "../components/viewer.js";
import { compareApi, sidePage } from "./compare.js";

function Panel({ one, at: i, runs, all, hidden, sync, control, protocol }) {
  const [lit, setLit] = useState(null);
  const boxes = useMemo(() => {
    if (hidden) return [];
    const answers = all.map((other, k) => ({ id: `a${k}`, box: other.box, label: LETTERS[k], kind: `c${k}` }));
    return [{ id: "truth", box: one.target, label: "truth", kind: "truth" }, ...(runs === "all" ? answers : [answers[i]])].filter((box) => box.box);
  }, [one, all, hidden, runs, i]);
  return html`
    <article class="card sidepanel" aria-label=${`${LETTERS[i]}: ${one.model}`}>
      <header><${Letter} run=${i} /><a href=${at`/runs/${one.run}/samples/${one.id}` + query({ protocol })}>${one.model}</a>
        <span class="end"><${Verdict} right=${one.right}>${fate(one)}</${Verdict}></span></header>
      <${Viewer} picture=${one.picture} boxes=${boxes} lit=${lit} onLit=${setLit} sync=${sync} control=${control} label=${`Picture as ${one.model} answered it`} />
      <details><summary>Reply${one.confidence == null ? "" : `, ${percent(one.confidence, 0)} % sure`}</summary>
        ${one.reasoning && html`<h3>Reasoning</h3><${Reply} text=${one.reasoning} label="Reasoning" />`}
        <${Reply} text=${one.reply ?? ""} label="Reply" /></details>
    </article>`;
}

export default function SidePage({ parts: [, , id], query: asked }) {
  const runs = asked.getAll("run");
  const protocol = asked.get("protocol") ?? "";
  const api = (sample) => at`/api/compare/samples/${sample}` + query({ run: runs, protocol });
  const { data, stale, error, reload } = useGet(api(id), { final: true });
  const flips = useGet(runs.length >= 2 ? compareApi(runs, protocol) : null, { final: true }).data?.flips.items ?? [];
  const shown = data ?? stale;
  const sync = useMemo(() => new Sync(), []);
  const controls = [useRef(null), useRef(null), useRef(null), useRef(null)];
  const [hidden, setHidden] = useState(false);
  const [every, setEvery] = useState(false);
  const [together, setTogether] = useState(true);
  sync.on = together;
  const here = flips.findIndex((one) => one.id === id);
  const next = flips[here + 1]?.id;
  const previous = here > 0 ? flips[here - 1].id : null;
  const lead = () => sync.leader ?? controls[0].current;
  const back = `/compare${query({ run: runs, protocol })}`;
  const zoom = (box) => { if (!together) controls.forEach(({ current }) => current?.zoomTo(box)); else lead()?.zoomTo(box); };
  const go = (sample) => { if (sample) navigate(sidePage(sample, runs, protocol)); };

  useEffect(() => {
    for (const near of [next, previous]) if (near) prefetch(api(near)).then((found) => prefetchPicture(found?.runs[0]?.picture));
  }, [next, previous]);
  const sample = shown?.runs[0];
  useTitle(sample ? `${sample.id}: ${sample.description}` : "Compare");
  useKeys("Side by side", [
    { keys: ["ArrowRight", "j", "n"], does: "Next flip", run: () => go(next) },
    { keys: ["ArrowLeft", "k", "p"], does: "Previous flip", run: () => go(previous) },
    { keys: ["t"], does: "Zoom to the truth", off: !sample?.target, run: () => zoom(sample.target) },
    ...(shown?.runs ?? []).map((one, i) => ({ keys: [`${i + 1}`], does: `Zoom to the answer of ${LETTERS[i]}`, off: !one.box, run: () => zoom(one.box) })),
    { keys: ["o"], does: "All answers in every picture, or each in its own", run: () => setEvery((was) => !was) },
    { keys: ["b"], does: "Hide or show boxes", run: () => setHidden((was) => !was) },
    { keys: ["s"], does: "Zoom together, or each by itself", run: () => setTogether((was) => !was) },
    { keys: ["u", "Escape"], does: "The comparison", run: () => navigate(back) },
  ]);
  useKeys("Pictures", viewerKeys({ get current() { return lead(); } }));
  if (error && !shown) return html`<div class="page"><${ErrorBanner} error=${error} retry=${reload} /></div>`;
  if (!shown) return html`<${Loading} what="Reading the sample" />`;
  return html`
    <div class="page sidepage" data-sample=${sample.id}>
      <div class="head">
        <div><ol class="crumbs"><li><a href=${back}>Compare</a></li><li>${sample.id}</li><li>${subtask(sample.l1, sample.l2)}</li></ol>
          <h1 tabindex="-1" class="asked">${sample.description}</h1></div>
        <div class="tools">
          <button type="button" aria-pressed=${together} title="Zoom together (s)" onClick=${() => setTogether(!together)}><${Icon} name="link" />Zoom together</button>
          <button type="button" aria-pressed=${every} title="All answers in every picture (o)" onClick=${() => setEvery(!every)}>All answers</button>
          <button type="button" aria-pressed=${hidden} title="Hide or show boxes (b)" aria-label="Hide boxes" onClick=${() => setHidden(!hidden)}><${Icon} name=${hidden ? "hide" : "eye"} /></button>
          <${Step} to=${previous && sidePage(previous, runs, protocol)} icon="left" label="Previous flip" title="Previous flip (←)" />
          <${Step} to=${next && sidePage(next, runs, protocol)} icon="right" label="Next flip" title="Next flip (→)" />
        </div>
      </div>
      <${ErrorBanner} error=${error} retry=${reload} />
      <div class=${`sides of${shown.runs.length}`}>
        ${shown.runs.map((one, i) => html`<${Panel} key=${one.run} one=${one} at=${i} all=${shown.runs} runs=${every ? "all" : "own"} hidden=${hidden} sync=${sync} control=${controls[i]} protocol=${protocol} />`)}
      </div>
    </div>`;
}
