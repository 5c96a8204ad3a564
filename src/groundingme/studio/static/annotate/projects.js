// All projects, and making one.
import { html, useState } from "../core/dom.js";
import { get, send, useGet } from "../core/api.js";
import { day, number, plural } from "../core/format.js";
import { useKeys } from "../core/keys.js";
import { navigate } from "../core/router.js";
import { useSession } from "../core/session.js";
import { Dialog, Key } from "../components/help.js";
import { Empty, ErrorBanner, Loading, useTitle } from "../components/notice.js";
import { Counts } from "./counts.js";

export const KINDS = {
  build: "From a build",
  data: "From a data set",
  images: "Pictures without proposals",
  presence: "Does anything match?",
};

const addressOf = (project) => `/projects/${encodeURIComponent(project.id)}`;

export default function ProjectsPage() {
  const { data, error, reload } = useGet("/api/projects?limit=200");
  const { person, readonly } = useSession();
  const [making, setMaking] = useState(false);
  useTitle("Projects");
  const may = person && !readonly && person.role === "admin";
  useKeys("Projects", [{ keys: ["n"], does: "New project", run: () => setMaking(true), off: !may }]);
  const items = data?.items ?? [];
  return html`
    <div class="page">
      <div class="head">
        <div><h1 tabindex="-1">Annotate and review</h1><p>Proposals become samples here: a box, a description, its rejection, and two people who agree.</p></div>
        <a class="button" href="/people">People</a>
        ${may && html`<button type="button" class="main" onClick=${() => setMaking(true)} data-act="new">New project <${Key} name="n" /></button>`}
      </div>
      <${ErrorBanner} error=${error} retry=${reload} />
      ${!data && !error && html`<${Loading} />`}
      ${data && items.length === 0 && html`
        <${Empty} title="No project yet"><p>A project is made from the folder of a build, from a folder of pictures, or from a data set.</p>
          ${!person && html`<p class="soft">Say who you are first: the button at the top right.</p>`}</${Empty}>`}
      <ul class="an-projects">${items.map((one) => html`<${Card} key=${one.id} project=${one} />`)}</ul>
      ${making && html`<${NewProject} close=${() => setMaking(false)} />`}
    </div>`;
}

function Card({ project }) {
  return html`
    <li class="card pad an-project">
      <h2><a href=${addressOf(project)}>${project.name}</a></h2>
      <p class="soft">${KINDS[project.kind] ?? project.kind}${project.overlap > 1 && ` · ${plural(project.overlap, "person", "people")} an item`}${project.blind && " · blind"} · ${day(project.created)}</p>
      <${Counts} counts=${project.counts} />
      <p class="soft an-source" title=${project.source}>${project.source}</p>
    </li>`;
}

function NewProject({ close }) {
  const datasets = useGet("/api/datasets?limit=200");
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const make = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    setBusy(true);
    try {
      const kind = form.get("kind");
      const overlap = Number(form.get("overlap"));
      const made = await send("POST", "/api/projects", {
        name: form.get("name").trim(), source: form.get("source").trim(), overlap,
        // With one person an item there is nobody's work to hide, and people may continue each other's.
        blind: overlap > 1 && form.get("blind") !== null, ...(kind ? { kind } : {}),
      });
      navigate(addressOf(made));
    } catch (failed) {
      setError(failed);
      setBusy(false);
    }
  };
  return html`
    <${Dialog} title="New project" close=${close}>
      <form class="an-new" onSubmit=${make}>
        <label class="field">Name<input name="name" required maxlength="200" autofocus /></label>
        <label class="field">Source<input name="source" required maxlength="4000" list="an-sources" spellcheck=${false} />
          <small>The folder of a build, a folder of pictures, or a data set, under a --root of the studio.</small></label>
        <datalist id="an-sources">${(datasets.data?.items ?? []).map((one) => html`<option value=${one.name} />`)}</datalist>
        <label class="field">What for
          <select name="kind"><option value="">Boxes and descriptions</option><option value="images">Pictures without proposals</option>
            <option value="presence">Does anything match? (people's own rejection accuracy)</option></select></label>
        <label class="field">People an item<input name="overlap" type="number" min="1" max="20" value="1" required />
          <small>With two or more, agreement is measured, and a reviewer settles what they see differently.</small></label>
        <label class="choice"><input type="checkbox" name="blind" checked /> With two or more: nobody sees the others' work before their own is done</label>
        <${ErrorBanner} error=${error} />
        <button class="main" type="submit" disabled=${busy}>${busy ? "Reading the source …" : "Make it"}</button>
      </form>
    </${Dialog}>`;
}
