// The one screen: the picture with its box, and all that is said of it, by keys.
import { html, names, useEffect, useMemo, useRef, useState } from "../core/dom.js";
import { at, forget, prefetch, useGet } from "../core/api.js";
import { useKeys } from "../core/keys.js";
import { navigateFromHere } from "../core/router.js";
import { useSession } from "../core/session.js";
import { ErrorBanner, Loading, say, useTitle } from "../components/notice.js";
import { prefetchPicture } from "../components/viewer.js";
import { useAnnotation } from "./annotation.js";
import { grown, moved } from "./boxes.js";
import { STATUSES } from "./counts.js";
import { prefetchTiles } from "./editor.js";
import { HistoryDialog } from "./history.js";
import { Merge } from "./merge.js";
import { Act, BoxPart, CriteriaPart, DescriptionPart, NotePart, RejectionPart, SaveState, SubtaskPart, VerdictPart, nextAnswer } from "./panel.js";
import { NeedsPerson } from "./person.js";
import { Picture } from "./picture.js";
import { usePresence } from "./presence.js";
import { CRITERIA, SUBTASKS, kindAfter, likelyKind, withKind } from "./subtasks.js";
import { following, itemAddress, preceding, useProject, visited } from "./walk.js";

const NUDGES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const FIELD = ".an-form textarea, .an-form input";

const arrows = (before) => Object.keys(NUDGES).map((key) => before + key);

/** The next item, and all that it needs, before it is wanted. */
async function makeReady(project, item, filters) {
  const next = await following(project, item, filters);
  const document = next && await prefetch(at`/api/items/${next}`);
  if (document) {
    prefetchPicture(document.picture);
    prefetchTiles(document.picture, document);
  }
  return next;
}

/** Why nothing can be changed here; "" where it can. */
function closedBecause(item, project, person) {
  if (["accepted", "rejected"].includes(item.status)) {
    const by = item.decision?.name ? ` by ${item.decision.name}` : "";
    return `It was ${item.status}${by}. A reviewer can reopen it.`;
  }
  if (project?.blind && item.mine.state === "submitted" && person.role === "annotator") {
    return "You accepted it, and the project is blind: a reviewer can reopen it.";
  }
  return "";
}

export default function ItemPage(place) {
  const { person } = useSession();
  return person ? html`<${Screen} ...${place} person=${person} />` : html`<${NeedsPerson} />`;
}

