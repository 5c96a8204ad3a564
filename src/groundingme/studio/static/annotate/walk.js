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
const FILTERS = ["status", "l1", "l2", "label", "mine", "flag"];
export function filtersOf(search) {
  const given = new URLSearchParams(search);
  return Object.fromEntries(FILTERS.filter((name) => given.get(name)).map((name) => [name, given.get(name)]));
}

/** The item after one, for this person; null where there is none. */
export async function following(project, item, search) {
  const filters = filtersOf(search);
  // Of the queue's list, those that are still to be done; a flag is looked at whatever the status.
  if (Object.keys(filters).length && !filters.flag) filters.status ??= "open";
  const found = await get(`${at`/api/projects/${project}/next`}${query({ ...filters, after: item })}`);
  if (found.item) keep(at`/api/items/${found.item.id}`, found.item);
  return found.item?.id ?? null;
}

/** The item that one came from. */
export async function preceding(project, item) {
  // The page of this item may still be waiting for it.
  visited(project, item);
  const here = way(project);
  return here.at > 0 ? here.items[here.at - 1] : null;
}
