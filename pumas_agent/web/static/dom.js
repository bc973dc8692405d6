// How things look in the page: elements, and what is written in them. Text is only ever text, never markup.

/** An element with attributes, listeners (`onclick`) and children; children that are null or false are left out. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(element, child);
    else if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

/** Text that others wrote, as it can be shown anywhere: control characters and direction marks are spelled out. */
export function shown(text) {
  return String(text ?? "").replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (character) => {
    const code = character.codePointAt(0).toString(16);
    return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, "0")}`;
  });
}

/** A place on the disk. */
export function path(text) {
  return h("bdi", { class: "path" }, shown(text));
}

/** A size, as the command line says it. */
export function size(bytes) {
  if (typeof bytes !== "number") return "";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 999.5 && unit < units.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${unit === 0 || bytes >= 99.5 ? Math.round(bytes) : bytes.toFixed(1)} ${units[unit]}`;
}

/** A moment, in words that need no arithmetic; the exact one is the title. Briefly, today is told by the time alone. */
export function when(stamp, briefly = false) {
  const moment = new Date(stamp ?? "");
  if (Number.isNaN(moment.getTime())) return null;
  const today = moment.toDateString() === new Date().toDateString();
  const text = briefly
    ? today
      ? moment.toLocaleTimeString(undefined, { timeStyle: "short" })
      : moment.toLocaleDateString(undefined, { dateStyle: "medium" })
    : moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  return h("time", { datetime: moment.toISOString(), title: moment.toISOString() }, text);
}

const MARKS = {
  valid: "✓",
  degraded: "▲",
  invalid: "✕",
  unsupported: "–",
  unjudged: "?",
  info: "i",
  warning: "▲",
  error: "✕",
  critical: "✕",
  present: "✓",
};

/** A state: a mark and its word, so that the colour is never the only sign. */
export function badge(state, word) {
  if (!state) return h("span", { class: "badge none" }, word ?? "not judged");
  const mark = h("span", { class: "mark", "aria-hidden": "true" }, MARKS[state] ?? "✕");
  return h("span", { class: `badge ${state}` }, mark, h("span", null, word ?? shown(state)));
}

const NAMES = {
  external_reference: "external",
  library_owned: "library",
  diffusers_directory: "diffusers",
};

/** What a fixed word of a contract is called on the screen. */
export function named(value) {
  return NAMES[value] ?? shown(value ?? "");
}

/** Terms and what they are; those that are empty are left out. */
export function fields(pairs) {
  const rows = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h(
    "dl",
    { class: "fields" },
    rows.map(([term, value]) => h("div", null, h("dt", null, term), h("dd", null, value))),
  );
}

/** What is wrong, each with what it means and what to do; `words` are the texts of the kinds of findings. */
export function findingList(findings, words, kind = "error") {
  return h(
    "ul",
    { class: `findings ${kind}` },
    findings.map((finding) => {
      const known = words.findings[finding.code];
      const hint = finding.hint ?? known?.hint;
      return h(
        "li",
        null,
        h("p", { class: "what" }, shown(finding.message)),
        h(
          "p",
          { class: "where" },
          h("code", null, shown(finding.code)),
          finding.path ? [" in ", path(finding.path)] : null,
        ),
        hint ? hintOf(hint) : null,
      );
    }),
  );
}

/** What to do: text in which commands stand between backticks. */
export function hintOf(text) {
  const parts = shown(text).split("`");
  return h(
    "p",
    { class: "hint" },
    parts.map((part, index) => (index % 2 === 1 && index < parts.length - 1 ? h("code", null, part) : part)),
  );
}

/** An error of the agent, or of the way to it: what, and what to do. Said aloud when it appears. */
export function failure(error) {
  return h(
    "div",
    { class: "failure", role: "alert" },
    h("p", { class: "what" }, h("span", { class: "mark", "aria-hidden": "true" }, "✕ "), shown(error.message)),
    error.hint ? hintOf(error.hint) : null,
  );
}

/** Say something to who does not see the screen. */
export function announce(text) {
  document.getElementById("news").textContent = shown(text);
}

const last = new WeakMap();

/** Whether something else is to be shown in an element than the last time: what stays is left alone, with its focus. */
export function changed(element, ...values) {
  const text = JSON.stringify(values);
  if (last.get(element) === text) return false;
  last.set(element, text);
  return true;
}
