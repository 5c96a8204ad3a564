// From one item to the next and back.
import { useEffect, useState } from "../core/dom.js";
import { at, get, keep, prefetch, query } from "../core/api.js";

export const itemAddress = (project, item, search = "", room = "items") =>
  `/projects/${encodeURIComponent(project)}/${room}/${encodeURIComponent(item)}${search}`;

/** The project's document, read once and again when it changes. */
export function useProject(id) {
  const [project, setProject] = useState(null);
  useEffect(() => {
    let wanted = true;
    prefetch(at`/api/projects/${id}`).then((found) => { if (wanted) setProject(found); });
    return () => { wanted = false; };
  }, [id]);
  return project;
}

// The way that this tab came, so that Back leads where one was.
const ways = new Map();
const way = (project) => {
  if (!ways.has(project)) ways.set(project, { items: [], at: -1 });
  return ways.get(project);
};

export function visited(project, item) {
  const here = way(project);
  const id = String(item);
  if (here.items[here.at] === id) return;
  if (here.items[here.at + 1] === id) here.at += 1;
  else if (here.items[here.at - 1] === id) here.at -= 1;
  else {
    here.items = [...here.items.slice(0, here.at + 1), id];
    here.at = here.items.length - 1;
  }
}

// Filters that the queue takes, out of an address.
const FILTERS = ["status", "l1", "l2", "label"];
export function filtersOf(search) {
  const given = new URLSearchParams(search);
  return Object.fromEntries(FILTERS.filter((name) => given.get(name)).map((name) => [name, given.get(name)]));
}

/** The item after one, for this person; null where there is none. */
export async function following(project, item, search) {
  const filters = filtersOf(search);
  if (Object.keys(filters).length) return inList(project, item, filters);
  const found = await get(`${at`/api/projects/${project}/next`}${query({ after: item })}`);
  if (found.item) keep(at`/api/items/${found.item.id}`, found.item);
  return found.item?.id ?? null;
}

// The item after one in the list that the queue shows.
async function inList(project, item, filters) {
  const { items } = await get(`${at`/api/projects/${project}/queue`}${query({ status: "open", ...filters, limit: 1000 })}`);
  const place = items.findIndex((one) => String(one.id) === String(item));
  const next = items[place + 1] ?? items[0];
  return next && String(next.id) !== String(item) ? next.id : null;
}

/** The item that one came from. */
export async function preceding(project) {
  const here = way(project);
  return here.at > 0 ? here.items[here.at - 1] : null;
}
