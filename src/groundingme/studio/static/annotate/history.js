// Every change of an item: who, when, what; each can be taken back.
import { html, useState } from "../core/dom.js";
import { at, send, useGet } from "../core/api.js";
import { time } from "../core/format.js";
import { Dialog } from "../components/help.js";
import { ErrorBanner, Loading } from "../components/notice.js";
import { whole } from "./annotation.js";
import { FIELDS, sameField } from "./keeper.js";
import { Told } from "./merge.js";

const inner = (told) => told?.document ?? told;

// Kind of the events that keep what came too late.
const LATE = "conflict";

function Change({ event, undo, busy }) {
  const [before, after] = [whole(inner(event.before)), whole(inner(event.after))];
  const changed = event.after ? FIELDS.filter(([name]) => !sameField(before, after, name)) : [];
  return html`
    <li class="an-event">
      <div class="an-row"><b>${event.name || "import"}</b><span class="chip">${event.kind}</span>
        <span class="soft an-grow">${time(event.time)}</span>
        ${undo && html`<button type="button" class="an-small" disabled=${busy} onClick=${undo}>Undo</button>`}</div>
      ${changed.map(([name, word]) => html`
        <div class="an-changed"><span class="soft">${word}</span><span><${Told} name=${name} document=${after} beside=${event.before && before} /></span></div>`)}
    </li>`;
}

export function HistoryDialog({ item, close }) {
  const { data, error, reload } = useGet(at`/api/items/${item}/history`);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  // Only the last change of what it changed can be taken back.
  const isLast = (event) => event.kind !== LATE && data.items.find((one) => one.subject === event.subject) === event;
  const undo = (event) => async () => {
    setBusy(true);
    try {
      await send("POST", at`/api/items/${item}/undo`, { event: event.id });
      setProblem(null);
      reload();
    } catch (failed) {
      setProblem(failed);
    } finally {
      setBusy(false);
    }
  };
  return html`
    <${Dialog} title="History" close=${close} wide>
      <${ErrorBanner} error=${error ?? problem} />
      ${!data && !error && html`<${Loading} />`}
      ${data && (data.items.length === 0 ? html`<p class="soft">Nothing was changed yet.</p>` : html`
        <ol class="an-history">${data.items.map((event) => html`
          <${Change} key=${event.id} event=${event} busy=${busy} undo=${isLast(event) && undo(event)} />`)}</ol>`)}
    </${Dialog}>`;
}
