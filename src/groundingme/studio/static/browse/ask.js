// Try it: a picture, a description, a model, and its answer.
import { html, names, useEffect, useMemo, useRef, useState } from "../core/dom.js";
import { at, query, send, useGet } from "../core/api.js";
import { boxText, percent, seconds, sizeOf } from "../core/format.js";
import { useKeys } from "../core/keys.js";
import { setQuery } from "../core/router.js";
import { Thumb } from "../components/card.js";
import { Icon } from "../components/icons.js";
import { ErrorBanner, say, useTitle } from "../components/notice.js";
import { Reply, linkSpans } from "../components/reply.js";
import { Viewer, viewerKeys } from "../components/viewer.js";

const MOST_BYTES = 64 * 2 ** 20;
const OFFERED = 12;

// A picture of this machine, with an address that lives as long as it is shown.
function useUpload() {
  const [upload, setUpload] = useState(null);
  useEffect(() => () => { if (upload) URL.revokeObjectURL(upload.src); }, [upload]);
  return [upload, (file) => setUpload(file && { file, src: URL.createObjectURL(file) })];
}

function Offered({ set, take }) {
  const { data, error } = useGet(set ? at`/api/datasets/${set}/samples` + query({ limit: OFFERED }) : null, { final: true });
  if (error) return html`<${ErrorBanner} error=${error} />`;
  return html`
    <ul class="offered" aria-label="Pictures to pick from">${(data?.items ?? []).filter((one) => one.picture).map((one) => html`
      <li key=${one.id}><button type="button" class="plain" title=${one.description} aria-label=${`Picture ${one.id}: ${one.description}`} onClick=${() => take(one)}><${Thumb} picture=${one.picture} side=${160} /></button></li>`)}</ul>`;
}

function Answer({ answer, lit, onLit, open }) {
  const spans = (field) => linkSpans(answer.spans, field, [{ id: "answer", box: answer.box }]);
  const head = {
    box: html`<strong>It is here.</strong> <button type="button" class="plain mono" onClick=${() => open(answer.box)}>${boxText(answer.box)}</button> <small>${sizeOf(answer.box)}</small>`,
    rejected: html`<strong>Nothing here matches.</strong>`,
    unparsed: html`<strong>The reply cannot be read as an answer.</strong>`,
    failed: html`<strong>There is no reply.</strong> ${[answer.failure, answer.detail].filter(Boolean).join(": ")}`,
  }[answer.outcome];
  return html`
    <section class=${names("answer card pad", answer.outcome)} aria-label="Answer">
      <p class="headline">${head}</p>
      <p class="soft">${[answer.confidence != null && `${percent(answer.confidence)} % sure`, answer.latency != null && seconds(answer.latency), answer.model].filter(Boolean).join(", ")}</p>
      ${answer.warning && html`<p class="notes">${answer.warning}</p>`}
      ${answer.reasoning && html`<h2>Reasoning</h2><${Reply} text=${answer.reasoning} spans=${spans("reasoning")} lit=${lit} onLit=${onLit} onOpen=${open} label="Reasoning" />`}
      <h2>Reply</h2><${Reply} text=${answer.reply ?? ""} spans=${spans("text")} lit=${lit} onLit=${onLit} onOpen=${open} label="Reply" />
    </section>`;
}

