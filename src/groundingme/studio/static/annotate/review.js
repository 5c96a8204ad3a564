// Review: what one or two people said of an item, side by side, and the decision.
import { html, names, remember, remembered, useEffect, useMemo, useRef, useState } from "../core/dom.js";
import { at, forget, get, keep, prefetch, query as queryOf, send, useGet } from "../core/api.js";
import { fixed } from "../core/format.js";
import { useKeys } from "../core/keys.js";
import { navigateFromHere } from "../core/router.js";
import { useSession } from "../core/session.js";
import { ErrorBanner, Loading, say, useTitle } from "../components/notice.js";
import { prefetchPicture } from "../components/viewer.js";
import { STATUSES } from "./counts.js";
import { documentOf, whole } from "./annotation.js";
import { iou } from "./boxes.js";
import { prefetchTiles } from "./editor.js";
import { HistoryDialog } from "./history.js";
import { FIELDS, sameField, taking } from "./keeper.js";
import { Merge, Told } from "./merge.js";
import { Act, BoxPart, CriteriaPart, DescriptionPart, RejectionPart, SubtaskPart } from "./panel.js";
import { NeedsPerson } from "./person.js";
import { Picture } from "./picture.js";
import { usePresence } from "./presence.js";
import { filtersOf, itemAddress, preceding, useProject, visited } from "./walk.js";
import { CRITERIA, kindAfter, likelyKind, withKind } from "./subtasks.js";

const COLOURS = ["c0", "c1", "c2", "c3", "c4", "c5"];
const LETTERS = "ABCDEF";
const SHOWN = FIELDS.filter(([name]) => !["match", "flag"].includes(name));

/** The next item of the queue's list that waits for a reviewer: those that differ first. */
export async function nextToReview(project, after, search = "") {
  const filters = filtersOf(search);
  for (const status of filters.status ? [filters.status] : ["conflict", "annotated"]) {
    const { item } = await get(`${at`/api/projects/${project}/next`}${queryOf({ ...filters, status, after })}`);
    if (item) {
      keep(at`/api/items/${item.id}`, item);
      return item.id;
    }
  }
  return null;
}

export default function ReviewPage(place) {
  const { person } = useSession();
  if (!person) return html`<${NeedsPerson} />`;
  return html`<${Review} ...${place} person=${person} />`;
}

const placeOf = (person, item) => `groundingme.decision/${person}/${item}`;

