// One line to the person: the banner of an error, and what a screen reader is told.
import { html, useEffect } from "../core/dom.js";
import { Icon } from "./icons.js";

// Says a line to a screen reader, without showing it.
export function say(text) {
  const place = document.getElementById("said");
  if (place) place.textContent = text;
}

// The API's own line, and a way to go on.
export function ErrorBanner({ error, retry, close }) {
  if (!error) return null;
  return html`
    <div class="banner" role="alert">
      <p>${error.message}</p>
      ${retry && html`<button type="button" onClick=${retry}>Try again</button>`}
      ${close && html`<button type="button" class="plain" aria-label="Close" onClick=${close}><${Icon} name="close" /></button>`}
    </div>`;
}

// Holds the place of what is still being read.
export const Loading = ({ what = "Loading" }) => html`<p class="loading" role="status">${what} …</p>`;

export const Empty = ({ title, children }) => html`
  <div class="empty"><h2>${title}</h2>${children}</div>`;

// Sets the title of the page while it is shown.
export function useTitle(title) {
  useEffect(() => {
    document.title = title ? `${title} · groundingme studio` : "groundingme studio";
  }, [title]);
}
