// Keys. A page says what its keys do; the help shows exactly what is in force.
import { useLayoutEffect, useRef, remember, remembered } from "./dom.js";

const groups = [];
let letters = remembered("letters", true);

export const lettersOn = () => letters;
export function setLetters(on) {
  letters = on;
  remember("letters", on);
}

// The groups in force, as { title, keys: [{ keys, does, run, typing }] }; the latest first.
export const keysInForce = () => {
  const modal = groups.findLastIndex((group) => group.modal);
  return groups.slice(Math.max(modal, 0)).reverse();
};

// What a key press is called: "j", "?", "Shift+ArrowLeft", "Ctrl+Enter" (also for Cmd).
export function keyName(event) {
  const shifted = event.shiftKey && event.key.length > 1;
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${shifted ? "Shift+" : ""}${event.key}`;
}

const TYPED = "input:not([type=checkbox]):not([type=radio]):not([type=range]):not([type=button]):not([type=file]), textarea, select, [contenteditable=true]";
const isMoved = (element) => element.matches("input[type=radio], input[type=range], [role=tab], [role=slider]");

function allowed(key, name, target) {
  if (key.typing) return true;
  if (target.matches(TYPED)) return false;
  if (/^(Enter| )$/.test(name)) return !target.closest("a, button, summary, input");
  if (name.includes("Arrow")) return !isMoved(target);
  return letters || /^(\w{2,}|.*\+.+)$/.test(name);
}

// "g" may be the first of two keys: it waits a second for the other.
let first = "";
let waiting = 0;
function withFirst(name, target) {
  const both = first ? `${first} ${name}` : name;
  clearTimeout(waiting);
  first = "";
  const opens = keysInForce().some((group) => group.keys.some((key) => key.keys.some((one) => one.startsWith(`${both} `))));
  if (opens && letters && !target.matches(TYPED)) {
    first = both;
    waiting = setTimeout(() => { first = ""; }, 1000);
  }
  return both;
}

function onKey(event) {
  if (event.defaultPrevented || event.isComposing || /^(Shift|Control|Alt|Meta)$/.test(event.key)) return;
  // An open dialog has the keys of the browser alone: Esc, Tab, Enter.
  if (document.querySelector("dialog[open]")) return;
  const target = event.target instanceof Element ? event.target : document.body;
  const name = withFirst(keyName(event), target);
  for (const group of keysInForce()) {
    for (const key of group.keys) {
      if (!key.keys.includes(name) || key.off || !allowed(key, name, target)) continue;
      event.preventDefault();
      key.run(event);
      return;
    }
  }
}

// Puts keys in force while the component is there. Each is { keys: ["j", "ArrowRight"],
// does: "Next sample", run(event) }; `typing` holds in text fields too, `off` switches one off.
// A group that is `modal` hides all before it.
export function useKeys(title, keys, { modal = false } = {}) {
  const group = useRef({ title, keys, modal }).current;
  Object.assign(group, { title, keys, modal });
  // From the moment that the page can be seen: an effect would come a frame later.
  useLayoutEffect(() => {
    groups.push(group);
    return () => { groups.splice(groups.indexOf(group), 1); };
  }, []);
}

export const startKeys = () => addEventListener("keydown", onKey);

const SHOWN = {
  " ": "Space",
  ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", Enter: "Enter",
};
export const shownKey = (name) => (name === "+" ? ["+"] : name.split(/[+ ](?=.)/).map((part) => SHOWN[part] ?? part));