export default function AskPage({ query: asked }) {
  const [upload, setUpload] = useUpload();
  const key = upload ? "" : asked.get("key") ?? "";
  const model = asked.get("model") ?? "";
  const [text, setText] = useState(asked.get("description") ?? "");
  const [set, setSet] = useState(null);
  const [answer, setAnswer] = useState(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const [over, setOver] = useState(false);
  const [lit, setLit] = useState(null);
  const control = useRef(null);
  const field = useRef();
  const pick = useRef();
  const models = useGet("/api/models", { final: true });
  const sets = useGet("/api/datasets", { final: true });
  const from = set ?? sets.data?.items[0]?.name ?? "";
  useTitle("Try it");

  const take = (file) => {
    if (!file) return;
    setAnswer(null);
    if (!file.type.startsWith("image/")) { setError(new Error(`expected a picture, got ${file.name || "a file"} (${file.type || "unknown type"})`)); return; }
    if (file.size > MOST_BYTES) { setError(new Error(`expected at most 64 MiB, got ${(file.size / 2 ** 20).toFixed(0)} MiB`)); return; }
    setError(null);
    setUpload(file);
    setQuery({ key: "" });
    field.current.focus();
  };
  const offer = (sample) => {
    setUpload(null);
    setAnswer(null);
    setError(null);
    setText(sample.description);
    setQuery({ key: sample.picture, description: sample.description });
    field.current.focus();
  };
  useEffect(() => {
    const paste = (event) => take([...event.clipboardData.files].find((file) => file.type.startsWith("image/")));
    addEventListener("paste", paste);
    return () => removeEventListener("paste", paste);
  }, []);

  const latest = useRef(0);
  const ask = async (event) => {
    event?.preventDefault();
    if (busy || !(upload || key) || !text.trim()) return;
    const turn = (latest.current += 1);
    setBusy(true);
    setError(null);
    const form = new FormData();
    form.set("description", text);
    if (model) form.set("model", model);
    if (upload?.key || key) form.set("key", upload?.key ?? key);
    else form.set("picture", upload.file);
    try {
      const found = await send("POST", "/api/ask", form);
      if (turn !== latest.current) return;
      if (upload) upload.key = found.key;
      setAnswer(found);
      setQuery({ description: text });
      say(found.outcome === "box" ? `A box: ${boxText(found.box)}` : found.outcome === "rejected" ? "Nothing here matches" : found.outcome);
    } catch (problem) {
      setError(problem);
      setAnswer(null);
    } finally {
      setBusy(false);
    }
  };
  const open = (box) => control.current?.zoomTo(box);
  const boxes = useMemo(() => {
    if (!answer) return [];
    const main = [{ id: "answer", box: answer.box, label: "answer", kind: "c0" }];
    const told = ["reasoning", "text"].flatMap((name) => linkSpans(answer.spans, name, main)).filter((span) => span.id !== "answer");
    return [...main, ...told.map((span) => ({ id: span.id, box: span.box, label: "in the text", kind: "other", quiet: true }))].filter((one) => one.box);
  }, [answer]);
  useKeys("Try it", [
    { keys: ["Ctrl+Enter"], does: "Ask", typing: true, run: () => ask() },
    { keys: ["/"], does: "Write the description", run: () => field.current.focus() },
    { keys: ["o"], does: "Open a picture", run: () => pick.current.click() },
    { keys: ["a"], does: "Zoom to the answer", off: !answer?.box, run: () => open(answer.box) },
  ]);
  useKeys("Picture", viewerKeys(control));
  const drop = (event) => { event.preventDefault(); setOver(false); take(event.dataTransfer.files[0]); };
  const has = Boolean(upload || key);
  const offered = models.data?.items ?? [];
  return html`
    <div class="stagepage askpage" onDragOver=${(event) => { event.preventDefault(); setOver(true); }} onDragLeave=${(event) => { if (!event.currentTarget.contains(event.relatedTarget)) setOver(false); }} onDrop=${drop}>
      <div class=${names("stagebox", over && "over")}>
        ${has
          ? html`<${Viewer} key="viewer" picture=${key || null} src=${upload?.src} boxes=${boxes} lit=${lit} onLit=${setLit} control=${control} label="Your picture" />
              ${answer?.outcome === "rejected" && html`<p class="nomatch" aria-hidden="true">Nothing here matches</p>`}`
          : html`<button type="button" class="dropzone" onClick=${() => pick.current.click()}><${Icon} name="picture" /><strong>Drop a picture here</strong><span class="soft">or paste one, or click to choose a file</span></button>`}
      </div>
      <div class="panel">
        <h1 tabindex="-1">Try it</h1>
        <p class="soft">Describe one thing in the picture. The model says where it is, or that nothing matches.</p>
        <form class="askform" onSubmit=${ask}>
          <label class="field">Description<textarea ref=${field} rows="3" maxlength="4000" placeholder="the red mug left of the lamp" value=${text} onInput=${(event) => setText(event.target.value)}></textarea></label>
          <label class="field">Model<select value=${model || offered[0]?.name} onChange=${(event) => setQuery({ model: event.target.value })}>${offered.map((one) => html`<option>${one.name}</option>`)}</select></label>
          <div class="line">
            <button class="main" type="submit" disabled=${busy || !has || !text.trim()}>${busy ? "Asking …" : "Ask"}</button><span class="wide-only soft"><kbd>Ctrl</kbd> <kbd>Enter</kbd></span>
            <button type="button" class="end" onClick=${() => pick.current.click()}><${Icon} name="picture" />${has ? "Another picture" : "Choose a picture"}</button>
            <input ref=${pick} type="file" accept="image/*" hidden aria-label="Picture" onChange=${(event) => { take(event.target.files[0]); event.target.value = ""; }} />
          </div>
        </form>
        <${ErrorBanner} error=${error ?? models.error} close=${error && (() => setError(null))} />
        ${answer && html`<${Answer} answer=${answer} lit=${lit} onLit=${setLit} open=${open} />`}
        <section><h2>Or pick one</h2>
          <label class="field">Data set<select value=${from} onChange=${(event) => setSet(event.target.value)}>
            <option value="">none</option>${(sets.data?.items ?? []).map((one) => html`<option>${one.name}</option>`)}</select></label>
          ${from && html`<${Offered} key=${from} set=${from} take=${offer} />`}
        </section>
      </div>
    </div>`;
}
