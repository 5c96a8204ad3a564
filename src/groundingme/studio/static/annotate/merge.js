// Two versions of one annotation: one chooses field by field, and nothing is overwritten unseen.
import { html, names, useMemo, useState } from "../core/dom.js";
import { useKeys } from "../core/keys.js";
import { Key } from "../components/help.js";
import { told } from "./boxes.js";
import { FIELDS, sameField, taking } from "./keeper.js";
import { CRITERIA } from "./subtasks.js";
import { WordDiff } from "./panel.js";

const Said = ({ value }) => (value === true ? html`<b class="right">yes</b>` : value === false ? html`<b class="wrong">no</b>` : html`<b>–</b>`);

/** A field of an annotation, as it is read. */
export function Told({ name, document, beside }) {
  if (!document) return html`<span class="soft">–</span>`;
  if (name === "box") return html`<span class="mono">${told(document.box)}</span>`;
  if (name === "subtask") return [document.subtask_l1, document.subtask_l2].filter(Boolean).join(" / ") || html`<span class="soft">none</span>`;
  if (name === "criteria") {
    return html`<span class="an-said">${CRITERIA.map(({ name: one, title }) => html`<span>${title} <${Said} value=${document.criteria?.[one]} /></span>`)}</span>`;
  }
  if (name === "rejection") {
    return document.rejection
      ? html`<span><${WordDiff} before=${document.description} after=${document.rejection.description} /> <small>(${document.rejection.kind || "no kind"})</small></span>`
      : html`<span class="soft">none</span>`;
  }
  const text = document[name];
  if (!text) return html`<span class="soft">empty</span>`;
  return beside && beside[name] !== text ? html`<${WordDiff} before=${beside[name] ?? ""} after=${text} />` : text;
}

/** Per field: "mine" or "theirs". What only one of them changed is taken; else it is mine. */
export function proposals(mine, theirs, base) {
  return Object.fromEntries(FIELDS.map(([name]) =>
    [name, sameField(mine, base, name) ? "theirs" : "mine"]));
}

/** The document that a choice gives. */
export const merged = (mine, theirs, choice) =>
  FIELDS.reduce((document, [name]) => taking(document, name, choice[name] === "mine" ? mine : theirs), mine);

/** Takes the place of the form while two versions wait for a choice. */
export function Merge({ mine, conflict, done, title = "Changed elsewhere", whose = "Theirs" }) {
  const { theirs, base } = conflict;
  const [choice, choose] = useState(() => proposals(mine, theirs, base));
  const [at, setAt] = useState(0);
  const differing = useMemo(() => FIELDS.filter(([name]) => !sameField(mine, theirs, name)), [mine, theirs]);
  const finish = () => done(merged(mine, theirs, choice));
  const pick = (side, i = at) => {
    choose({ ...choice, [differing[i][0]]: side });
    setAt(Math.min(i + 1, differing.length - 1));
  };
  const step = (by) => setAt((now) => Math.min(Math.max(now + by, 0), differing.length - 1));
  useKeys(title, [
    { keys: ["ArrowLeft", "1"], does: "Take mine", run: () => pick("mine") },
    { keys: ["ArrowRight", "2"], does: "Take the other", run: () => pick("theirs") },
    { keys: ["ArrowDown", "j"], does: "Next field", run: () => step(1) },
    { keys: ["ArrowUp", "k"], does: "Previous field", run: () => step(-1) },
    { keys: ["Enter", "Ctrl+Enter"], does: "Save this", run: finish, typing: true },
  ], { modal: true });
  return html`
    <section class="an-merge" role="group" aria-label=${title} data-merge>
      <h2>${title}</h2>
      <p>This was changed and saved elsewhere while you worked on it. Nothing is lost: choose what is to stay.</p>
      ${differing.map(([name, word], i) => html`
        <fieldset class=${names("an-clash", i === at && "now")} data-field=${name}>
          <legend>${word}</legend>
          ${[["mine", "Mine", mine], ["theirs", whose, theirs]].map(([side, who, document]) => html`
            <label class=${names("an-side", choice[name] === side && "taken")}>
              <input type="radio" name=${`merge-${name}`} checked=${choice[name] === side} onChange=${() => pick(side, i)} />
              <b>${who}</b><span><${Told} name=${name} document=${document} beside=${base} /></span>
            </label>`)}
          <div class="an-side an-base"><b>Before</b><span><${Told} name=${name} document=${base} /></span></div>
        </fieldset>`)}
      <div class="an-row an-end">
        <span class="soft"><${Key} name="ArrowLeft" /> mine <${Key} name="ArrowRight" /> other</span>
        <button type="button" class="main" onClick=${finish} data-act="merge">Save this <${Key} name="Enter" /></button>
      </div>
    </section>`;
}