function Screen({ parts, search, person }) {
  const [, project, , id] = parts;
  const { data, error, reload } = useGet(at`/api/items/${id}`);
  const item = data && String(data.id) === id ? data : null;
  const shown = useRef(null);
  if (item) shown.current = item;
  const about = useProject(project);
  const mine = useAnnotation(item, person.id);
  const people = usePresence(item?.id);
  const [problem, setProblem] = useState(null);
  const [drawing, setDrawing] = useState(false);
  const [others, setOthers] = useState(false);
  const [verdicts, setVerdicts] = useState(false);
  const [history, setHistory] = useState(false);
  const [busy, setBusy] = useState(false);
  const [typing, setTyping] = useState(false);
  const sending = useRef(false);
  const ready = useRef({});
  const [stage, editor] = [useRef(null), useRef(null)];
  const fields = { label: useRef(), description: useRef(), rejection: useRef(), note: useRef() };
  useTitle(item ? `${item.name ?? item.id} · ${about?.name ?? ""}` : "Item");

  useEffect(() => {
    if (!item) return;
    visited(project, id);
    setProblem(null);
    setOthers(false);
    setVerdicts(false);
    setTyping(Boolean(window.document.activeElement?.matches(FIELD)));
    editor.current?.give();
    ready.current = { item: id, next: makeReady(project, id, search) };
  }, [item?.id]);

  const document = mine?.document;
  const closed = item && closedBecause(item, about, person);
  if (item) item.closed = Boolean(closed);
  // A choice between two versions waits until the field is left: it would take what is being typed.
  const merging = Boolean(mine?.conflict) && !typing;
  const editable = Boolean(document) && !merging && !closed;
  const size = { width: item?.width, height: item?.height };
  const theirs = mine?.conflict?.theirs.box;
  const marks = useMemo(() => (item ? marksOf(item, others, verdicts, theirs) : []), [item?.id, others, verdicts, theirs]);

  const away = async (find) => {
    mine?.flush();
    const leave = navigateFromHere();
    const where = await find(project, id, search);
    if (where) leave(itemAddress(project, where, search));
    else say("There is no other item.");
  };
  const finish = async (what) => {
    if (sending.current || !mine) return;
    if (mine.conflict) {
      window.document.activeElement?.blur();
      return;
    }
    const leave = navigateFromHere();
    sending.current = true;
    setBusy(true);
    setProblem(null);
    try {
      const next = ready.current.item === id ? ready.current.next : following(project, id, search);
      if (!(await mine.finish(what))) return;
      forget(at`/api/items/${id}`);
      forget(at`/api/projects/${project}/queue`);
      const where = await next;
      leave(where ? itemAddress(project, where, search) : `/projects/${encodeURIComponent(project)}${search}`);
    } catch (failed) {
      setProblem(failed);
    } finally {
      sending.current = false;
      setBusy(false);
    }
  };

  const change = (patch, tag) => editable && mine.change(patch, tag);
  const act = {
    draw: () => editor.current?.draw(!drawing),
    zoom: () => stage.current?.zoomTo(document?.box),
    clear: () => change({ box: null }),
    others: () => setOthers((on) => !on),
    verdicts: () => setVerdicts((on) => !on),
    nudge: (by, times, how) => document?.box && change({ box: how(document.box, by[0] * times, by[1] * times, size) }, "box.nudge"),
    submit: () => {
      if (!document?.description.trim()) {
        setProblem({ message: "It has no description yet: d goes there." });
        fields.description.current?.focus();
      } else finish("submit");
    },
    skip: () => finish("skip"),
    variant: () => {
      if (!editable) return;
      const text = fields.rejection.current;
      if (!document.rejection) {
        // What is typed next belongs into it, even before the page is drawn again.
        if (text) text.value = document.description;
        change({ rejection: { description: document.description, kind: likelyKind(document) } });
      }
      text?.focus();
    },
    noVariant: () => (document.rejection ? change({ rejection: null }) : act.variant()),
    kindTo: (kind) => change(withKind(document, kind)),
    nextKind: () => {
      if (!document?.rejection) return;
      change(withKind(document, kindAfter(document.rejection.kind)));
    },
    nextDraft: () => {
      const drafts = item?.drafts ?? [];
      if (drafts.length) change({ description: drafts[(drafts.indexOf(document.description) + 1) % drafts.length] }, "draft");
    },
    all: () => change({ criteria: Object.fromEntries(CRITERIA.map(({ name }) => [name, true])) }),
    flag: () => change({ flag: !document.flag }),
  };
  const into = (field) => () => { field.current?.focus(); field.current?.select?.(); };

  useKeys("This item", [
    { keys: ["Enter"], does: "Accept, and go to the next", run: act.submit, off: !editable },
    { keys: ["Ctrl+Enter"], does: "The same from a text field", run: act.submit, typing: true, off: !editable },
    { keys: ["s"], does: "Skip it", run: act.skip },
    { keys: ["m"], does: "Flag it for a reviewer", run: act.flag },
    { keys: ["j"], does: "Next, without accepting", run: () => away(following) },
    { keys: ["k"], does: "Previous", run: () => away(preceding) },
    { keys: ["Ctrl+z"], does: "Undo", run: () => mine?.undo() },
    { keys: ["Ctrl+Z", "Ctrl+y"], does: "Redo", run: () => mine?.redo() },
    { keys: ["h"], does: "History", run: () => setHistory(true) },
    { keys: ["Escape"], does: "Leave a text field, or drawing", run: () => { editor.current?.give(); window.document.activeElement?.blur(); }, typing: true },
  ]);
  useKeys("Box and picture", [
    { keys: ["b"], does: "Draw the box", run: act.draw },
    { keys: arrows(""), does: "Move it by 1 px", run: ({ key }) => act.nudge(NUDGES[key], 1, moved), off: !document?.box },
    { keys: arrows("Shift+"), does: "Move it by 10 px", run: ({ key }) => act.nudge(NUDGES[key], 10, moved), off: !document?.box },
    { keys: arrows("Alt+"), does: "Move its lower right corner by 1 px", run: ({ key }) => act.nudge(NUDGES[key], 1, grown), off: !document?.box },
    { keys: ["x"], does: "No box", run: act.clear },
    { keys: ["z"], does: "Zoom to the box", run: act.zoom },
    { keys: ["0"], does: "Whole picture", run: () => stage.current?.fit() },
    { keys: ["+", "="], does: "Zoom in", run: () => stage.current?.zoomBy(1.6) },
    { keys: ["-"], does: "Zoom out", run: () => stage.current?.zoomBy(1 / 1.6) },
    { keys: ["o"], does: "Show the others of its class", run: act.others },
    { keys: ["i"], does: "Show the boxes of the models", run: act.verdicts },
  ]);
  useKeys("What is said", [
    { keys: ["l"], does: "Class of the object", run: into(fields.label) },
    { keys: ["d"], does: "Description", run: into(fields.description) },
    { keys: ["a"], does: "Next draft of a model", run: act.nextDraft },
    { keys: ["v"], does: "Rejection variant", run: act.variant },
    { keys: ["c"], does: "Next kind of change", run: act.nextKind },
    { keys: ["n"], does: "Note", run: into(fields.note) },
    ...SUBTASKS.map((row) => ({ keys: [row.key], does: `${row.l1} / ${row.l2}`, run: () => change({ subtask_l1: row.l1, subtask_l2: row.l2 }) })),
    ...CRITERIA.map(({ name, key, title }) => ({
      keys: [key], does: `${title}: yes, no, not said`,
      run: () => change({ criteria: { ...document.criteria, [name]: nextAnswer(document.criteria[name]) } }, `criteria.${name}`),
    })),
    { keys: ["t"], does: "All four hold", run: act.all },
  ]);

  if (error && !item) return html`<${ErrorBanner} error=${error} retry=${reload} />`;
  const seen = item ?? shown.current;
  if (!seen) return html`<${Loading} />`;
  const drafts = seen.drafts ?? [];
  return html`
    <div class="an-screen">
      <div class="an-stage">
        <${Picture} picture=${seen.picture} box=${document?.box} editable=${editable} marks=${marks} control=${stage} editor=${editor}
          onBox=${(box) => change({ box }, "box")} onDrawing=${setDrawing} label=${`Picture ${seen.width} by ${seen.height} pixels`} />
      </div>
      <aside class="an-panel" aria-label="Annotation" onClick=${letGo}>
        <header class="an-top">
          <a class="an-back" href=${`/projects/${encodeURIComponent(project)}${search}`}>${about?.name ?? "Project"}</a>
          <h1 class="an-name" tabindex="-1" title=${seen.name ?? seen.id}>${seen.name ?? `Item ${seen.id}`}</h1>
          ${mine && html`<${SaveState} state=${mine.state} problem=${mine.problem} />`}
        </header>
        <${Facts} item=${seen} document=${document} people=${people} tabs=${mine?.others ?? 0} />
        ${mine?.left && html`
          <div class="an-notice" role="status"><p>Brought back what was not saved at ${new Date(mine.left.at).toLocaleTimeString()}.</p>
            <button type="button" onClick=${mine.drop}>Drop it</button><button type="button" onClick=${mine.seen}>Keep it</button></div>`}
        ${closed && html`<div class="an-notice" role="status" data-closed><p>${closed}</p></div>`}
        ${mine?.state === "decided" && html`<div class="an-notice an-warned" role="status"><p>A reviewer decided it meanwhile. What you wrote is kept in its history.</p><button type="button" onClick=${reload}>Show the decision</button></div>`}
        ${mine?.state === "offline" && html`<div class="an-notice an-warned" role="status"><p>${mine.problem} Your work is kept in this browser and sent as soon as it answers.</p></div>`}
        ${mine?.conflict && typing && html`<div class="an-notice an-warned" role="status"><p>It was changed and saved elsewhere. Leave the field, and choose what is to stay.</p></div>`}
        ${mine?.state === "refused" && html`<${ErrorBanner} error=${{ message: mine.problem }} />`}
        <${ErrorBanner} error=${problem} close=${() => setProblem(null)} />
        ${merging ? html`<${Merge} mine=${document} conflict=${mine.conflict} done=${mine.resolve} />` : document && html`
          <fieldset class="an-form" disabled=${!editable}
            onFocusIn=${(event) => setTyping(event.target.matches(FIELD))} onFocusOut=${() => setTyping(false)}>
            <${BoxPart} document=${document} change=${change} field=${fields.label} editable=${editable} drawing=${drawing} act=${act} shown=${{ others, count: seen.others?.length ?? 0 }} />
            <${DescriptionPart} document=${document} drafts=${drafts} change=${change} nextDraft=${act.nextDraft} field=${fields.description} />
            <${SubtaskPart} document=${document} change=${change} />
            <${RejectionPart} document=${document} change=${change} field=${fields.rejection} toggle=${act.noVariant} kindTo=${act.kindTo} nextKind=${act.nextKind} />
            <${CriteriaPart} document=${document} change=${change} all=${act.all} />
            <${VerdictPart} verdicts=${seen.verdicts ?? []} shown=${verdicts} toggle=${act.verdicts} />
            <${NotePart} document=${document} change=${change} field=${fields.note} />
          </fieldset>`}
        <footer class="an-acts">
          <${Act} name="submit" kind="main" keys="Enter" disabled=${!editable || busy} onClick=${act.submit}>Accept</${Act}>
          <${Act} name="skip" keys="s" disabled=${busy} onClick=${act.skip}>Skip</${Act}>
          <${Act} name="flag" keys="m" pressed=${Boolean(document?.flag)} onClick=${act.flag}>Flag</${Act}>
          <span class="an-gap"></span>
          <${Act} name="previous" keys="k" onClick=${() => away(preceding)}>Back</${Act}>
          <${Act} name="next" keys="j" onClick=${() => away(following)}>Next</${Act}>
        </footer>
      </aside>
      ${history && html`<${HistoryDialog} item=${id} close=${() => { setHistory(false); reload(); }} />`}
    </div>`;
}

