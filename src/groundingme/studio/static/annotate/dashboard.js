// How a project goes: statuses, people, days, and how far people agree.
import { html } from "../core/dom.js";
import { at, useGet } from "../core/api.js";
import { fixed, number, percent, plural } from "../core/format.js";
import { useKeys } from "../core/keys.js";
import { navigate } from "../core/router.js";
import { ErrorBanner, Loading, useTitle } from "../components/notice.js";
import { Counts } from "./counts.js";

const QUESTIONS = {
  subtask: "Subtask", rejection: "Has a rejection variant", uniqueness: "Uniqueness", clarity: "Subject clarity",
  specificity: "Task specificity", accuracy: "Factual accuracy", match: "Something matches",
};
const wordOf = (name) => QUESTIONS[name] ?? name;

export default function DashboardPage({ parts: [, project] }) {
  const { data, error, reload } = useGet(at`/api/projects/${project}/dashboard`);
  const home = `/projects/${encodeURIComponent(project)}`;
  useTitle(data ? `${data.project.name}: dashboard` : "Dashboard");
  useKeys("Dashboard", [
    { keys: ["Escape", "b"], does: "Back to the queue", run: () => navigate(home) },
    { keys: ["r"], does: "Read it again", run: reload },
  ]);
  if (!data) return error ? html`<${ErrorBanner} error=${error} retry=${reload} />` : html`<${Loading} />`;
  const { counts } = data.project;
  const worked = data.throughput.reduce((sum, one) => sum + one.submitted, 0);
  return html`
    <div class="page">
      <div class="head">
        <div><ol class="crumbs"><li><a href="/projects">Projects</a></li><li><a href=${home}>${data.project.name}</a></li></ol><h1 tabindex="-1">Dashboard</h1></div>
        <button type="button" onClick=${reload}>Read again</button>
      </div>
      <${Counts} counts=${counts} />
      <div class="an-tiles">
        <${Tile} value=${number(counts.total)} what="items" />
        <${Tile} value=${number(worked)} what=${worked === 1 ? "annotation submitted" : "annotations submitted"} />
        <${Tile} value=${number(counts.accepted)} what="accepted" />
        <${Tile} value=${fixed(data.agreement.mean_iou)} what=${`mean IoU of ${plural(data.agreement.boxes, "pair")} of boxes`} />
      </div>
      ${data.presence && html`<section class="card pad an-result"><h2>How well people reject</h2><${Presence} presence=${data.presence} /></section>`}
      <div class="an-two">
        <section class="card"><h2 class="an-cardhead">Work by person</h2><${People} rows=${data.throughput} /></section>
        <section class="card"><h2 class="an-cardhead">Agreement</h2><${Agreement} agreement=${data.agreement} /></section>
      </div>
      <section class="card an-result"><h2 class="an-cardhead">Agreement of pairs</h2><${Pairs} agreement=${data.agreement} /></section>
      <section class="card an-result"><h2 class="an-cardhead">Work by day</h2><${Days} rows=${data.throughput} /></section>
    </div>`;
}

const Tile = ({ value, what }) => html`<div class="card pad an-tile"><strong>${value}</strong><span class="soft">${what}</span></div>`;

const Nothing = ({ children }) => html`<p class="soft an-nothing">${children}</p>`;

function summed(rows, key) {
  const sums = new Map();
  for (const one of rows) {
    const sum = sums.get(one[key]) ?? { [key]: one[key], name: one.name, submitted: 0, skipped: 0, decided: 0, seconds: [] };
    for (const name of ["submitted", "skipped", "decided"]) sum[name] += one[name];
    if (one.seconds != null) sum.seconds.push([one.seconds, one.submitted]);
    sums.set(one[key], sum);
  }
  return [...sums.values()];
}

// Of days' medians, weighted by how much was done on each.
function typical(pairs) {
  const all = pairs.reduce((sum, [, n]) => sum + n, 0);
  return all ? pairs.reduce((sum, [seconds, n]) => sum + seconds * n, 0) / all : null;
}

function People({ rows }) {
  const people = summed(rows, "person").sort((a, b) => b.submitted - a.submitted);
  if (!people.length) return html`<${Nothing}>Nobody has finished an item yet.</${Nothing}>`;
  return html`
    <div class="wide"><table><caption>Work by person</caption>
      <thead><tr><th scope="col">Person</th><th scope="col" class="num">Submitted</th><th scope="col" class="num">Skipped</th><th scope="col" class="num">Decided</th><th scope="col" class="num">Seconds an item</th></tr></thead>
      <tbody>${people.map((one) => html`<tr><th scope="row">${one.name}</th><td class="num">${number(one.submitted)}</td><td class="num">${number(one.skipped)}</td>
        <td class="num">${number(one.decided)}</td><td class="num">${fixed(typical(one.seconds), 1)}</td></tr>`)}</tbody></table></div>`;
}

