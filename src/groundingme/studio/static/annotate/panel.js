// The parts of the form beside the picture. Each is given the document and `change(patch)`.
import { html, names, useMemo, useRef } from "../core/dom.js";
import { fixed } from "../core/format.js";
import { Key } from "../components/help.js";
import { told } from "./boxes.js";
import { diffWords } from "./diff.js";
import { CRITERIA, KINDS, SUBTASKS, likelyKind } from "./subtasks.js";

/** A button with its key on it. */
export function Act({ name, onClick, keys, kind = "", pressed, disabled, title, children }) {
  return html`
    <button type="button" class=${names("an-act", kind)} onClick=${onClick} aria-pressed=${pressed}
      disabled=${disabled} title=${title} data-act=${name}>
      <span>${children}</span>${keys && html`<${Key} name=${keys} />`}
    </button>`;
}

/** A heading with the key that leads there. */
export const Head = ({ id, keys, children, aside }) => html`
  <h3 class="an-head" id=${id}><span>${children}</span>${keys && html`<${Key} name=${keys} />`}<span class="an-aside">${aside}</span></h3>`;

/** The words of two texts, with what was changed marked, for the eye and for a screen reader. */
export function WordDiff({ before, after }) {
  const pieces = useMemo(() => diffWords(before, after), [before, after]);
  return html`
    <p class="an-diff" data-diff>${pieces.map(({ text, side }) => {
      const rest = text.trimStart();
      const space = text.slice(0, text.length - rest.length);
      return side === "both" ? text : [space, side === "before" ? html`<del>${rest}</del>` : html`<ins>${rest}</ins>`];
    })}</p>`;
}

/** The box in numbers, and what can be done with it. */
export function BoxPart({ document, editable, drawing, act, shown, change, field }) {
  const { box, label } = document;
  return html`
    <section class="an-part" aria-labelledby="an-box">
      <${Head} id="an-box" aside=${html`<output data-box-text>${told(box)}</output>`}>Box</${Head}>
      <div class="an-row">
        ${editable && html`<${Act} name="draw" keys="b" pressed=${drawing} onClick=${act.draw}>${drawing ? "Drag on the picture" : "Draw"}</${Act}>`}
        <${Act} name="zoom" keys="z" onClick=${act.zoom} disabled=${!box} title="Zoom to the box">Zoom</${Act}>
        ${act.others && html`<${Act} name="others" keys="o" pressed=${shown.others} onClick=${act.others}
          disabled=${shown.count === 0} title="Other objects of its class">${shown.count} other${shown.count === 1 ? "" : "s"}</${Act}>`}
        ${editable && html`<${Act} name="clear" keys="x" onClick=${act.clear} disabled=${!box} title="No box">Remove</${Act}>`}
      </div>
      <label class="an-class"><span>Class</span> <${Key} name="l" />
        <input ref=${field} value=${label} disabled=${!editable} maxlength="200" onInput=${(event) => change({ label: event.target.value })} /></label>
    </section>`;
}

/** The description, and the drafts that models wrote. */
export function DescriptionPart({ document, drafts, change, nextDraft, field }) {
  const at = drafts.indexOf(document.description);
  return html`
    <section class="an-part" aria-labelledby="an-description">
      <${Head} id="an-description" keys="d" aside=${drafts.length > 0 && html`
        <button type="button" class="plain an-small" onClick=${nextDraft} data-act="draft" title="Take the next draft">
          ${at < 0 ? "Own words" : `Draft ${at + 1}`} of ${drafts.length} <${Key} name="a" /></button>`}>Description</${Head}>
      <textarea ref=${field} rows="3" aria-labelledby="an-description" value=${document.description} spellcheck=${true}
        onInput=${(event) => change({ description: event.target.value })}></textarea>
    </section>`;
}

const GROUPS = [...new Set(SUBTASKS.map(({ l1 }) => l1))].map((l1) => [l1, SUBTASKS.filter((row) => row.l1 === l1)]);

/** Eight subtasks, chosen by a digit. */
export function SubtaskPart({ document, change }) {
  const is = (row) => row.l1 === document.subtask_l1 && row.l2 === document.subtask_l2;
  return html`
    <section class="an-part" aria-labelledby="an-subtask">
      <${Head} id="an-subtask">Subtask</${Head}>
      <div class="an-grid">
        ${GROUPS.map(([l1, rows]) => html`
          <div class=${`an-group an-of-${rows.length}`} role="group" aria-label=${l1}><small aria-hidden="true">${l1}</small>
            ${rows.map((row) => html`
              <button type="button" class="an-choice" aria-pressed=${is(row)} title=${row.tests} data-subtask=${`${row.l1}/${row.l2}`}
                onClick=${() => change({ subtask_l1: row.l1, subtask_l2: row.l2 })}><kbd>${row.key}</kbd><span>${row.l2}</span></button>`)}
          </div>`)}
      </div>
    </section>`;
}

