// Jobs of the server: publishing, exports, imports. They go on whether somebody looks or not.
import { html, useEffect, useReducer, useState } from "../core/dom.js";
import { at, get, send } from "../core/api.js";
import { number, plural } from "../core/format.js";
import { ErrorBanner, say } from "../components/notice.js";

const AGAIN = 500;
const isAtWork = (job) => job?.state === "running" || job?.state === "cancelling";

/**
 * The job of a project that matters to a person: the one at work, or their own last one.
 * { job, error, watch(job), stop() }; `ended` is told of a job that ended while it was watched.
 */
export function useJob(project, person, ended) {
  const [job, setJob] = useState(null);
  const [error, setError] = useState(null);
  const [turn, again] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    setJob(null);
    if (!person) return undefined;
    const stop = new AbortController();
    get(at`/api/projects/${project}/jobs`, { signal: stop.signal }).then(
      // One that was started meanwhile is newer.
      ({ items }) => setJob((now) => now ?? items.find((one) => isAtWork(one) || one.person.id === person.id) ?? null),
      () => {}, // The page itself says what is wrong.
    );
    return () => stop.abort();
  }, [project, person?.id]);
  const take = (next) => {
    setError(null);
    setJob(next);
    if (isAtWork(next)) return;
    say(wordsOf(next));
    ended(next);
  };
  useEffect(() => {
    if (!isAtWork(job)) return undefined;
    const stop = new AbortController();
    const look = async () => {
      try {
        take(await get(at`/api/jobs/${job.id}`, { signal: stop.signal }));
      } catch (failed) {
        if (failed.name === "AbortError") return;
        if (failed.status === 404) { setError(null); setJob({ ...job, state: "lost" }); } else { setError(failed); again(); }
      }
    };
    const waiting = setTimeout(look, AGAIN);
    return () => { clearTimeout(waiting); stop.abort(); };
  }, [job, turn]);
  const stop = async () => {
    try {
      if (isAtWork(job)) take(await send("POST", at`/api/jobs/${job.id}/cancel`));
      else { await send("DELETE", at`/api/jobs/${job.id}`); setJob(null); setError(null); }
    } catch (failed) {
      // Of one that is gone there is nothing to stop or to forget.
      if (failed.status === 404) setJob(isAtWork(job) ? { ...job, state: "lost" } : null);
      else setError(failed);
    }
  };
  return { job, error, watch: setJob, stop };
}

const NAMES = { publish: "Publishing", export: "Export", import: "Import" };
const UNITS = { publish: "sample", export: "sample", import: "record" };

// What an answer of the API counts, in words: "records: 12, added: 11".
const counted = (answer) => Object.entries(answer)
  .filter(([, value]) => typeof value === "number" && value > 0)
  .map(([name, value]) => `${name.replaceAll("_", " ")}: ${value}`).join(", ");

function wordsOf({ kind, state, done, total, result, error }) {
  const far = total ? `${number(done)} of ${plural(total, UNITS[kind])}` : "";
  if (state === "running") return far || "reading";
  if (state === "cancelling") return "is being cancelled";
  if (state === "lost") return "The studio was started anew, and the job ended with the old one. Nothing half written is left; start it again.";
  if (state === "failed") return error.message;
  if (state === "cancelled") return kind === "import" ? `Cancelled after ${far || "no record"}. What came in by then stays; the same file can be imported again.` : "Cancelled. Nothing was written.";
  if (kind === "publish") return `${plural(result.samples, "sample")} published.${counted(result.left_out) && ` Left out: ${counted(result.left_out)}.`}`;
  if (kind === "export") return `${plural(result.samples, "sample")}, ${(result.bytes / 1e6).toFixed(1)} MB.`;
  return counted(result) || "Nothing was in it.";
}

/** A job as a strip of the page: how far it is, and what it gave. */
export function JobStrip({ job, error, stop, person }) {
  if (!job) return html`<${ErrorBanner} error=${error} />`;
  const isWorking = isAtWork(job);
  const by = job.person.id === person?.id ? "" : ` by ${job.person.name}`;
  return html`
    <section class=${`card pad an-job ${job.state === "failed" ? "an-failed" : ""}`} aria-label=${NAMES[job.kind]} data-job=${job.state}>
      <div class="an-row"><p class="an-grow"><b>${NAMES[job.kind]}</b> <span class="soft">${job.title}${by} · </span><span data-words>${wordsOf(job)}</span></p>
        ${job.state === "done" && job.file && html`<a class="button main an-small" href=${job.file} download data-act="download">Download</a>`}
        <button type="button" class="an-small" onClick=${stop} disabled=${job.state === "cancelling"} data-act="stop">${isWorking ? "Cancel" : "Close"}</button></div>
      ${isWorking && html`<progress max=${job.total || null} value=${job.total ? job.done : null} aria-label=${`${NAMES[job.kind]} of ${job.title}`}></progress>`}
      ${job.state === "done" && job.kind === "publish" && html`<pre>${job.result.folder}</pre>`}
      ${job.state === "done" && (job.result.examples ?? []).map((line) => html`<p class="soft">${line}</p>`)}
      ${error && html`<p class="an-warn" role="alert">${error.message}</p>`}
    </section>`;
}
