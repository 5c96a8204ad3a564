// Small drawings for buttons. They say nothing to a screen reader: the button's label does.
import { html } from "../core/dom.js";

const PATHS = {
  runs: "M4 20V10M10 20V4M16 20v-8M22 20H2",
  compare: "M4 4h6v16H4zM14 4h6v16h-6z",
  ask: "M21 12a8 8 0 0 1-8 8H4l2-3a8 8 0 1 1 15-5zM9 12h.01M13 12h.01M17 12h.01",
  annotate: "M4 8V5a1 1 0 0 1 1-1h3M16 4h3a1 1 0 0 1 1 1v3M20 16v3a1 1 0 0 1-1 1h-3M8 20H5a1 1 0 0 1-1-1v-3M9 12l2 2 4-4",
  help: "M9.1 9a3 3 0 1 1 4.2 2.8c-.9.4-1.3 1-1.3 2.2M12 17.5h.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z",
  theme: "M12 21a9 9 0 1 0 0-18zM12 3v18a9 9 0 0 0 0-18z",
  person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 21c.5-4 3.5-6 8-6s7.5 2 8 6",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  up: "M12 19V5M6 11l6-6 6 6",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  target: "M12 3v4M12 17v4M3 12h4M17 12h4M12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  eye: "M2 12s3.6-7 10-7 10 7 10 7-3.6 7-10 7S2 12 2 12zM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  hide: "M3 3l18 18M10 5.2A10 10 0 0 1 12 5c6.4 0 10 7 10 7a17 17 0 0 1-3 3.8M6 6.8A17 17 0 0 0 2 12s3.6 7 10 7a10 10 0 0 0 4.5-1",
  download: "M12 4v11M7 11l5 5 5-5M4 20h16",
  close: "M6 6l12 12M18 6L6 18",
  check: "M5 12l5 5 9-10",
  cross: "M7 7l10 10M17 7L7 17",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM16 16l5 5",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M9 9h.01",
  link: "M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
};

export const Icon = ({ name }) => html`
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
