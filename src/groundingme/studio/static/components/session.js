// Who are you: a name on one's own machine, a token elsewhere.
import { html, useState } from "../core/dom.js";
import { send } from "../core/api.js";
import { useSession } from "../core/session.js";
import { Dialog } from "./help.js";
import { Icon } from "./icons.js";
import { ErrorBanner } from "./notice.js";

// The form: asks for a token where people log in, else for a name.
export function SignIn({ done }) {
  const { login, again } = useSession();
  const [error, setError] = useState(null);
  const field = login ? "token" : "name";
  const go = async (event) => {
    event.preventDefault();
    try {
      await send("POST", "/api/session", { [field]: new FormData(event.target).get(field).trim() });
      await again();
      done?.();
    } catch (problem) {
      setError(problem);
    }
  };
  return html`
    <form class="signin" onSubmit=${go}>
      <label>${login ? "Your token" : "Your name"}
        <input name=${field} required autofocus autocomplete=${login ? "current-password" : "name"}
          type=${login ? "password" : "text"} maxlength="200" />
      </label>
      <p class="soft">${login
        ? "Whoever runs the studio gives it to you: groundingme studio person NAME."
        : "It is written beside what you annotate. Nobody checks it: the studio listens on this machine alone."}</p>
      <${ErrorBanner} error=${error} />
      <button class="main" type="submit">${login ? "Sign in" : "Go on"}</button>
    </form>`;
}

// A page for those who must log in first.
export const SignInPage = () => html`
  <div class="door"><h1 tabindex="-1">groundingme studio</h1><${SignIn} /></div>`;

export function PersonButton() {
  const { person, again } = useSession();
  const [open, setOpen] = useState(false);
  const leave = async () => {
    await send("DELETE", "/api/session");
    await again();
    setOpen(false);
  };
  return html`
    <button type="button" class="plain" onClick=${() => setOpen(true)} title=${person ? person.name : "Who are you?"}>
      <${Icon} name="person" /><span class="wide-only">${person ? person.name : "Who are you?"}</span>
      <span class="unseen narrow-only">${person ? person.name : "Who are you?"}</span>
    </button>
    ${open && html`
      <${Dialog} title=${person ? person.name : "Who are you?"} close=${() => setOpen(false)}>
        ${person ? html`<p>Role: ${person.role}.</p><button type="button" onClick=${leave}>Leave</button>`
          : html`<${SignIn} done=${() => setOpen(false)} />`}
      </${Dialog}>`}`;
}
