// Alerts: what is wrong, since when, and what to do. What can be done from here is one step away.

import { badge, changed, h, hintOf, path, shown, when } from "./dom.js";

const RANK = ["critical", "error", "warning", "info"];
const FIRST = 4;
const MOST = 50;

let open = false;

/**
 * Show alerts in an element, worst first; many of them are folded.
 *
 * `links` leads to the model, and says of it what else its page would; `relocate` is offered where one moved.
 */
export function alertList(element, alerts, { links = false, relocate = null } = {}) {
  if (!changed(element, alerts)) return;
  if (alerts.length === 0) {
    element.replaceChildren();
    return;
  }
  const sorted = [...alerts].sort((one, other) => RANK.indexOf(one.severity) - RANK.indexOf(other.severity));
  const more = sorted.slice(FIRST, MOST);
  const unseen = sorted.length - FIRST - more.length;
  const summary = h("summary", null, `${sorted.length - FIRST} more`);
  const focused = document.activeElement?.matches(".alerts summary") && element.contains(document.activeElement);
  element.replaceChildren(
    h(
      "section",
      { class: "alerts", "aria-label": "Alerts" },
      h("h2", null, alerts.length === 1 ? "1 alert" : `${alerts.length.toLocaleString("en")} alerts`),
      list(sorted.slice(0, FIRST)),
      more.length > 0 &&
        h(
          "details",
          {
            class: "more",
            open,
            ontoggle: (event) => {
              open = event.target.open;
            },
          },
          summary,
          list(more),
          unseen > 0 &&
            h("p", { class: "quiet" }, `and ${unseen.toLocaleString("en")} that are not shown: see the list by health`),
        ),
    ),
  );
  if (focused) summary.focus();

  function list(some) {
    return h(
      "ul",
      null,
      some.map((alert) => item(alert, links, relocate)),
    );
  }
}

function item(alert, links, relocate) {
  const evidence = alert.evidence ?? {};
  const about = !alert.model_id
    ? "the agent"
    : links && h("a", { href: `#/model/${encodeURIComponent(alert.model_id)}` }, h("bdi", null, shown(alert.model_id)));
  const first = evidence.findings?.[0];
  const more = first && evidence.findings_total > 1 ? ` (and ${evidence.findings_total - 1} more)` : "";
  const places = evidence.moved_to ? [evidence.moved_to] : (evidence.candidates ?? []);
  return h(
    "li",
    { class: `alert ${shown(alert.severity)}` },
    h("p", { class: "line" }, badge(alert.severity), h("code", null, shown(alert.code)), about),
    first && links ? h("p", { class: "what" }, shown(first.message) + more) : null,
    alert.hint ? hintOf(alert.hint) : null,
    h(
      "p",
      { class: "quiet" },
      "since ",
      when(alert.since) ?? shown(alert.since),
      alert.path ? [" · ", path(alert.path)] : null,
    ),
    relocate &&
      places.map((place) =>
        h("p", null, h("button", { type: "button", onclick: () => relocate(place) }, "Relocate to ", path(place))),
      ),
  );
}
