// Who else has the same item before them.
import { useEffect, useState } from "../core/dom.js";
import { at, get, send } from "../core/api.js";

const EVERY = 10_000;

/** The others on an item: [{ id, name }]. Says every ten seconds that this person is there, too. */
export function usePresence(item, person) {
  const [others, setOthers] = useState([]);
  useEffect(() => {
    setOthers([]);
    if (!item) return undefined;
    let here = true;
    const beat = async () => {
      if (document.visibilityState === "hidden") return;
      try {
        await send("POST", at`/api/items/${item}/here`);
        const found = await get(at`/api/items/${item}/presence`);
        const people = found.items ?? found.people ?? [];
        if (here) setOthers(people.filter((one) => one.id !== person));
      } catch {
        // The next beat tries again; what is typed does not depend on it.
      }
    };
    beat();
    const timer = setInterval(beat, EVERY);
    return () => { here = false; clearInterval(timer); };
  }, [item, person]);
  return others;
}
