// Tabs of one browser tell each other which item they have open, and what they saved.
import { useEffect, useRef, useState } from "../core/dom.js";
import { PAGE } from "./keeper.js";

const CHANNEL = "groundingme.annotate";
const ANSWERS_WITHIN = 120;

/**
 * Which other tabs have an item open.
 *
 * `living()` resolves to the set of pages that answered; `others` is how many there are;
 * `saved(version, document)` tells them, and `onSaved` hears them.
 */
export function useTabs(person, item, onSaved) {
  const [others, setOthers] = useState(0);
  const channel = useRef(null);
  const pages = useRef(new Set());
  const heard = useRef(onSaved);
  heard.current = onSaved;
  useEffect(() => {
    if (!item || typeof BroadcastChannel === "undefined") return undefined;
    pages.current = new Set();
    const about = { person, item, page: PAGE };
    const opened = new BroadcastChannel(CHANNEL);
    const count = () => setOthers(pages.current.size);
    opened.onmessage = ({ data }) => {
      if (data.item !== item || data.person !== person || data.page === PAGE) return;
      if (data.what === "saved") heard.current(data.version, data.document);
      if (data.what === "closed") pages.current.delete(data.page);
      else pages.current.add(data.page);
      if (data.what === "opened") opened.postMessage({ ...about, what: "here" });
      count();
    };
    opened.postMessage({ ...about, what: "opened" });
    channel.current = opened;
    const leave = () => opened.postMessage({ ...about, what: "closed" });
    window.addEventListener("pagehide", leave);
    return () => {
      leave();
      window.removeEventListener("pagehide", leave);
      opened.close();
      channel.current = null;
      setOthers(0);
    };
  }, [person, item]);
  return {
    others,
    living: () => new Promise((done) => setTimeout(() => done(new Set(pages.current)), ANSWERS_WITHIN)),
    saved: (version, document) =>
      channel.current?.postMessage({ person, item, page: PAGE, what: "saved", version, document }),
  };
}
