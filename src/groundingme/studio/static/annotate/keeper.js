// Saves an annotation while it is made, and loses nothing.
//
// Every change is written to localStorage at once, together with the version that it was made on,
// and sent a moment later. It leaves localStorage only when the server has answered 200. What is
// still there when the item is opened again was not saved: the browser, the tab or the server had
// ended. A version that the server does not have any more ends in a merge, never in an overwrite.

const DELAY = 400;
const RETRY = [1000, 2000, 4000, 8000];
const PREFIX = "groundingme.unsaved";

/** Names this page among the tabs of one browser. */
export const PAGE = Math.random().toString(36).slice(2, 10);

/** Fields that one chooses in a merge, and what they are called. */
export const FIELDS = [
  ["box", "Box"],
  ["label", "Class"],
  ["description", "Description"],
  ["subtask", "Subtask"],
  ["rejection", "Rejection variant"],
  ["criteria", "Criteria"],
  ["note", "Note"],
  ["flag", "Flag"],
  ["match", "Answer"],
];

/** What a field of an annotation holds; `subtask` is both of its levels. */
export function field(document, name) {
  return name === "subtask" ? [document.subtask_l1, document.subtask_l2] : document[name];
}

/** The document with one field taken from another. */
export function taking(document, name, from) {
  if (name !== "subtask") return { ...document, [name]: from[name] };
  return { ...document, subtask_l1: from.subtask_l1, subtask_l2: from.subtask_l2 };
}

const plain = (value) => JSON.stringify(value ?? null, (key, inner) =>
  inner && typeof inner === "object" && !Array.isArray(inner)
    ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
    : inner);

export const sameField = (a, b, name) => plain(field(a, name)) === plain(field(b, name));

/** Whether two annotations say the same; how long they took does not matter. */
export const same = (a, b) => FIELDS.every(([name]) => sameField(a, b, name));

export class Keeper {
  /**
   * @param person, item  whose work on what; they name the copy in localStorage
   * @param version, document  as the server has them
   * @param send  async (version, document, last) -> {version}; throws ApiError
   * @param changed  called with the keeper whenever `state` changes
   */
  constructor({ person, item, version, document, send, changed }) {
    Object.assign(this, { version, send, changed });
    this.place = `${PREFIX}/${person}/${item}/`;
    this.saved = document;
    this.current = document;
    this.state = "saved";
    this.conflict = null;
    this.problem = "";
    this.failures = 0;
    this.timer = 0;
    this.busy = null;
    this.leave = () => this.hurry();
    window.addEventListener("pagehide", this.leave);
  }

  change(document) {
    this.current = document;
    this.keep();
    if (this.state === "conflict") return;
    this.say(this.state === "offline" ? "offline" : "unsaved");
    this.later(this.failures ? RETRY[Math.min(this.failures, RETRY.length) - 1] : DELAY);
  }

  /** Takes what another tab of this person has saved, unless something here is unsaved. */
  adopt(version, document) {
    if (this.busy || !same(this.current, this.saved) || version < this.version) return false;
    this.take(version, document);
    return true;
  }

  /** Takes what the server has. What was here is in the item's history, as it came too late. */
  take(version, document) {
    Object.assign(this, { version, saved: document, current: document, conflict: null });
    this.forget();
    this.say("saved");
  }

  /** Saves now. True when the server has all of it. */
  async flush() {
    clearTimeout(this.timer);
    if (this.state === "conflict") return false;
    this.busy ??= this.run().finally(() => { this.busy = null; });
    const done = await this.busy;
    return done && !same(this.current, this.saved) ? this.flush() : done;
  }

  /**
   * The last save, which also says that the person is done: `post(version, document)`.
   * Throws what is no conflict and no lost connection to the work itself.
   */
  async finish(post) {
    clearTimeout(this.timer);
    await this.busy;
    if (this.state === "conflict" || this.state === "decided") return false;
    const sent = this.current;
    try {
      const answer = await post(this.version, sent);
      this.version = answer.version;
      this.saved = sent;
      this.failures = 0;
      this.forget();
      this.say("saved");
      return true;
    } catch (error) {
      if (error.status !== 409) {
        if (!same(this.current, this.saved)) this.later(DELAY);
        throw error;
      }
      this.settled(error, sent);
      return this.state === "conflict" || this.state === "decided" ? false : this.finish(post);
    }
  }

  async run() {
    while (!same(this.current, this.saved)) {
      const sent = this.current;
      this.say("saving");
      try {
        const answer = await this.send(this.version, sent, false);
        this.version = answer.version;
        this.saved = sent;
        this.failures = 0;
      } catch (error) {
        if (!this.settled(error, sent)) return false;
      }
    }
    this.forget();
    this.say("saved");
    return true;
  }

  // Whether an error was none: the server had saved this, and its answer was lost.
  settled(error, sent) {
    if (error.status === 409 && error.more.theirs) {
      const { theirs, base, version, decided } = error.more;
      this.version = version ?? this.version;
      if (same(theirs, sent)) {
        this.saved = sent;
        return true;
      }
      if (decided) {
        this.problem = error.message;
        this.say("decided");
      } else this.clash(theirs, base ?? this.saved);
      return false;
    }
    this.failures += 1;
    this.problem = error.message;
    this.say(error.status && error.status < 500 && error.status !== 429 ? "refused" : "offline");
    if (this.state === "offline") this.later(RETRY[Math.min(this.failures, RETRY.length) - 1]);
    return false;
  }

  clash(theirs, base) {
    this.conflict = { theirs, base };
    this.say("conflict");
  }

  /** Ends a conflict with what the person chose. */
  resolve(document) {
    this.saved = this.conflict.theirs;
    this.conflict = null;
    this.state = "unsaved";
    this.change(document);
    return this.flush();
  }

  /** Goes away: the copy stays where something was not saved. */
  close() {
    clearTimeout(this.timer);
    window.removeEventListener("pagehide", this.leave);
  }

  // The page ends: one more try, which the browser finishes without it.
  hurry() {
    if (this.state === "conflict" || this.busy || same(this.current, this.saved)) return;
    this.send(this.version, this.current, true).catch(() => {});
  }

  later(delay) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), delay);
  }

  say(state) {
    this.state = state;
    if (!["offline", "refused", "decided"].includes(state)) this.problem = "";
    this.changed(this);
  }

  keep() {
    const kept = { version: this.version, base: this.saved, document: this.current, at: Date.now() };
    try {
      localStorage.setItem(this.place + PAGE, JSON.stringify(kept));
    } catch {
      this.problem = "the browser keeps no copy (its storage is full or off)";
    }
  }

  forget() {
    localStorage.removeItem(this.place + PAGE);
  }
}

/** What pages that are gone have left unsaved for this person and item, oldest first. */
export function leftovers(person, item, living) {
  const place = `${PREFIX}/${person}/${item}/`;
  const found = [];
  for (const key of Object.keys(localStorage)) {
    if (!key.startsWith(place) || living.has(key.slice(place.length)) || key.endsWith(`/${PAGE}`)) continue;
    try {
      found.push({ key, ...JSON.parse(localStorage.getItem(key)) });
    } catch {
      localStorage.removeItem(key);
    }
  }
  return found.sort((a, b) => a.at - b.at);
}

export const discard = (left) => localStorage.removeItem(left.key);
