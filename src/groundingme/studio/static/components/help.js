// All keys that are in force, and the switch of those that are single letters.
import { Fragment, html, useLayoutEffect, useRef, useState } from "../core/dom.js";
import { keysInForce, lettersOn, setLetters, shownKey } from "../core/keys.js";

export const Key = ({ name }) => html`
  <span class="keys">${shownKey(name).map((part) => html`<kbd>${part}</kbd>`)}</span>`;

// A dialog above the page. It is closed by Esc, by its button, and by a click beside it.
export function Dialog({ title, close, children, wide }) {
  const element = useRef();
  // At once: a key that is pressed meanwhile would go to the page below.
  useLayoutEffect(() => {
    const before = document.activeElement;
    element.current.showModal();
    return () => before?.focus?.();
  }, []);
  const beside = (event) => { if (event.target === element.current) close(); };
  return html`
    <dialog ref=${element} class=${wide ? "wide" : ""} aria-label=${title} onClose=${close} onClick=${beside}>
      <div class="sheet">
        <header><h2>${title}</h2><button type="button" onClick=${close}>Close</button></header>
        ${children}
      </div>
    </dialog>`;
}

export function Help({ close }) {
  const [letters, keep] = useState(lettersOn());
  const groups = keysInForce().filter((group) => group.keys.some((key) => !key.off));
  const change = (event) => { setLetters(event.target.checked); keep(event.target.checked); };
  return html`
    <${Dialog} title="Keys" close=${close} wide>
      <div class="keylist">
        ${groups.map((group) => html`
          <section>
            <h3>${group.title}</h3>
            <dl>${group.keys.filter((key) => !key.off).map((key) => html`
              <${Fragment}>
                <dt>${key.keys.map((name, i) => html`${i > 0 && " or "}<${Key} name=${name} />`)}</dt>
                <dd>${key.does}</dd>
              </${Fragment}>`)}
            </dl>
          </section>`)}
      </div>
      <label class="choice"><input type="checkbox" checked=${letters} onChange=${change} /> Keys that are single letters are on</label>
    </${Dialog}>`;
}
