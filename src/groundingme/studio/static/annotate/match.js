// "Does anything match?": one picture, one description, two keys. It measures how well people
// themselves reject, which is what a model's rejection accuracy is read against.
import { html, useEffect, useRef, useState } from "../core/dom.js";
import { at, get, query, send, useGet } from "../core/api.js";
import { number } from "../core/format.js";
import { useKeys } from "../core/keys.js";
import { useSession } from "../core/session.js";
import { Key } from "../components/help.js";
import { ErrorBanner, Loading, say, useTitle } from "../components/notice.js";
import { prefetchPicture, viewerKeys } from "../components/viewer.js";
import { MatchResult } from "./dashboard.js";
import { NeedsPerson } from "./person.js";
import { Picture } from "./picture.js";

export default function MatchPage(place) {
  const { person } = useSession();
  return person ? html`<${Questions} ...${place} />` : html`<${NeedsPerson} />`;
}

async function question(project, after) {
  const { item } = await get(`${at`/api/projects/${project}/next`}${query({ after })}`);
  if (item) prefetchPicture(item.picture);
  return item;
}

function Questions({ parts: [, project] }) {
  const about = useGet(at`/api/projects/${project}`);
  const [item, setItem] = useState(undefined);
  const [error, setError] = useState(null);
  const [answered, setAnswered] = useState(0);
  const [busy, setBusy] = useState(false);
  const sending = useRef(false);
  const next = useRef(null);
  const since = useRef(performance.now());
  const stage = useRef(null);
  useTitle("Does anything match?");

  const show = (found) => {
    setItem(found);
    since.current = performance.now();
    next.current = found ? question(project, found.id).catch(() => undefined) : null;
  };
  const begin = () => question(project, null).then((found) => { setError(null); show(found); }, setError);
  useEffect(() => { begin(); }, [project]);

  const answer = async (match) => {
    if (sending.current || !item) return;
    sending.current = true;
    setBusy(true);
    try {
      const seconds = Math.round((performance.now() - since.current) / 100) / 10;
      await send("POST", at`/api/items/${item.id}/submit`, {
        version: item.mine.version, annotation: { match, seconds },
      });
      setError(null);
      // Prefetched; where that failed it is asked again, and where that fails the page says so.
      let ready = await next.current;
      if (ready === undefined) ready = await question(project, item.id).catch(setError);
      // Counted when the next question is there: from then on a key answers that one.
      setAnswered((n) => n + 1);
      say(match ? "Something matches" : "Nothing matches");
      show(ready);
    } catch (failed) {
      setError(failed);
    } finally {
      sending.current = false;
      setBusy(false);
    }
  };
  useKeys("Does anything match?", [
    { keys: ["y", "ArrowRight"], does: "Something matches", run: () => answer(true), off: !item },
    { keys: ["n", "ArrowLeft"], does: "Nothing matches", run: () => answer(false), off: !item },
    ...viewerKeys(stage),
  ]);
  if (item === undefined) return error ? html`<${ErrorBanner} error=${error} retry=${begin} />` : html`<${Loading} />`;
  const total = about.data?.counts.total;
  return html`
    <div class="an-match">
      <header class="an-row">
        <a class="an-back" href=${`/projects/${encodeURIComponent(project)}`}>${about.data?.name ?? "Project"}</a>
        <h1 class="an-name" tabindex="-1">Does anything match?</h1>
        <span class="soft" role="status" data-progress>${number(answered)} answered${total ? ` · ${number(total)} in all` : ""}</span>
      </header>
      <${ErrorBanner} error=${error} close=${() => setError(null)} />
      ${item ? html`
        <div class="an-stage"><${Picture} picture=${item.picture} control=${stage} map=${false} label="The picture" /></div>
        <p class="an-question" data-question>${item.description}</p>
        <div class="an-answers">
          <button type="button" onClick=${() => answer(false)} disabled=${busy} data-act="no"><${Key} name="n" /> Nothing matches</button>
          <button type="button" class="main" onClick=${() => answer(true)} disabled=${busy} data-act="yes">Something matches <${Key} name="y" /></button>
        </div>` : html`
        <div class="an-done" data-done><h2>That was the last one</h2><${MatchResult} project=${project} /></div>`}
    </div>`;
}
