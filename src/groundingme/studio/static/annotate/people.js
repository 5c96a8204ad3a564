// People: who may do what, and their tokens.
import { html, useState } from "../core/dom.js";
import { at, send, useGet } from "../core/api.js";
import { day } from "../core/format.js";
import { useSession } from "../core/session.js";
import { Dialog } from "../components/help.js";
import { ErrorBanner, Loading, useTitle } from "../components/notice.js";
import { NeedsPerson } from "./person.js";

const ROLES = {
  annotator: "annotates",
  reviewer: "also decides, imports, exports and publishes",
  admin: "also makes projects and people",
};

export default function PeoplePage() {
  const { person, readonly } = useSession();
  const { data, error, reload } = useGet(person && "/api/people?limit=1000");
  const [problem, setProblem] = useState(null);
  const [token, setToken] = useState(null);
  useTitle("People");
  if (!person) return html`<${NeedsPerson} />`;
  const may = person.role === "admin" && !readonly;
  const ask = (work) => async () => {
    try {
      await work();
      setProblem(null);
      reload();
    } catch (failed) {
      setProblem(failed);
    }
  };
  const add = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const target = event.target;
    ask(async () => {
      await send("POST", "/api/people", { name: form.get("name").trim(), role: form.get("role") });
      target.reset();
    })();
  };
  const change = (one, patch) => ask(() => send("PATCH", at`/api/people/${one.id}`, patch));
  const give = (one) => ask(async () => setToken({ name: one.name, ...(await send("POST", at`/api/people/${one.id}/token`)) }));
  return html`
    <div class="page">
      <div class="head"><div><ol class="crumbs"><li><a href="/projects">Projects</a></li></ol><h1 tabindex="-1">People</h1></div></div>
      <${ErrorBanner} error=${error ?? problem} />
      ${!data && !error && html`<${Loading} />`}
      ${data && html`
        <div class="card wide an-people"><table><caption>People of this studio</caption>
          <thead><tr><th scope="col">Name</th><th scope="col">Role</th><th scope="col">Since</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
          <tbody>${data.items.map((one) => html`
            <tr key=${one.id}>
              <th scope="row">${one.name}${!one.active && html` <small>(away)</small>`}</th>
              <td><select aria-label=${`Role of ${one.name}`} value=${one.role} disabled=${!may} onChange=${(event) => change(one, { role: event.target.value })()}>
                ${Object.entries(ROLES).map(([role, can]) => html`<option value=${role}>${role}: ${can}</option>`)}</select></td>
              <td>${day(one.created)}</td>
              <td class="num">${may && html`<button type="button" onClick=${give(one)}>New token</button>
                <button type="button" class="plain" onClick=${change(one, { active: !one.active })}>${one.active ? "Lock out" : "Let in"}</button>`}</td>
            </tr>`)}</tbody></table></div>`}
      ${may && html`
        <form class="bar an-add" onSubmit=${add}>
          <label class="field">Name<input name="name" required maxlength="100" /></label>
          <label class="field">Role<select name="role">${Object.keys(ROLES).map((role) => html`<option>${role}</option>`)}</select></label>
          <button type="submit" class="main">Add</button>
        </form>`}
      ${token && html`
        <${Dialog} title=${`Token of ${token.name}`} close=${() => setToken(null)}>
          <p>It is shown once and kept nowhere. Older tokens and open browsers of ${token.name} are logged out.</p><pre>${token.token}</pre>
        </${Dialog}>`}
    </div>`;
}
