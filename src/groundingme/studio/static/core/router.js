// Addresses: paths and queries, no hashes. Plain links work: a click on one is caught here.
import { useEffect, useReducer } from "./dom.js";

const watchers = new Set();
const changed = () => watchers.forEach((told) => told());
let guard = null;

// `question` is asked before the page is left; null asks nothing.
export const guardLeaving = (ask) => { guard = ask; };

// Goes to an address of the studio. `replace` leaves no entry to come back to.
export function navigate(to, { replace = false } = {}) {
  const target = new URL(to, location.href);
  const elsewhere = target.pathname !== location.pathname;
  if (elsewhere && guard && !guard()) return;
  if (target.href === location.href) return;
  history.replaceState({ ...history.state, scroll: scrollY }, "");
  history[replace ? "replaceState" : "pushState"]({ scroll: 0 }, "", target);
  if (elsewhere) {
    giveUp();
    scrollTo(0, 0);
  }
  changed();
}

// A `navigate` for an address that is found later: who has gone elsewhere meanwhile stays there.
export function navigateFromHere() {
  const here = location.pathname;
  return (to, options) => { if (location.pathname === here) navigate(to, options); };
}

// Changes parts of the query; "" or null takes one out. A filter is no step to come back to,
// unless `push` says so.
export function setQuery(changes, { push = false } = {}) {
  const target = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    target.searchParams.delete(name);
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "") target.searchParams.append(name, one);
    }
  }
  navigate(target.pathname + target.search, { replace: !push });
}

// { path, parts, query }: parts are the decoded pieces of the path.
export function place() {
  const parts = location.pathname.split("/").filter(Boolean).map((part) => {
    try { return decodeURIComponent(part); } catch { return part; }
  });
  return { path: location.pathname, parts, query: new URLSearchParams(location.search), search: location.search };
}

export function usePlace() {
  const [, redraw] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    watchers.add(redraw);
    return () => watchers.delete(redraw);
  }, []);
  return place();
}

function onClick(event) {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest?.("a[href]");
  if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (/^\/(api|static)\//.test(link.pathname) || link.getAttribute("href").startsWith("#")) return;
  event.preventDefault();
  navigate(link.href);
}

// What a page shows arrives after the page: the old position is taken as soon as there is room,
// unless the person does something meanwhile.
const PATIENCE = 15_000;
const DOING = ["wheel", "pointerdown", "keydown", "touchstart"];
let coming = 0;
function giveUp() {
  cancelAnimationFrame(coming);
  for (const name of DOING) removeEventListener(name, giveUp);
}
function comeBack(wanted) {
  giveUp();
  for (const name of DOING) addEventListener(name, giveUp, { passive: true });
  const until = performance.now() + PATIENCE;
  const step = () => {
    const room = document.documentElement.scrollHeight - innerHeight;
    scrollTo(0, Math.min(wanted, room));
    if (room < wanted && performance.now() < until) coming = requestAnimationFrame(step);
    else giveUp();
  };
  coming = requestAnimationFrame(step);
}

export function startRouter() {
  history.scrollRestoration = "manual";
  document.addEventListener("click", onClick);
  addEventListener("popstate", (event) => {
    changed();
    comeBack(event.state?.scroll ?? 0);
  });
  let waiting = 0;
  addEventListener("scroll", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => history.replaceState({ ...history.state, scroll: scrollY }, ""), 150);
  }, { passive: true });
}
