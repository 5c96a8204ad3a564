// Import, export and publish.
import { html, useState } from "../core/dom.js";
import { at, send } from "../core/api.js";
import { plural } from "../core/format.js";
import { Dialog } from "../components/help.js";
import { ErrorBanner } from "../components/notice.js";

const LAYOUTS = [
  ["jsonl", "JSON lines", "one sample a line; groundingme eval reads it"],
  ["parquet", "Parquet", "the same with the pictures inside"],
  ["label-studio", "Label Studio", "tasks with their annotations, as JSON"],
  ["coco", "COCO", "boxes and descriptions, as JSON"],
];

export function ExportDialog({ project, close }) {
  const [layout, setLayout] = useState("jsonl");
  return html`
    <${Dialog} title="Export" close=${close}>
      <fieldset class="an-options"><legend class="unseen">Layout</legend>${LAYOUTS.map(([value, word, about]) => html`
        <label class="choice"><input type="radio" name="layout" value=${value} checked=${layout === value} onChange=${() => setLayout(value)} />
          <span><b>${word}</b> <small>${about}</small></span></label>`)}</fieldset>
      <a class="button main" href=${`${at`/api/projects/${project}/export`}?layout=${layout}`} download data-act="export">Download</a>
    </${Dialog}>`;
}

/** What an answer of the API counts, in words: "imported: 12, left out: 1". */
const counted = (answer) => Object.entries(answer ?? {})
  .filter(([, value]) => typeof value === "number")
  .map(([name, value]) => `${name.replaceAll("_", " ")}: ${value}`).join(", ");

export function ImportDialog({ project, close, done }) {
  const [error, setError] = useState(null);
  const [answer, setAnswer] = useState(null);
  const [busy, setBusy] = useState(false);
  const take = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      setAnswer(await send("POST", at`/api/projects/${project}/import`, new FormData(event.target)));
      setError(null);
    } catch (failed) {
      setError(failed);
    } finally {
      setBusy(false);
    }
  };
  return html`
    <${Dialog} title="Import" close=${answer ? done : close}>
      <form class="an-new" onSubmit=${take}>
        <label class="field">File<input type="file" name="file" required accept=".json,.jsonl,.parquet" />
          <small>Label Studio's JSON, COCO, or this project's own JSON lines or parquet. Work of people is never overwritten.</small></label>
        <${ErrorBanner} error=${error} />
        ${answer && html`<p role="status">${counted(answer) || "Done."}</p>`}
        <button class="main" type="submit" disabled=${busy}>${busy ? "Reading …" : "Import"}</button>
      </form>
    </${Dialog}>`;
}

export function PublishDialog({ project, close }) {
  const [error, setError] = useState(null);
  const [answer, setAnswer] = useState(null);
  const [busy, setBusy] = useState(false);
  const publish = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    setBusy(true);
    try {
      setAnswer(await send("POST", at`/api/projects/${project}/publish`, { out: form.get("out").trim(), name: form.get("name").trim() }));
      setError(null);
    } catch (failed) {
      setError(failed);
    } finally {
      setBusy(false);
    }
  };
  return html`
    <${Dialog} title="Publish" close=${close}>
      <form class="an-new" onSubmit=${publish}>
        <p>Accepted items become a data set in a folder of its own: a table with the pictures, a card, and checks of every sample.</p>
        <label class="field">Folder<input name="out" required maxlength="500" placeholder="benchmarks/first" spellcheck=${false} /></label>
        <label class="field">Name<input name="name" required maxlength="200" placeholder="My benchmark" /></label>
        <${ErrorBanner} error=${error} />
        ${answer && html`<p role="status" class="an-notice">${answer.samples !== undefined && `${plural(answer.samples, "sample")} published. `}<code>${answer.path ?? answer.folder ?? ""}</code></p>`}
        <button class="main" type="submit" disabled=${busy}>${busy ? "Writing …" : "Publish"}</button>
      </form>
    </${Dialog}>`;
}
