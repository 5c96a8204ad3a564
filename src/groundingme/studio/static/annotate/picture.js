// The viewer with the box that is edited, as a component.
import { html, useLayoutEffect, useRef } from "../core/dom.js";
import { Viewer } from "../components/viewer.js";
import { Editor } from "./editor.js";

/**
 * @param picture  its key
 * @param box, editable  see Editor.show; without `onBox` nothing is edited
 * @param marks  boxes beside it, as components/stage.js takes them
 * @param map  whether a big picture has a small map in its corner
 * @param control, editor  refs that are given the Stage and the Editor
 */
export function Picture({ picture, box = null, editable = false, marks = [], onBox, onDrawing, control, editor, label, lit, onLit, map = true, children }) {
  const latest = useRef({});
  latest.current = { box, editable, onBox, onDrawing };
  const ready = (osd, stage) => {
    if (!onBox) return;
    editor.current = new Editor(stage, {
      onBox: (changed) => latest.current.onBox(changed),
      onDrawing: (on) => latest.current.onDrawing?.(on),
    });
    editor.current.show(latest.current.box, latest.current.editable);
  };
  // At once, so that the next drag begins with what the last one left.
  useLayoutEffect(() => { editor?.current?.show(box, editable); });
  return html`<${Viewer} picture=${picture} boxes=${marks} control=${control} onReady=${ready} label=${label}
    lit=${lit} onLit=${onLit} navigator=${map}>${children}</${Viewer}>`;
}
