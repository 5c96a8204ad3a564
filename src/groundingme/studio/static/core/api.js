// The JSON API: addresses, requests, errors in one line, and answers kept for the next page.
import { useEffect, useReducer, useRef } from "./dom.js";

// An address whose parts are encoded: at`/api/runs/${id}/samples`.
export const at = (strings, ...parts) =>
  strings.map((text, i) => text + (i < parts.length ? encodeURIComponent(parts[i]) : "")).join("");

// `?a=1&b=2` of what is set; lists repeat their name. "" where nothing is set.
export function query(params = {}) {
  const made = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "") made.append(name, one);
    }
  }
  const text = made.toString();
  return text && `?${text}`;
}

export class ApiError extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.kind = error.kind;
    this.more = error;
  }
}

let csrf = "";
export const setCsrf = (token) => { csrf = token; };

async function read(response) {
  if (response.status === 204) return null;
  const text = await response.text();
  let said = null;
  try {
    said = JSON.parse(text);
  } catch {
    // Not from the API: a proxy, or a server that is going down.
  }
  if (response.ok && said !== null) return said;
  throw new ApiError(response.status, said?.error ?? {
    kind: "http", message: `expected an answer of the studio, got status ${response.status}`,
  });
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { headers: { Accept: "application/json" }, ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { kind: "offline", message: "The studio does not answer. Is it still running?" });
  }
  return read(response);
}

// GET: the document.
export const get = (path, { signal } = {}) => ask(path, { signal });

// POST, PUT, PATCH, DELETE. `body` is JSON, or a FormData for files.
export function send(method, path, body, { signal, keepalive } = {}) {
  const form = body instanceof FormData;
  const headers = { Accept: "application/json", "X-CSRF": csrf };
  if (body !== undefined && !form) headers["Content-Type"] = "application/json";
  const sent = body === undefined || form ? body : JSON.stringify(body);
  return ask(path, { method, headers, body: sent, signal, keepalive });
}

// Answers that were read, newest last. A page that was just seen is shown again at once.
const KEPT = 80;
const kept = new Map();
export function keep(path, value) {
  kept.delete(path);
  kept.set(path, value);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
}
export const forget = (prefix = "") => {
  for (const path of kept.keys()) if (path.startsWith(prefix)) kept.delete(path);
};

// Reads a document that will be wanted soon. Never fails.
const coming = new Map();
export function prefetch(path) {
  if (kept.has(path)) return Promise.resolve(kept.get(path));
  if (!coming.has(path)) {
    coming.set(path, get(path)
      .then((data) => { keep(path, data); return data; }, () => null)
      .finally(() => coming.delete(path)));
  }
  return coming.get(path);
}

// { data, error, loading, reload } of a GET; `path` null asks nothing.
// What was read before is shown while it is read anew; with `final`, it is not read again.
export function useGet(path, { final = false } = {}) {
  const [, redraw] = useReducer((n) => n + 1, 0);
  const [turn, again] = useReducer((n) => n + 1, 0);
  const state = useRef({ path: undefined }).current;
  if (state.path !== path) {
    state.stale = state.data;
    Object.assign(state, { path, data: path ? kept.get(path) : undefined, error: null });
  }
  useEffect(() => {
    if (!path || (final && turn === 0 && kept.has(path))) return undefined;
    const stop = new AbortController();
    const wanted = coming.get(path) ?? get(path, { signal: stop.signal });
    wanted.then((data) => data ?? get(path, { signal: stop.signal })).then(
      (data) => { keep(path, data); Object.assign(state, { data, error: null }); },
      (error) => { if (error.name !== "AbortError") state.error = error; },
    ).then(() => { if (!stop.signal.aborted) redraw(); });
    return () => stop.abort();
  }, [path, turn]);
  return {
    data: state.data, stale: state.stale, error: state.error,
    loading: Boolean(path) && !state.data && !state.error,
    reload: again,
  };
}

// Calls `heard` with each document of a stream of events while `path` is set; the last event is
// named `end`.
export function useEvents(path, heard) {
  const latest = useRef(heard);
  latest.current = heard;
  useEffect(() => {
    if (!path) return undefined;
    const source = new EventSource(path);
    const take = (event) => latest.current(JSON.parse(event.data));
    source.onmessage = take;
    source.addEventListener("end", (event) => { source.close(); take(event); });
    return () => source.close();
  }, [path]);
}
