// Assign, import, export and publish.
import { html, useState } from "../core/dom.js";
import { at, query, send, useGet } from "../core/api.js";
import { number, plural } from "../core/format.js";
import { Dialog } from "../components/help.js";
import { ErrorBanner } from "../components/notice.js";

const LAYOUTS = [
  ["jsonl", "JSON lines", "one item a line with everybody's answers, without the pictures"],
  ["parquet", "Parquet", "the published benchmark's layout, pictures inside"],
  ["folder", "Folder", "pictures and a table that groundingme eval reads"],
  ["coco", "COCO", "boxes and descriptions as JSON, with the pictures"],
  ["tsv", "TSV", "one table with the pictures inside"],
  ["refcoco", "RefCOCO", "expressions as RefCOCO keeps them"],
  ["label-studio", "Label Studio", "tasks with their annotations"],
];
const WHICH = [
  ["accepted", "What reviewers accepted"],
  ["annotated", "That, and what was submitted"],
  ["all", "Everything as it stands"],
];

// Sends what starts a job, and hands the job over; { ask, error, busy }.
function useStart(started) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const ask = async (path, body) => {
    setBusy(true);
    try {
      started(await send("POST", path, body));
    } catch (failed) {
      setError(failed);
      setBusy(false);
    }
  };
  return { ask, error, busy };
}

export function ExportDialog({ project, close, started }) {
  const [layout, setLayout] = useState("jsonl");
  const [which, setWhich] = useState("accepted");
  const { ask, error, busy } = useStart(started);
  const make = () => ask(at`/api/projects/${project}/export`, { layout, which });
  return html`
    <${Dialog} title="Export" close=${close}>
      <label class="field an-which">Items<select value=${which} onChange=${(event) => setWhich(event.target.value)}>
        ${WHICH.map(([value, word]) => html`<option value=${value}>${word}</option>`)}</select></label>
      <fieldset class="an-options"><legend class="unseen">Layout</legend>${LAYOUTS.map(([value, word, about]) => html`
        <label class="choice"><input type="radio" name="layout" value=${value} checked=${layout === value} onChange=${() => setLayout(value)} />
          <span><b>${word}</b> <small>${about}</small></span></label>`)}</fieldset>
      <${ErrorBanner} error=${error} />
      <div class="an-row">${layout === "jsonl"
        ? html`<a class="button main" href=${`${at`/api/projects/${project}/export`}${query({ which })}`} download data-act="export">Download</a>`
        : html`<button type="button" class="main" onClick=${make} disabled=${busy} data-act="export">Make the file</button>`}
        <a class="button" href=${`${at`/api/projects/${project}/items.csv`}${query({ which })}`} download>As a table (CSV)</a></div>
    </${Dialog}>`;
}

export function ImportDialog({ project, close, started }) {
  const { ask, error, busy } = useStart(started);
  const take = (event) => {
    event.preventDefault();
    ask(at`/api/projects/${project}/import`, new FormData(event.target));
  };
  return html`
    <${Dialog} title="Import" close=${close}>
      <form class="an-new" onSubmit=${take}>
        <label class="field">File<input type="file" name="file" required accept=".json,.jsonl,.parquet" />
          <small>Label Studio's JSON, COCO, or this project's own JSON lines or parquet. It comes in as your work; nothing that is there is overwritten.</small></label>
        <${ErrorBanner} error=${error} />
        <button class="main" type="submit" disabled=${busy}>${busy ? "Sending …" : "Import"}</button>
      </form>
    </${Dialog}>`;
}

export function PublishDialog({ project, close, started }) {
  const { ask, error, busy } = useStart(started);
  const publish = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    ask(at`/api/projects/${project}/publish`, {
      name: form.get("name").trim(), license: form.get("license").trim(), summary: form.get("summary").trim(),
    });
  };
  return html`
    <${Dialog} title="Publish" close=${close}>
      <form class="an-new" onSubmit=${publish}>
        <p>What reviewers accepted becomes a data set in the studio's home folder: a table with the pictures, a card, and checks of every sample. What had the name before is replaced when the new one is complete.</p>
        <label class="field">Name<input name="name" required maxlength="100" placeholder="Street scenes" autofocus /></label>
        <label class="field">Licence<input name="license" maxlength="200" placeholder="CC-BY-4.0" /></label>
        <label class="field">Summary<textarea name="summary" rows="2"></textarea></label>
        <${ErrorBanner} error=${error} />
        <button class="main" type="submit" disabled=${busy}>Publish</button>
      </form>
    </${Dialog}>`;
}

/** Gives items of the list that is shown to somebody, or takes them back. */
export function AssignDialog({ project, filters, total, close, done }) {
  const people = useGet("/api/people?limit=1000");
  const [person, setPerson] = useState("");
  const [count, setCount] = useState(Math.min(Math.max(total, 1), 100));
  const [error, setError] = useState(null);
  const [said, setSaid] = useState("");
  const ask = (path, body, tell) => async (event) => {
    event.preventDefault();
    try {
      setSaid(tell(await send("POST", path, { person: Number(person), ...body })));
      setError(null);
      done();
    } catch (failed) {
      setError(failed);
    }
  };
  const give = ask(`${at`/api/projects/${project}/assign`}${query(filters)}`, { count }, ({ given }) => `${plural(given, "item")} given.`);
  const back = ask(at`/api/projects/${project}/take-back`, {}, ({ taken }) => `${plural(taken, "item")} taken back.`);
  return html`
    <${Dialog} title="Assign" close=${close}>
      <form class="an-new" onSubmit=${give}>
        <p>Gives somebody the first open items of the list that is shown (${number(total)}, with its filters). They stay theirs until they are taken back; what is done, or has enough people, is passed over.</p>
        <label class="field">Who<select name="person" required value=${person} onChange=${(event) => setPerson(event.target.value)}>
          <option value=""></option>${(people.data?.items ?? []).filter((one) => one.active).map((one) => html`<option value=${one.id}>${one.name}</option>`)}</select></label>
        <label class="field">How many<input name="count" type="number" min="1" max="10000" required value=${count} onInput=${(event) => setCount(Number(event.target.value))} /></label>
        <${ErrorBanner} error=${error ?? people.error} />
        ${said && html`<p role="status" data-said>${said}</p>`}
        <div class="an-row"><button class="main" type="submit" disabled=${!person} data-act="give">Give</button>
          <button type="button" disabled=${!person} onClick=${back} data-act="take-back" title="What was not begun">Take back</button></div>
      </form>
    </${Dialog}>`;
}