function Review({ parts, search, person }) {
  const [, project, , id] = parts;
  const { data, error, reload } = useGet(at`/api/items/${id}`);
  const item = data && String(data.id) === id ? data : null;
  const last = useRef(null);
  if (item) last.current = item;
  const seen = item ?? last.current;
  const about = useProject(project);
  const people = usePresence(item?.id);
  const [chosen, setChosen] = useState(null);
  const [at_, setAt] = useState(0);
  const [editing, setEditing] = useState(false);
  const [drawing, setDrawing] = useState(false);
  const [others, setOthers] = useState(false);
  const [history, setHistory] = useState(false);
  const [problem, setProblem] = useState(null);
  const [conflict, setConflict] = useState(null);
  const [busy, setBusy] = useState(false);
  const sending = useRef(false);
  const [stage, editor] = [useRef(null), useRef(null)];
  const fields = { label: useRef(), description: useRef(), rejection: useRef() };
  useTitle(item ? `Review ${item.name ?? item.id}` : "Review");

  const sides = useMemo(() => sidesOf(item), [item]);
  const rows = useMemo(() => SHOWN.filter(([name]) => sides.some((one) => !sameField(one.document, whole({}), name))), [sides]);
  const differing = rows.filter(([name]) => sides.some((one) => !sameField(one.document, sides[0].document, name)));
  const final = chosen?.item === item?.id ? chosen?.document : null;
  const decided = ["accepted", "rejected"].includes(item?.status);

  useEffect(() => {
    if (!item) return;
    visited(project, id);
    setEditing(false);
    setConflict(null);
    setProblem(null);
    const kept = remembered(placeOf(person.id, id), null);
    const start = item.decision ? documentOf(item.decision.document) : sides[0]?.document ?? documentOf(item.mine);
    setChosen({ item: item.id, document: kept && kept.version === item.version ? whole(kept.document) : start });
    const first = SHOWN.filter(([name]) => rows.some(([one]) => one === name)).findIndex(([name]) => differing.some(([one]) => one === name));
    setAt(Math.max(first, 0));
    nextToReview(project, id, search).then(async (next) => {
      const coming = next && await prefetch(at`/api/items/${next}`);
      if (coming) { prefetchPicture(coming.picture); prefetchTiles(coming.picture, coming); }
    }).catch(() => {});
  }, [item?.id, item?.version]);

  const change = (patch) => {
    if (!final) return;
    const document = { ...final, ...patch };
    setChosen({ item: item.id, document });
    remember(placeOf(person.id, id), { version: item.version, document });
  };
  const take = (side, row = at_) => {
    const from = sides[side];
    if (!from || !final || !rows[row]) return;
    change(taking(final, rows[row][0], from.document));
    const after = rows.findIndex(([name], i) => i > row && differing.some(([one]) => one === name));
    if (after > 0) setAt(after);
  };
  const takeAll = (side) => sides[side] && change(sides[side].document);
  const decide = async (accept) => {
    if (sending.current || !final || decided) return;
    const leave = navigateFromHere();
    sending.current = true;
    setBusy(true);
    setProblem(null);
    try {
      const next = nextToReview(project, id, search);
      const body = { version: conflict?.version ?? item.version, accept, annotation: final, note: final.note };
      await send("POST", at`/api/items/${id}/decision`, body);
      localStorage.removeItem(placeOf(person.id, id));
      forget(at`/api/items/${id}`);
      forget(at`/api/projects/${project}`);
      say(accept ? "Accepted" : "Rejected");
      const where = await next;
      leave(where ? itemAddress(project, where, search, "review") : `/projects/${encodeURIComponent(project)}${search}`);
    } catch (failed) {
      if (failed.status === 409 && failed.more.theirs) setConflict(failed.more);
      else setProblem(failed);
    } finally {
      sending.current = false;
      setBusy(false);
    }
  };
  const merge = (document) => {
    const { version } = conflict;
    setConflict(null);
    forget(at`/api/items/${id}`);
    remember(placeOf(person.id, id), { version, document });
    reload();
  };
  const reopen = async () => {
    try {
      await send("POST", at`/api/items/${id}/reopen`, {});
      reload();
    } catch (failed) {
      setProblem(failed);
    }
  };
  const away = async (find) => {
    const leave = navigateFromHere();
    const where = await find(project, id, search);
    if (where) leave(itemAddress(project, where, search, "review"));
    else say("There is no other item to review.");
  };
  const step = (by) => setAt((now) => Math.min(Math.max(now + by, 0), rows.length - 1));
  const box = { others: seen?.others?.length ?? 0 };
  const act = {
    draw: () => { setEditing(true); setTimeout(() => editor.current?.draw(!drawing)); },
    zoom: () => stage.current?.zoomTo(around([final?.box, ...sides.map((one) => one.document.box)])),
    clear: () => change({ box: null }),
    others: () => setOthers((on) => !on),
  };
  useKeys("Review", [
    { keys: ["Enter"], does: "Accept what is chosen", run: () => decide(true), off: decided },
    { keys: ["Ctrl+Enter"], does: "The same from a text field", run: () => decide(true), typing: true, off: decided },
    { keys: ["x"], does: "Reject the item", run: () => decide(false), off: decided },
    { keys: ["ArrowLeft", "1"], does: "Take this field of A", run: () => take(0), off: sides.length < 2 },
    { keys: ["ArrowRight", "2"], does: "Take this field of B", run: () => take(1), off: sides.length < 2 },
    { keys: ["A"], does: "Take all of A", run: () => takeAll(0) },
    { keys: ["B"], does: "Take all of B", run: () => takeAll(1), off: sides.length < 2 },
    { keys: ["ArrowDown"], does: "Next field", run: () => step(1) },
    { keys: ["ArrowUp"], does: "Previous field", run: () => step(-1) },
    { keys: ["e"], does: "Put it right by hand", run: () => setEditing((on) => !on) },
    { keys: ["b"], does: "Draw another box", run: act.draw },
    { keys: ["z"], does: "Zoom to the boxes", run: act.zoom },
    { keys: ["0"], does: "Whole picture", run: () => stage.current?.fit() },
    { keys: ["+", "="], does: "Zoom in", run: () => stage.current?.zoomBy(1.6) },
    { keys: ["-"], does: "Zoom out", run: () => stage.current?.zoomBy(1 / 1.6) },
    { keys: ["o"], does: "Show the others of its class", run: act.others },
    { keys: ["j"], does: "Next, without deciding", run: () => away(nextToReview) },
    { keys: ["k"], does: "Previous", run: () => away(preceding) },
    { keys: ["h"], does: "History", run: () => setHistory(true) },
    { keys: ["Escape"], does: "Leave a text field, or editing", run: () => { editor.current?.give(); setEditing(false); document.activeElement?.blur(); }, typing: true },
  ]);
  const takenBox = final && sides.findIndex((one) => sameField(one.document, final, "box"));
  const marks = useMemo(() => [
    ...sides.map((one, i) => ({ id: LETTERS[i], box: one.document.box, kind: COLOURS[i], label: `${LETTERS[i]} ${one.name}${i === takenBox ? " ✓" : ""}` })),
    ...(others ? (seen?.others ?? []).map((one, i) => ({ id: `other-${i}`, box: one, kind: "other", label: "" })) : []),
  ], [sides, others, seen, takenBox]);

  if (error && !seen) return html`<${ErrorBanner} error=${error} retry=${reload} />`;
  if (!seen) return html`<${Loading} />`;
  const overlap = sides.length > 1 ? iou(sides[0].document.box, sides[1].document.box) : null;
  return html`
    <div class="an-screen an-review">
      <div class="an-stage">
        <${Picture} picture=${seen.picture} box=${editing || takenBox < 0 ? final?.box : null} editable=${editing} marks=${marks} control=${stage} editor=${editor}
          onBox=${(changed) => change({ box: changed })} onDrawing=${setDrawing} label=${`Picture ${seen.width} by ${seen.height} pixels`} />
      </div>
      <aside class="an-panel" aria-label="Review" onClick=${(event) => { if (event.detail > 0) event.target.closest("button")?.blur(); }}>
        <header class="an-top">
          <a class="an-back" href=${`/projects/${encodeURIComponent(project)}${search}`}>${about?.name ?? "Project"}</a>
          <h1 class="an-name" tabindex="-1" title=${seen.name}>${seen.name ?? `Item ${seen.id}`}</h1>
        </header>
        <div class="chips an-facts">
          <span class=${`chip an-is-${seen.status}`}>${STATUSES[seen.status] ?? seen.status}</span>
          ${overlap !== null && html`<span class="chip">IoU of the boxes ${fixed(overlap)}</span>`}
          ${differing.length > 0 && html`<span class="chip an-warn">${differing.length} ${differing.length > 1 ? "fields differ" : "field differs"}</span>`}
          ${sides.filter((one) => one.document.flag).map((one) => html`<span class="chip an-warn" data-flag>⚑ flagged by ${one.name}</span>`)}
          ${(seen.flags ?? []).map((flag) => html`<span class="chip an-warn">${flag}</span>`)}
          ${people.map((one) => html`<span class="chip an-here" role="status" data-here>${one.name} is here</span>`)}
        </div>
        <${ErrorBanner} error=${problem} close=${() => setProblem(null)} />
        ${decided && html`<div class="an-notice" role="status"><p>This was ${seen.status}${seen.decision?.note ? `: ${seen.decision.note}` : ""}.</p><button type="button" onClick=${reopen}>Reopen</button></div>`}
        ${conflict ? html`<${Merge} mine=${final} conflict=${{ theirs: whole(conflict.theirs), base: whole(conflict.base) }} done=${merge} />` : html`
          <div class="an-form">
            ${sides.length === 0 && html`<p class="soft">Nobody has annotated it. What the build proposes is below.</p>`}
            ${sides.length > 0 && html`
              <div class="an-sides" style=${{ "--sides": Math.min(sides.length, 2) }}>
                ${sides.map((one, i) => html`<div class="an-who"><span class=${`letter ${COLOURS[i]}`}>${LETTERS[i]}</span><span>${one.name}</span>${sides.length > 1 && html`
                  <button type="button" class="plain an-small" onClick=${() => takeAll(i)} title=${`Take all of ${LETTERS[i]}`}>all</button>`}</div>`)}
                ${rows.map(([name, word], i) => html`
                  <div class=${names("an-row-of", i === at_ && "now", differing.some(([one]) => one === name) && "differs")} data-field=${name} onClick=${() => setAt(i)}>
                    <h3>${word}</h3>
                    ${sides.map((one, side) => html`
                      <button type="button" class=${names("an-side", final && sameField(final, one.document, name) && "taken")} aria-pressed=${Boolean(final && sameField(final, one.document, name))}
                        onClick=${() => take(side, i)} data-side=${LETTERS[side]}><${Told} name=${name} document=${one.document} beside=${name === "description" && side > 0 ? sides[0].document : null} /></button>`)}
                  </div>`)}
              </div>`}
            ${final && editing && html`<${Edit} document=${final} change=${change} drawing=${drawing} act=${act} fields=${fields} shown=${{ others, count: box.others }} />`}
            ${final && !editing && sides.length > 1 && html`
              <section class="an-part an-final"><h3>What is accepted</h3><p>${final.description || html`<span class="soft">no description</span>`}</p>
                ${final.rejection && html`<p class="soft">${final.rejection.description}</p>`}</section>`}
          </div>`}
        <footer class="an-acts">
          <${Act} name="accept" kind="main" keys="Enter" disabled=${busy || decided || Boolean(conflict)} onClick=${() => decide(true)}>Accept</${Act}>
          <${Act} name="reject" kind="an-danger" keys="x" disabled=${busy || decided || Boolean(conflict)} onClick=${() => decide(false)}>Reject</${Act}>
          <${Act} name="edit" keys="e" pressed=${editing} onClick=${() => setEditing((on) => !on)}>Edit</${Act}>
          <span class="an-gap"></span>
          <${Act} name="previous" keys="k" onClick=${() => away(preceding)}>Back</${Act}>
          <${Act} name="next" keys="j" onClick=${() => away(nextToReview)}>Next</${Act}>
        </footer>
      </aside>
      ${history && html`<${HistoryDialog} item=${id} close=${() => { setHistory(false); reload(); }} />`}
    </div>`;
}