// A button that was clicked would keep Enter for itself; one that was reached by Tab may.
function letGo(event) {
  if (event.detail > 0) event.target.closest("button")?.blur();
}

function marksOf(item, others, verdicts, theirs) {
  const marks = others ? (item.others ?? []).map((box, i) => ({ id: `other-${i}`, box, kind: "other", label: i ? "" : "others of its class" })) : [];
  if (theirs) marks.push({ id: "theirs", box: theirs, kind: "c1", label: "theirs" });
  if (verdicts) {
    (item.verdicts ?? []).forEach((one, i) => {
      if (one.box) marks.push({ id: `verdict-${i}`, box: one.box, kind: `c${i % 6}`, label: one.model });
    });
  }
  return marks;
}

/** One line of what is known of the item, and who else is here. */
function Facts({ item, document, people, tabs }) {
  const { proposal } = item;
  return html`
    <div class="chips an-facts">
      ${item.status && html`<span class=${names("chip", `an-is-${item.status}`)}>${STATUSES[item.status] ?? item.status}</span>`}
      ${item.mine.state === "submitted" && html`<span class="chip an-is-annotated">submitted</span>`}
      ${document?.subtask_l1 === "Rejection" && html`<span class="chip">Rejection / ${document.subtask_l2}</span>`}
      ${document?.flag && html`<span class="chip an-warn">⚑ flagged</span>`}
      ${proposal?.label && html`<span class="chip">${proposal.label}${proposal.score != null ? ` ${Math.round(100 * proposal.score)} %` : ""}</span>`}
      <span class="chip">${item.width} × ${item.height}</span>
      ${(item.flags ?? []).map((flag) => html`<span class="chip an-warn">${flag}</span>`)}
      ${people.map((one) => html`<span class="chip an-here" role="status" data-here>${one.name} is here</span>`)}
      ${tabs > 0 && html`<span class="chip an-here" role="status" data-tabs>open in another tab of yours</span>`}
    </div>`;
}
