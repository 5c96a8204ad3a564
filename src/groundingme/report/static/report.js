"use strict";
// The gallery: filters, cards that are made as they come near, and one sample at a time.
// Whatever a model said reaches the page through `textContent` alone.
(() => {
  const BATCH = 18;
  const SVG = "http://www.w3.org/2000/svg";
  const { runs, kinds, samples } = JSON.parse(document.getElementById("data").textContent);
  const pictures = document.getElementById("pictures").textContent.split("\n");
  const hidden = new Set(runs.flatMap((run, at) => (run.drawn ? [] : [at])));
  const gallery = document.getElementById("gallery");
  const filters = document.getElementById("filters");

  // Elements.
  function el(name, props = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(props)) {
      if (key === "class") made.className = value;
      else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== false && value != null) made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child != null && child !== ""));
    return made;
  }
  function svg(name, props = {}, ...children) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(props)) if (value !== "") made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // Pictures with boxes.
  const address = (at) => `data:image/webp;base64,${pictures[at]}`;

  // One view of a sample: `view` is x, y, width and height of the part that is seen, in its pixels.
  function drawing(sample, view, crop, letters = true) {
    const [width, height] = sample.size;
    const parts = [];
    if (crop != null) {
      const [x, y, x2, y2] = sample.window;
      parts.push(svg("image", { x, y, width: x2 - x, height: y2 - y, href: address(crop), preserveAspectRatio: "none" }));
    } else if (sample.picture != null) {
      parts.push(svg("image", { width, height, href: address(sample.picture), preserveAspectRatio: "none" }));
    }
    const unit = Math.max(view[2], view[3]) / 26;
    sample.answers.forEach((answer, run) => {
      if (answer.box && !hidden.has(run)) parts.push(...outline(answer.box, runs[run].colour, runs[run].dash));
    });
    if (sample.target && !hidden.has("truth")) parts.push(...outline(sample.target, "true", ""));
    sample.answers.forEach((answer, run) => {
      if (!answer.box || !letters || hidden.has(run)) return;
      const x = Math.min(Math.max(answer.box[0] + run * unit * 1.15, view[0]), view[0] + view[2] - unit * 1.1);
      const y = Math.max(answer.box[1] - unit * 1.2, view[1]);
      parts.push(
        svg("rect", { x, y, width: unit * 1.05, height: unit * 1.1, rx: unit * 0.2, class: "mark-plate" }),
        svg("rect", { x, y, width: unit * 1.05, height: unit * 1.1, rx: unit * 0.2, class: `box-line ${runs[run].colour}` }),
        letter(runs[run].letter, x + unit * 0.525, y + unit * 0.87, unit * 0.9),
      );
    });
    return svg("svg", { viewBox: view.join(" "), role: "img", "aria-label": said(sample) }, ...parts);
  }
  function letter(text, x, y, size) {
    const made = svg("text", { x, y, "text-anchor": "middle", class: "mark-text" });
    made.style.fontSize = `${size}px`;
    made.textContent = text;
    return made;
  }
  function outline([x, y, x2, y2], colour, dash) {
    const frame = { x: Math.min(x, x2), y: Math.min(y, y2), width: Math.abs(x2 - x), height: Math.abs(y2 - y) };
    return [svg("rect", { ...frame, class: "halo" }), svg("rect", { ...frame, class: `box-line ${colour}`, "stroke-dasharray": dash })];
  }
  const said = (sample) => `${sample.text} ${sample.target ? "Truth: one box." : "Truth: nothing matches."}`;
  const whole = (sample) => [0, 0, sample.size[0], sample.size[1]];
  const close = ([x, y, x2, y2]) => [x, y, x2 - x, y2 - y];
  const drawable = (sample) => sample.size[0] > 0 && sample.size[1] > 0;

  function picture(sample, inset) {
    if (!drawable(sample) || (sample.picture == null && sample.problem)) {
      return el("span", { class: "picture none-picture" }, `no picture: ${sample.problem || "its size is not known"}`);
    }
    // In a card the words beside say it all.
    const made = el("span", { class: "picture", "aria-hidden": inset && "true" }, drawing(sample, whole(sample)));
    if (inset && sample.window) {
      // In the corner that is farthest from what it shows.
      const [x, y, x2, y2] = sample.window;
      const side = (x + x2) / 2 > sample.size[0] / 2 ? "left" : "right";
      const up = (y + y2) / 2 > sample.size[1] / 2 ? " up" : "";
      const zoom = drawing(sample, close(sample.window), sample.crop, false);
      zoom.setAttribute("class", `inset ${side}${up}`);
      made.append(zoom);
    }
    return made;
  }

  // Words.
  const chip = (run) => el("span", { class: `chip ${run.colour}` }, run.letter);
  function verdict(answer) {
    if (answer.right) return answer.iou == null ? "rejected" : `IoU ${answer.iou.toFixed(2)}`;
    const overlap = answer.iou == null ? "" : `, IoU ${answer.iou.toFixed(2)}`;
    return `${kinds[answer.kind]}${answer.on ? ` (${answer.on})` : ""}${overlap}`;
  }
  function verdictLine(answer, run) {
    return el("span", { class: `verdict ${answer.right ? "right" : "wrong"}` },
      run && chip(run), el("span", { class: "sign", "aria-label": answer.right ? "right" : "wrong" }, answer.right ? "✓" : "✗"), verdict(answer));
  }
  const subtask = (sample) => [sample.l1, sample.l2].filter(Boolean).join(" / ");

  function card(sample) {
    return el("button", { class: "card", type: "button", "data-id": sample.id, onclick: () => open(sample) },
      picture(sample, true),
      el("span", { class: "words" },
        el("span", { class: "where" }, el("span", {}, subtask(sample)), el("span", {}, sample.target ? sample.side : "nothing matches")),
        el("span", { class: "text" }, sample.text),
        el("span", { class: "verdicts" }, ...sample.answers.map((answer, run) => verdictLine(answer, runs[run])))));
  }

  // Filters. `is0` is what the first run should be on a sample, and so on.
  const OUTCOMES = ["right", "wrong", ...kinds.slice(1)];
  const SIDES = { small: "small (under 128 px)", medium: "medium (128 to 256 px)", large: "large (over 256 px)", none: "nothing matches" };
  const AGREEMENTS = { differ: "runs differ", all: "all are right", none: "none is right" };
  const SORTS = { divided: "most divided first", small: "smallest target first", unsure: "least sure first", sure: "surest first" };
  const state = {};
  const controls = {};

  const has = (sample, run, wanted) => {
    const answer = sample.answers[run];
    if (wanted === "right") return answer.right === 1;
    if (wanted === "wrong") return answer.right === 0;
    return kinds[answer.kind] === wanted;
  };
  const haystack = new Map();
  function searched(sample) {
    if (!haystack.has(sample)) {
      const texts = sample.answers.flatMap((answer) => [answer.reply, answer.reasoning, answer.failure]);
      haystack.set(sample, [sample.id, sample.text, ...texts].filter(Boolean).join("\n").toLowerCase());
    }
    return haystack.get(sample);
  }
  function fits(sample) {
    if (state.q && !state.q.toLowerCase().split(/\s+/).every((word) => searched(sample).includes(word))) return false;
    if (state.subtask && state.subtask !== sample.l1 && state.subtask !== `${sample.l1}/${sample.l2}`) return false;
    if (state.side && state.side !== (sample.side || "none")) return false;
    const count = sample.answers.filter((answer) => answer.right).length;
    if (state.agreement === "differ" && (count === 0 || count === runs.length)) return false;
    if (state.agreement === "all" && count < runs.length) return false;
    if (state.agreement === "none" && count > 0) return false;
    return runs.every((_, run) => !state[`is${run}`] || has(sample, run, state[`is${run}`]));
  }
  const area = ({ target }) => (target ? (target[2] - target[0]) * (target[3] - target[1]) : Infinity);
  const uneven = ({ answers }) => Math.abs(2 * answers.filter((one) => one.right).length - runs.length);
  const sure = ({ answers }) => {
    const known = answers.map((one) => one.sure).filter((one) => one != null);
    return known.length ? known.reduce((a, b) => a + b) / known.length : NaN;
  };
  // Unknown ones go last, whichever way it runs.
  const by = (value, sign = 1) => (a, b) => {
    const [x, y] = [value(a), value(b)];
    return Number.isNaN(x) - Number.isNaN(y) || (x === y ? 0 : sign * (x < y ? -1 : 1));
  };
  const ORDERS = { divided: by(uneven), small: by(area), unsure: by(sure), sure: by(sure, -1) };

  let shown = [];
  let made = 0;
  const sentinel = el("div", { id: "more" });
  const count = el("span", { role: "status", "aria-live": "polite" });
  const reset = el("button", { type: "button", onclick: () => apply({}) }, "Show all");

  function apply(wanted) {
    for (const name of Object.keys(state)) delete state[name];
    Object.assign(state, wanted);
    for (const [name, control] of Object.entries(controls)) control.value = state[name] || "";
    const more = filters.querySelector("details");
    if (more && Object.keys(state).some((name) => name.startsWith("is"))) more.open = true;
    refresh();
  }
  function refresh() {
    shown = samples.filter(fits);
    if (ORDERS[state.sort]) shown.sort(ORDERS[state.sort]);
    for (const [name, control] of Object.entries(controls)) control.classList.toggle("changed", Boolean(state[name]));
    count.textContent = `${shown.length.toLocaleString("en")} of ${samples.length.toLocaleString("en")} samples`;
    reset.hidden = !Object.values(state).some(Boolean);
    gallery.replaceChildren();
    made = 0;
    grow();
  }
  function grow() {
    const next = shown.slice(made, made + BATCH);
    made += next.length;
    gallery.append(...next.map(card));
    // Asked anew, the observer tells at once whether the end is still in sight.
    observer.unobserve(sentinel);
    if (made < shown.length) observer.observe(sentinel);
  }
  const observer = new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting)) grow(); }, { rootMargin: "1200px" });

  function control(name, label, input) {
    input.addEventListener("input", () => { state[name] = input.value; refresh(); });
    controls[name] = input;
    return el("label", { class: name === "q" ? "search" : "" }, el("span", { title: label }, label), input);
  }
  function choice(name, label, options, any = "any") {
    const entries = Array.isArray(options) ? options.map((one) => [one, one]) : Object.entries(options);
    return control(name, label, el("select", { name }, el("option", { value: "" }, any),
      ...entries.map(([value, text]) => el("option", { value }, text))));
  }
  function subtasks() {
    const groups = new Map();
    for (const { l1, l2 } of samples) if (l1) groups.set(l1, (groups.get(l1) || new Set()).add(l2));
    const found = {};
    for (const [l1, inner] of groups) {
      found[l1] = l1;
      for (const l2 of inner) if (l2) found[`${l1}/${l2}`] = `\u00a0\u00a0${l1} / ${l2}`;
    }
    return found;
  }
  // The legend's frames become switches: the truth first, then every run.
  function toggles() {
    document.querySelectorAll("#samples .legend li").forEach((item, at) => {
      const what = at ? at - 1 : "truth";
      const button = el("button", { type: "button", class: "toggle", "aria-pressed": String(!hidden.has(what)), title: "Draw or hide its boxes" }, ...item.childNodes);
      button.addEventListener("click", () => {
        if (!hidden.delete(what)) hidden.add(what);
        button.setAttribute("aria-pressed", String(!hidden.has(what)));
        refresh();
      });
      item.append(button);
    });
  }
  function build() {
    toggles();
    filters.append(
      control("q", "Search descriptions, ids and replies", el("input", { type: "search", name: "q", autocomplete: "off", spellcheck: "false" })),
      choice("subtask", "Subtask", subtasks(), "all"),
      choice("side", "Target size", SIDES));
    if (runs.length > 1) filters.append(choice("agreement", "Agreement", AGREEMENTS));
    const order = choice("sort", "Order", SORTS, "as in the data");
    const outcomes = runs.map((run, at) => choice(`is${at}`, `${run.letter} · ${run.label} is`, OUTCOMES, "anything"));
    if (runs.length <= 4) filters.append(...outcomes, order);
    else filters.append(order, el("details", {}, el("summary", {}, "By run"), el("div", {}, ...outcomes)));
    gallery.before(el("p", { class: "status" }, count, reset));
    gallery.after(sentinel);
  }

  // One sample.
  const at = el("span", { class: "at" });
  const body = el("div", { class: "sheet-body", tabindex: "0", role: "group", "aria-label": "Sample" });
  const dialog = el("dialog", { "aria-label": "One sample" },
    el("div", { class: "sheet" },
      el("div", { class: "sheet-top" }, at,
        el("button", { type: "button", "aria-label": "Previous sample", onclick: () => step(-1) }, "←"),
        el("button", { type: "button", "aria-label": "Next sample", onclick: () => step(1) }, "→"),
        el("button", { type: "button", onclick: () => dialog.close() }, "Close")),
      body));
  let current = null;

  function open(sample) {
    current = sample;
    at.textContent = `${sample.id} · ${subtask(sample)} · ${shown.indexOf(sample) + 1} of ${shown.length}`;
    const views = el("div", { class: "views" }, picture(sample, false));
    if (sample.window && drawable(sample)) {
      views.append(el("span", { class: "picture zoom" }, drawing(sample, close(sample.window), sample.crop)));
    }
    const truth = sample.target ? `Truth: ${box(sample.target)}, ${sample.side} target` : "Truth: nothing matches";
    body.replaceChildren(views, el("div", {}, el("h3", {}, sample.text), el("p", { class: "detail" }, truth),
      ...sample.answers.map((answer, run) => block(answer, runs[run]))));
    body.scrollTop = 0;
    if (!dialog.open) dialog.showModal();
    body.focus({ preventScroll: true });
  }
  const box = (edges) => `[${edges.join(", ")}]`;
  function block(answer, run) {
    const facts = [
      answer.box && `box ${box(answer.box)}`,
      answer.why && `read as ${answer.why}`,
      answer.sure != null && `confidence ${answer.sure.toFixed(2)}`,
      answer.seconds != null && `${answer.seconds} s`,
      answer.tokens != null && `${answer.tokens} tokens`,
      answer.finish && `ended by ${answer.finish}`,
    ].filter(Boolean);
    const made = el("div", { class: "run-block" },
      el("span", { class: "name" }, chip(run), el("span", { class: "label" }, run.label)),
      verdictLine(answer),
      el("p", { class: "detail" }, facts.join(" · ")));
    if (answer.reply) made.append(el("pre", { tabindex: "0", "aria-label": "Reply" }, answer.reply));
    if (answer.failure) made.append(el("p", {}, `No reply: ${answer.failure}`));
    if (answer.reasoning) made.append(el("details", {}, el("summary", {}, "Reasoning"), el("pre", { tabindex: "0" }, answer.reasoning)));
    return made;
  }
  function step(by) {
    const next = shown[shown.indexOf(current) + by];
    if (next) open(next);
  }
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      event.preventDefault();
      step(event.key === "ArrowLeft" ? -1 : 1);
    }
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  // Back to the card that was last seen, not to the one that was opened first.
  dialog.addEventListener("close", () => {
    const card = current && [...gallery.children].find((one) => one.dataset.id === current.id);
    if (card) card.focus();
  });

  // Links of the other sections that show some samples; "/" searches.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-show]");
    if (link) apply(JSON.parse(link.dataset.show));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !dialog.open && !event.target.closest("input, select, textarea")) {
      event.preventDefault();
      controls.q.focus();
    }
  });

  // Theme: the system's, light, dark.
  const THEMES = ["", "light", "dark"];
  const button = document.getElementById("theme");
  function paint(theme) {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    button.textContent = { "": "Auto", light: "Light", dark: "Dark" }[theme];
  }
  // A page that is opened from disk may be refused a memory.
  const remember = (work) => { try { return work(); } catch { return null; } };
  let theme = remember(() => localStorage.getItem("theme")) || "";
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    remember(() => localStorage.setItem("theme", theme));
    paint(theme);
  });

  paint(theme);
  document.body.append(dialog);
  build();
  refresh();
})();
