// A step to a neighbour: a link, or a button that cannot be pressed at the end of the list.
import { html } from "../core/dom.js";
import { Icon } from "./icons.js";

export const Step = ({ to, icon, label, title }) => (to
  ? html`<a class="button" href=${to} aria-label=${label} title=${title}><${Icon} name=${icon} /></a>`
  : html`<button type="button" disabled aria-label=${label}><${Icon} name=${icon} /></button>`);
