// Who is here, and what may be done.
import { createContext, useContext } from "./dom.js";

// { person: { id, name, role } | null, login, readonly, version, again() }
export const Session = createContext({ person: null, login: false, readonly: false, version: "" });
export const useSession = () => useContext(Session);
