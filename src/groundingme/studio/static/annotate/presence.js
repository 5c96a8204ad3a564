// Who else has the same item before them.
import { useEffect, useState } from "../core/dom.js";
import { at, send } from "../core/api.js";

const EVERY = 10_000;

/** The others on an item: [{ id, name }]. Says every ten seconds that this person is there, too. */
export function usePresence(item) {
  const [others, setOthers] = useState([]);
  useEffect(() => {
    setOthers([]);
    if (!item) return undefined;
    let here = true;
    const beat = async () => {
      if (document.visibilityState === "hidden") return;
      try {
        const found = await send("POST", at`/api/items/${item}/here`);
        if (here) setOthers(found.items);
      } catch {
        // The next beat tries again; what is typed does not depend on it.
      }
    };
    beat();
    const timer = setInterval(beat, EVERY);
    return () => { here = false; clearInterval(timer); };
  }, [item]);
  return others;
}
