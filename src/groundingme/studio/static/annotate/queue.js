// A project's items: what is to be done, by status, subtask and class, and where to begin.
import { html, names, useEffect, useRef, useState } from "../core/dom.js";
import { at, query as queryOf, useGet } from "../core/api.js";
import { number, subtask } from "../core/format.js";
import { useKeys } from "../core/keys.js";
import { navigate, navigateFromHere, setQuery } from "../core/router.js";
import { useSession } from "../core/session.js";
import { Key } from "../components/help.js";
import { ErrorBanner, Loading, say, useTitle } from "../components/notice.js";
import { thumb } from "../components/viewer.js";
import { Counts, STATUSES } from "./counts.js";
import { AssignDialog, ExportDialog, ImportDialog, PublishDialog } from "./dialogs.js";
import { JobStrip, useJob } from "./jobs.js";
import { nextToReview } from "./review.js";
import { KINDS, SUBTASKS } from "./subtasks.js";
import { following, itemAddress } from "./walk.js";

const PAGE = 60;
const SUBTASK_NAMES = [...SUBTASKS.map(({ l1, l2 }) => [l1, l2]), ...KINDS.map((l2) => ["Rejection", l2])];

export default function QueuePage({ parts, query, search }) {
  const [, project] = parts;
  const { person } = useSession();
  const about = useGet(at`/api/projects/${project}`);
  const offset = Math.max(Number(query.get("offset")) || 0, 0);
  const filters = Object.fromEntries(["status", "l1", "l2", "label", "mine", "flag"].map((name) => [name, query.get(name) ?? ""]));
  const list = useGet(`${at`/api/projects/${project}/queue`}${queryOf({ ...filters, offset, limit: PAGE })}`);
  const [dialog, setDialog] = useState("");
  const [problem, setProblem] = useState(null);
  const [chosen, setChosen] = useState(0);
  const cards = useRef();
  const reviews = person && person.role !== "annotator";
  const presence = about.data?.kind === "presence";
  const { watch, ...work } = useJob(project, reviews ? person : null, ({ kind }) => {
    if (kind === "import") { list.reload(); about.reload(); }
  });
  const started = (job) => { setDialog(""); watch(job); };
  useTitle(about.data?.name ?? "Project");
  const items = list.data?.items ?? [];
  const total = list.data?.total ?? 0;

  const filterQuery = queryOf(filters);
  const open = (item) => navigate(itemAddress(project, item.id, filterQuery, reviews && needsReview(item) ? "review" : "items"));
  const start = async () => {
    if (presence) { navigate(`/projects/${encodeURIComponent(project)}/match`); return; }
    const leave = navigateFromHere();
    try {
      const next = await following(project, null, filterQuery);
      if (next) leave(itemAddress(project, next, filterQuery));
      else { say("Nothing is left to do here."); setProblem({ message: "Nothing is left for you here: every item of this list is done or somebody else's." }); }
    } catch (error) {
      setProblem(error);
    }
  };
  const review = async () => {
    const leave = navigateFromHere();
    try {
      const first = await nextToReview(project, null, filterQuery);
      if (first) leave(itemAddress(project, first, filterQuery, "review"));
      else setProblem({ message: "Nothing waits for a review." });
    } catch (error) {
      setProblem(error);
    }
  };
  const move = (by) => setChosen((now) => Math.min(Math.max(now + by, 0), Math.max(items.length - 1, 0)));
  const turn = (by) => { const to = offset + by * PAGE; if (to >= 0 && to < total) setQuery({ offset: to || "" }); };
  useEffect(() => setChosen(0), [search]);
  useEffect(() => { cards.current?.children[chosen]?.scrollIntoView?.({ block: "nearest" }); }, [chosen]);
  useKeys("Queue", [
    { keys: ["Enter"], does: "Begin with the next item for you", run: start, off: !person },
    { keys: ["r"], does: "Review what was annotated", run: review, off: !reviews || presence },
    { keys: ["j", "ArrowRight"], does: "Next card", run: () => move(1) },
    { keys: ["k", "ArrowLeft"], does: "Previous card", run: () => move(-1) },
    { keys: ["o"], does: "Open the card", run: () => items[chosen] && open(items[chosen]) },
    { keys: ["]"], does: "Next page", run: () => turn(1) },
    { keys: ["["], does: "Previous page", run: () => turn(-1) },
    { keys: ["b"], does: "Dashboard", run: () => navigate(`/projects/${encodeURIComponent(project)}/dashboard`) },
  ]);
  const pick = (name) => (event) => setQuery({ [name]: event.target.value, offset: "" });
  const pickSubtask = (event) => {
    const [l1, l2] = event.target.value.split("/");
    setQuery({ l1: l1 ?? "", l2: l2 ?? "", offset: "" });
  };
  return html`
    <div class="page">
      <div class="head">
        <div><ol class="crumbs"><li><a href="/projects">Projects</a></li></ol><h1 tabindex="-1">${about.data?.name ?? "Project"}</h1></div>
        <button type="button" class="main" onClick=${start} disabled=${!person} data-act="start">${presence ? "Answer" : "Annotate"} <${Key} name="Enter" /></button>
        ${reviews && !presence && html`<button type="button" onClick=${review} data-act="review">Review <${Key} name="r" /></button>`}
        ${(reviews || !about.data?.blind) && html`<a class="button" href=${`/projects/${encodeURIComponent(project)}/dashboard`}>Dashboard <${Key} name="b" /></a>`}
        ${reviews && html`<button type="button" onClick=${() => setDialog("assign")}>Assign</button>`}
        ${reviews && html`<button type="button" onClick=${() => setDialog("import")}>Import</button>`}
        ${reviews && html`<button type="button" onClick=${() => setDialog("export")}>Export</button>`}
        ${reviews && !presence && html`<button type="button" onClick=${() => setDialog("publish")}>Publish</button>`}
      </div>
      <${ErrorBanner} error=${about.error ?? list.error ?? problem} close=${problem && (() => setProblem(null))} />
      <${JobStrip} ...${work} person=${person} />
      ${about.data && html`<${Counts} counts=${about.data.counts} />`}
      <div class="bar an-filters">
        <label class="field">Status<select value=${filters.status} onChange=${pick("status")}><option value="">all</option>
          ${Object.entries(STATUSES).map(([value, word]) => html`<option value=${value}>${word}</option>`)}</select></label>
        <label class="field">Subtask<select value=${filters.l1 ? `${filters.l1}/${filters.l2}` : ""} onChange=${pickSubtask}><option value="">all</option>
          ${SUBTASK_NAMES.map(([l1, l2]) => html`<option value=${`${l1}/${l2}`}>${subtask(l1, l2)}</option>`)}</select></label>
        <label class="field">Class<input value=${filters.label} onChange=${pick("label")} placeholder="any" /></label>
        <label class="choice"><input type="checkbox" checked=${filters.mine === "1"} onChange=${(event) => setQuery({ mine: event.target.checked ? "1" : "", offset: "" })} /> Only mine</label>
        <label class="choice"><input type="checkbox" checked=${filters.flag === "1"} onChange=${(event) => setQuery({ flag: event.target.checked ? "1" : "", offset: "" })} /> Only flagged</label>
        <span class="end soft">${number(total)} items</span>
      </div>
      ${list.loading && html`<${Loading} />`}
      <ul class="an-cards" ref=${cards}>${items.map((item, i) => html`<${ItemCard} key=${item.id} item=${item} chosen=${i === chosen}
        href=${itemAddress(project, item.id, filterQuery, reviews && needsReview(item) ? "review" : "items")} />`)}</ul>
      ${total > PAGE && html`<div class="an-row an-end"><button type="button" disabled=${offset === 0} onClick=${() => turn(-1)}>Before <${Key} name="[" /></button>
        <span class="soft">${number(offset + 1)} to ${number(Math.min(offset + PAGE, total))} of ${number(total)}</span>
        <button type="button" disabled=${offset + PAGE >= total} onClick=${() => turn(1)}>After <${Key} name="]" /></button></div>`}
      ${dialog === "assign" && html`<${AssignDialog} project=${project} filters=${filters} total=${total} close=${() => setDialog("")} done=${() => { list.reload(); }} />`}
      ${dialog === "import" && html`<${ImportDialog} project=${project} close=${() => setDialog("")} started=${started} />`}
      ${dialog === "export" && html`<${ExportDialog} project=${project} close=${() => setDialog("")} started=${started} />`}
      ${dialog === "publish" && html`<${PublishDialog} project=${project} close=${() => setDialog("")} started=${started} />`}
    </div>`;
}

export const needsReview = (item) => ["annotated", "conflict"].includes(item.status);

function ItemCard({ item, chosen, href }) {
  return html`
    <li class=${names("an-card", chosen && "chosen")}>
      <a href=${href}>
        <span class="an-thumb"><img src=${thumb(item.picture, 320)} alt="" loading="lazy" decoding="async" />
          ${item.box && item.width && html`<svg viewBox=${`0 0 ${item.width} ${item.height}`} aria-hidden="true"><rect x=${item.box[0]} y=${item.box[1]}
            width=${item.box[2] - item.box[0]} height=${item.box[3] - item.box[1]} /></svg>`}</span>
        <span class="an-about">
          <span class="an-row"><i class=${`an-dot an-fill-${item.status}`} aria-hidden="true"></i><small>${STATUSES[item.status] ?? item.status}${item.label && ` · ${item.label}`}</small>${item.flag && html`<span class="chip an-warn">⚑ flagged</span>`}</span>
          <span class="an-words">${item.description || html`<span class="soft">no description</span>`}</span>
          <small>${subtask(item.subtask_l1, item.subtask_l2)}</small>
        </span>
      </a>
    </li>`;
}
