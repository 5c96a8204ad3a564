// One person's annotation of one item, as the screens hold it: its steps back and forward, and the
// keeper that saves it.
import { useEffect, useReducer, useRef, useState } from "../core/dom.js";
import { at, send } from "../core/api.js";
import { Keeper, discard, leftovers, same } from "./keeper.js";
import { CRITERIA } from "./subtasks.js";
import { useTabs } from "./tabs.js";

const STEPS = 300;
// Changes of one field within this time are one step of undo.
const ONE_STEP = 900;
// Time without any sign of the person counts up to this much.
const IDLE = 30_000;

export const NO_CRITERIA = Object.fromEntries(CRITERIA.map(({ name }) => [name, null]));

const EMPTY = {
  box: null, label: "", description: "", subtask_l1: "", subtask_l2: "", rejection: null,
  criteria: NO_CRITERIA, match: null, flag: false, note: "", seconds: 0,
};

/** A whole document, whatever was left out. */
export const whole = (document) => ({
  ...EMPTY, ...document, criteria: { ...NO_CRITERIA, ...document?.criteria },
});

/** The document in what the API says of an annotation, which holds more: its version, whose it is. */
export const documentOf = (annotation) =>
  Object.fromEntries(Object.keys(EMPTY).map((name) => [name, whole(annotation)[name]]));

// Keepers of items that were left before all was saved: they go on until it is.
const unfinished = new Map();

class Clock {
  constructor() {
    this.spent = 0;
    this.last = performance.now();
    this.tick = () => {
      const now = performance.now();
      this.spent += Math.min(now - this.last, IDLE);
      this.last = now;
    };
    for (const sign of ["keydown", "pointermove", "wheel"]) addEventListener(sign, this.tick, { passive: true });
  }

  seconds() {
    this.tick();
    return Math.round(this.spent / 100) / 10;
  }

  stop() {
    for (const sign of ["keydown", "pointermove", "wheel"]) removeEventListener(sign, this.tick);
  }
}

const startOf = ({ mine, decision }) => ({
  version: mine.version, document: documentOf(decision ? decision.document : mine),
});

/**
 * The annotation of the item that is open.
 *
 * Gives { document, state, problem, conflict, others, left, change, undo, redo, ... }: `state` is
 * saved, unsaved, saving, offline, refused or conflict; `left` is what an earlier page had not
 * saved, if its version is still the server's it was taken at once.
 */
export function useAnnotation(item, person) {
  const [, redraw] = useReducer((n) => n + 1, 0);
  const [left, setLeft] = useState(null);
  const held = useRef({}).current;
  const tabs = useTabs(person, item?.id, (version, document) => {
    held.keeper?.adopt(version, document);
  });
  const told = useRef(tabs);
  told.current = tabs;

  if (item && held.id !== item.id) {
    const start = startOf(item);
    const clock = new Clock();
    held.leave?.();
    held.id = item.id;
    held.past = [];
    held.future = [];
    held.step = { tag: "", at: 0 };
    const timed = (document) => ({ ...document, seconds: start.document.seconds + clock.seconds() });
    held.timed = timed;
    held.keeper = unfinished.get(item.id) ?? new Keeper({
      person, item: item.id, ...start,
      send: (version, document, last) => send("PUT", at`/api/items/${item.id}/annotation`, {
        version, annotation: timed(document),
      }, { keepalive: last }),
      changed: () => {},
    });
    unfinished.delete(item.id);
    const { keeper } = held;
    let savedVersion = keeper.version;
    keeper.changed = () => {
      if (keeper.state === "saved" && keeper.version !== savedVersion) {
        savedVersion = keeper.version;
        told.current.saved(keeper.version, keeper.saved);
      }
      redraw();
    };
    held.leave = () => leave(keeper, item.id, clock);
  }
  const { keeper } = held;

  useEffect(() => () => held.leave?.(), []);
  useEffect(() => {
    if (!item) return undefined;
    setLeft(null);
    let here = true;
    told.current.living().then((living) => {
      if (here && !item.closed) takeUp(keeper, leftovers(person, item.id, living), setLeft);
    });
    return () => { here = false; };
  }, [item?.id]);
  useEffect(() => {
    // The item was read anew: what another person or tab has saved comes in, if nothing is unsaved.
    if (!item) return;
    const { version, document } = startOf(item);
    if (keeper.state === "decided" && item.decision) keeper.take(version, document);
    else keeper.adopt(version, document);
  }, [item]);

  if (!item) return null;

  const put = (document) => { keeper.change(document); redraw(); };
  const change = (patch, tag = Object.keys(patch).join()) => {
    const now = performance.now();
    const goesOn = held.step.tag === tag && now - held.step.at < ONE_STEP && held.past.length > 0;
    if (!goesOn) held.past = [...held.past.slice(-STEPS), keeper.current];
    held.step = { tag, at: now };
    held.future = [];
    put({ ...keeper.current, ...patch });
  };
  const back = (from, to) => () => {
    if (!held[from].length) return;
    held[to] = [...held[to], keeper.current];
    const document = held[from][held[from].length - 1];
    held[from] = held[from].slice(0, -1);
    held.step = { tag: "", at: 0 };
    put(document);
  };
  return {
    document: keeper.current, state: keeper.state, problem: keeper.problem, conflict: keeper.conflict,
    version: keeper.version, others: tabs.others, left, change,
    canUndo: held.past.length > 0, canRedo: held.future.length > 0,
    undo: back("past", "future"), redo: back("future", "past"),
    current: () => keeper.current,
    flush: () => keeper.flush(),
    // Saves and submits, or skips, at once. True when the server has it.
    finish: (what) => keeper.finish((version, document) => send("POST", at`/api/items/${item.id}/${what}`, {
      version, annotation: held.timed(document),
    })),
    resolve: (document) => { held.past = [...held.past, keeper.current]; return keeper.resolve(document); },
    drop: () => {
      if (!left) return;
      discard(left);
      setLeft(null);
      held.past = [...held.past, keeper.current];
      put(left.before);
    },
    seen: () => setLeft(null),
  };
}

async function leave(keeper, id, clock) {
  clock.stop();
  if (same(keeper.current, keeper.saved)) {
    keeper.close();
    return;
  }
  unfinished.set(id, keeper);
  if (await keeper.flush()) {
    if (unfinished.get(id) === keeper) unfinished.delete(id);
    keeper.close();
  }
}

// What a page that is gone had not saved comes back: at once where the server has not moved on,
// else as a conflict, in which the person chooses. Older ones wait for the next time.
function takeUp(keeper, found, setLeft) {
  const last = found[found.length - 1];
  if (!last || keeper.state === "conflict") return;
  const document = whole(last.document);
  const before = keeper.current;
  if (same(document, keeper.saved)) {
    discard(last);
  } else if (last.version === keeper.version && same(keeper.current, keeper.saved)) {
    keeper.change(document);
    discard(last);
    setLeft({ ...last, before });
  } else {
    const theirs = same(keeper.current, keeper.saved) ? keeper.saved : keeper.current;
    keeper.current = document;
    keeper.keep();
    discard(last);
    keeper.clash(theirs, whole(last.base));
  }
}