function Days({ rows }) {
  const days = summed(rows, "day").sort((a, b) => (a.day < b.day ? 1 : -1)).slice(0, 14);
  if (!days.length) return html`<${Nothing}>No day yet.</${Nothing}>`;
  const most = Math.max(...days.map((one) => one.submitted + one.decided), 1);
  return html`
    <div class="wide"><table><caption>Work by day</caption>
      <thead><tr><th scope="col">Day (UTC)</th><th scope="col">Submitted and decided</th><th scope="col" class="num">Items</th></tr></thead>
      <tbody>${days.map((one) => html`<tr><th scope="row">${one.day}</th>
        <td><svg class="an-daybar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><rect width=${(100 * (one.submitted + one.decided)) / most} height="6" /></svg></td>
        <td class="num">${number(one.submitted + one.decided)}</td></tr>`)}</tbody></table></div>`;
}

function Agreement({ agreement }) {
  if (!agreement.items) return html`<${Nothing}>No item has two people's work yet.</${Nothing}>`;
  return html`
    <div class="wide"><table><caption>Agreement of all people</caption>
      <thead><tr><th scope="col">Question</th><th scope="col" class="num">Items</th><th scope="col" class="num">Fleiss' kappa</th><th scope="col" class="num">Krippendorff's alpha</th></tr></thead>
      <tbody>${agreement.questions.map((one) => html`<tr><th scope="row">${wordOf(one.name)}</th><td class="num">${number(one.items)}</td>
        <td class="num">${fixed(one.fleiss_kappa)}</td><td class="num">${fixed(one.krippendorff_alpha)}</td></tr>`)}</tbody></table></div>
    <p class="foot">1 is full agreement, 0 what chance would give. A dash: it cannot be told, as all answers are one or nobody gave two.</p>`;
}

function Pairs({ agreement }) {
  if (!agreement.pairs.length) return html`<${Nothing}>No two people have worked on one item yet.</${Nothing}>`;
  const names = agreement.questions.map((one) => one.name);
  return html`
    <div class="wide"><table><caption>Cohen's kappa of pairs</caption>
      <thead><tr><th scope="col">Pair</th><th scope="col" class="num">Items</th><th scope="col" class="num">Mean IoU</th>${names.map((name) => html`<th scope="col" class="num">${wordOf(name)}</th>`)}</tr></thead>
      <tbody>${agreement.pairs.map((one) => html`<tr><th scope="row">${one.names.join(" and ")}</th><td class="num">${number(one.items)}</td><td class="num">${fixed(one.mean_iou)}</td>
        ${names.map((name) => html`<td class="num">${fixed(one.cohen_kappa[name])}</td>`)}</tr>`)}</tbody></table></div>
    <p class="foot">Cohen's kappa by question.</p>`;
}

const range = ({ low, high }) => (low == null ? "" : `${percent(low)} to ${percent(high)}`);

/** How often people were right on whether anything matches. */
export function Presence({ presence }) {
  const rows = [["Everybody", presence], ...presence.people.map((one) => [one.name, one])];
  if (!presence.all.n) return html`<${Nothing}>Nothing was answered yet.</${Nothing}>`;
  return html`
    <div class="an-tiles">
      <${Tile} value=${`${percent(presence.rejection.accuracy)} %`} what=${`rejection accuracy of people (${range(presence.rejection)})`} />
      <${Tile} value=${`${percent(presence.positive.accuracy)} %`} what=${`of ${plural(presence.positive.n, "description")} that something matches (${range(presence.positive)})`} />
    </div>
    <div class="wide"><table><caption>By person</caption>
      <thead><tr><th scope="col">Person</th><th scope="col" class="num">Nothing matches</th><th scope="col" class="num">Right</th><th scope="col" class="num">95 %</th><th scope="col" class="num">Something matches</th><th scope="col" class="num">Right</th><th scope="col" class="num">95 %</th></tr></thead>
      <tbody>${rows.map(([name, one]) => html`<tr><th scope="row">${name}</th>
        ${[one.rejection, one.positive].map((side) => html`<td class="num">${number(side.n)}</td><td class="num"><strong>${percent(side.accuracy)}</strong></td><td class="num">${range(side)}</td>`)}</tr>`)}</tbody></table></div>`;
}

/** The result of presence mode, at its end. */
export function MatchResult({ project }) {
  const { data, error, reload } = useGet(at`/api/projects/${project}/dashboard`);
  if (error?.status === 403) return html`<p>All your answers are in. A reviewer sees the result on the dashboard.</p>`;
  if (error) return html`<${ErrorBanner} error=${error} retry=${reload} />`;
  return data?.presence ? html`<${Presence} presence=${data.presence} />` : html`<${Loading} what="Counting" />`;
}
