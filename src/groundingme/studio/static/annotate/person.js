// Annotating needs a name beside what is written.
import { html } from "../core/dom.js";
import { SignIn } from "../components/session.js";

export const NeedsPerson = () => html`
  <div class="door"><h1 tabindex="-1">Who are you?</h1><${SignIn} /></div>`;
