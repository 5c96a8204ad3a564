// The shell: which page an address is, what stands around it, and the keys of every page.
//
// A page is a module whose default export is a component; it is given { parts, query, search } of
// the address. Addresses below /projects, /items and /people belong to annotate/index.js.
import { html, names, render, useCallback, useEffect, useReducer, useRef, useState } from "./core/dom.js";
import { get, setCsrf } from "./core/api.js";
import { startKeys, useKeys } from "./core/keys.js";
import { navigate, startRouter, usePlace } from "./core/router.js";
import { Session } from "./core/session.js";
import { Help } from "./components/help.js";
import { Icon } from "./components/icons.js";
import { Empty, ErrorBanner, Loading } from "./components/notice.js";
import { PersonButton, SignInPage } from "./components/session.js";

const PAGES = [
  [/^\/(runs\/?)?$/, () => import("./browse/leaderboard.js")],
  [/^\/runs\/[^/]+\/?$/, () => import("./browse/run.js")],
  [/^\/runs\/[^/]+\/samples\/[^/]+$/, () => import("./browse/sample.js")],
  [/^\/compare\/?$/, () => import("./browse/compare.js")],
  [/^\/compare\/samples\/[^/]+$/, () => import("./browse/side.js")],
  [/^\/ask\/?$/, () => import("./browse/ask.js")],
  [/^\/(projects|items|people)(\/.*)?$/, () => import("./annotate/index.js")],
];
const ROOMS = [
  ["/runs", "Runs", "runs", "g r"],
  ["/compare", "Compare", "compare", "g c"],
  ["/ask", "Try it", "ask", "g t"],
  ["/projects", "Annotate", "annotate", "g a"],
];
const roomOf = (path) => (path === "/" ? "/runs" : ROOMS.find(([root]) => path.startsWith(root))?.[0]
  ?? (/^\/(items|people)/.test(path) ? "/projects" : null));

// The page of an address. Until its module is there, the one before stays, with its own address.
const loaded = new Map();
function usePage(here) {
  const load = PAGES.find(([pattern]) => pattern.test(here.path))?.[1];
  const [error, setError] = useState(null);
  const [, redraw] = useReducer((n) => n + 1, 0);
  const last = useRef({});
  useEffect(() => {
    setError(null);
    if (!load || loaded.has(load)) return;
    load().then(
      (module) => { loaded.set(load, module.default); redraw(); },
      () => setError(new Error("The studio does not answer. Is it still running?")),
    );
  }, [load]);
  if (!load) return { missing: true };
  if (loaded.has(load)) last.current = { Page: loaded.get(load), here };
  return { ...last.current, error };
}

function Page() {
  const here = usePlace();
  const { Page: Shown, here: shown, error, missing } = usePage(here);
  useEffect(() => {
    // A screen reader starts at the head of the new page; the first one it finds by itself.
    if (Page.before && Page.before !== here.path) document.querySelector("main h1")?.focus({ preventScroll: true });
    Page.before = here.path;
  }, [here.path, Shown]);
  if (missing) {
    return html`<${Empty} title="Nothing is here"><p>No page has the address ${here.path}.</p><p><a href="/runs">All runs</a></p></${Empty}>`;
  }
  if (error) return html`<${ErrorBanner} error=${error} retry=${() => location.reload()} />`;
  return Shown ? html`<${Shown} ...${shown} />` : html`<${Loading} />`;
}

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // It holds for this page.
  }
}

function Top({ help }) {
  const { path } = usePlace();
  const room = roomOf(path);
  return html`
    <header class="top">
      <a class="brand" href="/runs"><img src="/static/icon.svg" alt="" width="24" height="24" /><span>groundingme</span></a>
      <nav class="rooms" aria-label="Rooms">
        ${ROOMS.map(([root, name, icon]) => html`
          <a href=${root} class=${names(room === root && "here")} aria-current=${room === root ? "page" : null}>
            <${Icon} name=${icon} /><span>${name}</span></a>`)}
      </nav>
      <div class="tools">
        <${PersonButton} />
        <button type="button" class="plain" onClick=${switchTheme} title="Dark or light (Shift + D)" aria-label="Dark or light"><${Icon} name="theme" /></button>
        <button type="button" class="plain" onClick=${help} title="All keys (?)" aria-label="All keys"><${Icon} name="help" /></button>
      </div>
    </header>`;
}

function Shell() {
  const [session, setSession] = useState(null);
  const [error, setError] = useState(null);
  const [helped, setHelped] = useState(false);
  const main = useRef();
  const again = useCallback(async () => {
    try {
      const found = await get("/api/session");
      setCsrf(found.csrf);
      setSession(found);
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  }, []);
  useEffect(() => { again(); }, []);
  useKeys("Everywhere", [
    { keys: ["?"], does: "Show all keys", run: () => setHelped((open) => !open) },
    ...ROOMS.map(([root, name, , key]) => ({ keys: [key], does: `Go to ${name}`, run: () => navigate(root) })),
    { keys: ["D"], does: "Dark or light", run: switchTheme },
  ]);
  const skip = (event) => { event.preventDefault(); main.current.focus(); };
  const closed = session?.login && !session.person;
  return html`
    <${Session.Provider} value=${{ person: null, readonly: false, login: false, version: "", ...session, again }}>
      <a class="skip" href="#main" onClick=${skip}>Skip to the page</a>
      <${Top} help=${() => setHelped(true)} />
      <main id="main" tabindex="-1" ref=${main}>
        <${ErrorBanner} error=${error} retry=${again} />
        ${closed ? html`<${SignInPage} />` : html`<${Page} />`}
      </main>
      <div id="said" class="unseen" role="status" aria-live="polite"></div>
      ${helped && html`<${Help} close=${() => setHelped(false)} />`}
    </${Session.Provider}>`;
}

// Pages to browse are read while nobody waits, so that the first step to one is quick.
addEventListener("load", () => setTimeout(() => {
  for (const [, load] of PAGES.slice(0, -1)) load().then((module) => loaded.set(load, module.default), () => {});
}, 3000));

startRouter();
startKeys();
render(html`<${Shell} />`, document.getElementById("app"));
