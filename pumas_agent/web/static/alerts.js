// Alerts: what is wrong, since when, and what to do. What can be done from here is one step away.

import { badge, h, hintOf, path, shown, when } from "./dom.js";

const RANK = ["critical", "error", "warning", "info"];
const FIRST = 4;

let open = false;

/** Show alerts in an element, worst first; many of them are folded. `links` leads to the model, and says of it what else its page would. */
export function alertList(element, alerts, { links = false, relocate = null } = {}) {
  if (alerts.length === 0) {
    element.replaceChildren();
    return;
  }
  const sorted = [...alerts].sort((one, other) => RANK.indexOf(one.severity) - RANK.indexOf(other.severity));
  const more = sorted.slice(FIRST);
  const folded = h("details", { class: "more", open, ontoggle: (event) => { open = event.target.open; } },
    h("summary", null, `${more.length} more`), list(more));
  const inFold = element.querySelector("details.more summary") === document.activeElement;
  element.replaceChildren(
    h("section", { class: "alerts", "aria-label": "Alerts" },
      h("h2", null, alerts.length === 1 ? "1 alert" : `${alerts.length} alerts`),
      list(sorted.slice(0, FIRST)),
      more.length > 0 ? folded : null),
  );
  if (inFold) element.querySelector("details.more summary")?.focus();

  function list(some) {
    return h("ul", null, some.map((alert) => item(alert, links, relocate)));
  }
}

function item(alert, links, relocate) {
  const evidence = alert.evidence ?? {};
  const about = !alert.model_id ? "the agent" : links && h("a", { href: `#/model/${encodeURIComponent(alert.model_id)}` }, h("bdi", null, shown(alert.model_id)));
  const first = evidence.findings?.[0];
  const more = first && evidence.findings_total > 1 ? ` (and ${evidence.findings_total - 1} more)` : "";
  const places = evidence.moved_to ? [evidence.moved_to] : evidence.candidates ?? [];
  return h(
    "li",
    { class: `alert ${shown(alert.severity)}` },
    h("p", { class: "line" }, badge(alert.severity), h("code", null, shown(alert.code)), about),
    first && links ? h("p", { class: "what" }, shown(first.message) + more) : null,
    alert.hint ? hintOf(alert.hint) : null,
    h("p", { class: "quiet" }, "since ", when(alert.since) ?? shown(alert.since), alert.path ? [" · ", path(alert.path)] : null),
    relocate && places.map((place) =>
      h("p", null, h("button", { type: "button", onclick: () => relocate(place) }, "Relocate to ", path(place)))),
  );
}