function Edit({ document, change, drawing, act, fields, shown }) {
  const top = useRef();
  useEffect(() => top.current.scrollIntoView({ block: "start" }), []);
  const variant = () => change({ rejection: document.rejection ? null : { description: document.description, kind: likelyKind(document) } });
  const kindTo = (kind) => change(withKind(document, kind));
  const all = () => change({ criteria: Object.fromEntries(CRITERIA.map(({ name }) => [name, true])) });
  return html`
    <div ref=${top}></div>
    <${BoxPart} document=${document} change=${change} field=${fields.label} editable=${true} drawing=${drawing} act=${act} shown=${shown} />
    <${DescriptionPart} document=${document} drafts=${[]} change=${change} field=${fields.description} />
    <${SubtaskPart} document=${document} change=${change} />
    <${RejectionPart} document=${document} change=${change} field=${fields.rejection} toggle=${variant} kindTo=${kindTo} nextKind=${() => kindTo(kindAfter(document.rejection.kind))} />
    <${CriteriaPart} document=${document} change=${change} all=${all} />`;
}

/** The annotations of an item in the order in which they were made: [{ name, document }]. */
function sidesOf(item) {
  return (item?.annotations ?? [])
    .filter((one) => one.state !== "skipped")
    .map((one) => ({ name: one.name, document: documentOf(one) }));
}

/** The smallest box around some. */
function around(boxes) {
  const found = boxes.filter(Boolean);
  if (!found.length) return null;
  return [0, 1, 2, 3].map((i) => Math[i < 2 ? "min" : "max"](...found.map((box) => box[i])));
}
