// Preact and htm under one name: every page imports from here.
import { h, render, Fragment, createContext, createRef } from "../vendor/preact.js";
import htm from "../vendor/htm.js";

export * from "../vendor/hooks.js";
export { h, render, Fragment, createContext, createRef };
export const html = htm.bind(h);

// Joins the names of classes that apply: `names("card", right && "right")`.
export const names = (...parts) => parts.filter(Boolean).join(" ");

// A value of this browser that outlives the page; without storage it lives as long as the page.
export function remembered(key, fallback) {
  try {
    const kept = localStorage.getItem(key);
    return kept === null ? fallback : JSON.parse(kept);
  } catch {
    return fallback;
  }
}
export function remember(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Nothing is lost but the memory of a choice.
  }
}