/** The variant that nothing matches, with the changed words marked. */
export function RejectionPart({ document, change, field, toggle, kindTo, nextKind }) {
  const { rejection } = document;
  const put = (patch) => change({ rejection: { kind: likelyKind(document), ...rejection, ...patch } }, `rejection.${Object.keys(patch)}`);
  return html`
    <section class="an-part" aria-labelledby="an-rejection">
      <${Head} id="an-rejection" keys="v" aside=${html`
        <button type="button" class="plain an-small" onClick=${toggle} data-act="variant">${rejection ? "Leave it out" : "Write one"}</button>`}>
        Rejection variant</${Head}>
      <textarea ref=${field} rows="2" aria-labelledby="an-rejection" value=${rejection?.description ?? ""}
        class=${rejection ? "" : "an-waiting"} aria-hidden=${!rejection} tabindex=${rejection ? 0 : -1}
        placeholder="The same description with one thing untrue"
        onInput=${(event) => put({ description: event.target.value })}></textarea>
      ${rejection ? html`
        <${WordDiff} before=${document.description} after=${rejection.description} />
        <div class="an-row an-kinds" role="group" aria-label="What was changed">
          ${KINDS.map((kind) => html`<button type="button" class="an-small" aria-pressed=${rejection.kind === kind} data-kind=${kind}
            onClick=${() => kindTo(kind)}>${kind}</button>`)}
          <button type="button" class="plain an-small" onClick=${nextKind} title="Next kind" aria-label="Next kind of change"><${Key} name="c" /></button>
        </div>` : html`<p class="soft an-none">None. <kbd>v</kbd> starts one from the description.</p>`}
    </section>`;
}

const ANSWERS = [[true, "yes"], [false, "no"], [null, "not said"]];

/** The four criteria: not said, yes, no. */
export function CriteriaPart({ document, change, all }) {
  const put = (name, value) => change({ criteria: { ...document.criteria, [name]: value } }, `criteria.${name}`);
  return html`
    <section class="an-part" aria-labelledby="an-criteria">
      <${Head} id="an-criteria" aside=${html`<button type="button" class="plain an-small" onClick=${all} data-act="all">All hold <${Key} name="t" /></button>`}>Criteria</${Head}>
      <div class="an-criteria">
        ${CRITERIA.map(({ name, key, title, asks }) => {
          const value = document.criteria[name];
          const [, word] = ANSWERS.find(([answer]) => answer === value);
          return html`
            <button type="button" class=${names("an-criterion", value === true && "yes", value === false && "no")}
              data-criterion=${name} title=${asks} onClick=${() => put(name, nextAnswer(value))}>
              <kbd aria-hidden="true">${key}</kbd><span>${title}</span>
              <b aria-hidden="true">${value === true ? "✓ yes" : value === false ? "✗ no" : "–"}</b><span class="unseen">${word}</span>
            </button>`;
        })}
      </div>
    </section>`;
}

/** Not said, yes, no, and not said again. */
export const nextAnswer = (value) => (value === null ? true : value === true ? false : null);

/** What the verifying models said, and where they saw it. */
export function VerdictPart({ verdicts, shown, toggle }) {
  if (!verdicts.length) return null;
  return html`
    <section class="an-part" aria-labelledby="an-verdicts">
      <${Head} id="an-verdicts" keys="i" aside=${html`<button type="button" class="plain an-small" aria-pressed=${shown} onClick=${toggle}>Show boxes</button>`}>Models</${Head}>
      <ul class="an-verdicts">
        ${verdicts.map((one, i) => html`
          <li><span class=${`an-key c${i % 6}`} aria-hidden="true"></span><span class="an-grow">${one.model}</span>
            <span class="soft">${one.outcome}${one.outcome === "box" ? ` · IoU ${fixed(one.iou)}` : ""}</span>
            <b class=${one.agrees ? "right" : "wrong"}>${one.agrees ? "✓ agrees" : "✗ differs"}</b></li>`)}
      </ul>
    </section>`;
}

export function NotePart({ document, change, field }) {
  return html`
    <section class="an-part" aria-labelledby="an-note">
      <${Head} id="an-note" keys="n">Note</${Head}>
      <textarea ref=${field} rows="1" aria-labelledby="an-note" value=${document.note}
        onInput=${(event) => change({ note: event.target.value })}></textarea>
    </section>`;
}

const STATES = {
  saved: ["Saved", "right"], unsaved: ["…", "soft"], saving: ["Saving", "soft"],
  offline: ["Kept in this browser", "an-warn"], refused: ["Not saved", "wrong"], conflict: ["Changed elsewhere", "an-warn"],
  decided: ["Decided meanwhile", "an-warn"],
};

/** Whether the work is on the server. */
export function SaveState({ state, problem }) {
  const [word, kind] = STATES[state];
  // A screen reader is told of trouble alone, not of every save.
  const quiet = ["saved", "unsaved", "saving"].includes(state);
  return html`<span class=${names("an-state", kind)} data-state=${state} role=${quiet ? null : "status"} title=${problem}>${word}</span>`;
}
