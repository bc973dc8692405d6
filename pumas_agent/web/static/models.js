// The list: what is wrong, then the models, a page of them at a time. The agent filters, searches and counts.

import { call } from "./agent.js";
import { badge, changed, failure, h, named, path, shown, size, when } from "./dom.js";
import { alertList } from "./alerts.js";

const PAGE = 50;
const TYPING_MS = 180;
const HEALTH = ["valid", "degraded", "invalid"];
const COLUMNS = ["Model", "Health", "Type", "Storage", "Format", "Size", "Changed"];

/** What is looked for outlives the view, so that the way back from a model leads to where one was. */
const wanted = { query: "", validation_state: "", storage_kind: "", model_type: "", bundle_format: "", offset: 0 };

export function modelsView(refresh) {
  let asking = null;
  let typing = null;
  let types = null;

  const alerts = h("div", null);
  const summary = h("div", { class: "summary" });
  const search = h("input", {
    type: "search",
    id: "search",
    placeholder: "name, id, tag, repository",
    autocomplete: "off",
    spellcheck: "false",
    value: wanted.query,
    oninput: onType,
  });
  const storage = choice("storage_kind", "Storage", [
    ["", "any"],
    ["external_reference", "external"],
    ["library_owned", "library"],
  ]);
  const type = choice("model_type", "Type", [["", "any"]]);
  const format = choice("bundle_format", "Format", [
    ["", "any"],
    ["diffusers_directory", "diffusers"],
  ]);
  const health = choice("validation_state", "Health", [["", "any"], ...HEALTH.map((state) => [state, state])]);
  const reset = h("button", { type: "button", class: "plain", onclick: onReset, hidden: true }, "Show all");
  const rows = h("tbody", { role: "rowgroup" });
  const table = h(
    "table",
    { class: "models", role: "table", "aria-labelledby": "models-title", hidden: true },
    h(
      "thead",
      { role: "rowgroup" },
      h(
        "tr",
        { role: "row" },
        COLUMNS.map((name) => h("th", { scope: "col", role: "columnheader", class: name.toLowerCase() }, name)),
      ),
    ),
    rows,
  );
  const count = h("p", { class: "count", role: "status" });
  const previous = h("button", { type: "button", onclick: () => turn(-PAGE) }, "Previous");
  const next = h("button", { type: "button", onclick: () => turn(PAGE) }, "Next");
  const pages = h("nav", { class: "pages", "aria-label": "Pages of the list", hidden: true }, previous, next);
  const fault = h("div", null);

  const element = h(
    "div",
    { class: "list" },
    alerts,
    h(
      "section",
      { "aria-labelledby": "models-title" },
      h(
        "div",
        { class: "heading" },
        h("h1", { id: "models-title", tabindex: "-1", "data-focus": true }, "Models"),
        summary,
      ),
      h(
        "form",
        { class: "filters", role: "search", "aria-label": "Models", onsubmit: (event) => event.preventDefault() },
        h("div", { class: "field wide" }, h("label", { for: "search" }, "Search"), search),
        health.field,
        type.field,
        storage.field,
        format.field,
        reset,
      ),
      fault,
      table,
      h("div", { class: "under" }, count, pages),
    ),
  );

  function choice(name, label, options) {
    const select = h("select", { id: `by-${name}`, onchange: () => change(name, select.value) }, options.map(option));
    select.value = wanted[name];
    return { select, field: h("div", { class: "field" }, h("label", { for: `by-${name}` }, label), select) };
  }

  function change(name, value) {
    wanted[name] = value;
    wanted.offset = 0;
    load();
  }

  function onType() {
    clearTimeout(typing);
    typing = setTimeout(() => change("query", search.value), TYPING_MS);
  }

  function onReset() {
    Object.assign(wanted, {
      query: "",
      validation_state: "",
      storage_kind: "",
      model_type: "",
      bundle_format: "",
      offset: 0,
    });
    search.value = "";
    for (const each of [health, type, storage, format]) each.select.value = "";
    search.focus();
    load();
  }

  function turn(by) {
    wanted.offset = Math.max(0, wanted.offset + by);
    load().then(() => table.scrollIntoView({ block: "start" }));
  }

  async function load() {
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    const { query, offset, ...filters } = wanted;
    const params = { limit: PAGE, offset };
    for (const [name, value] of Object.entries(filters)) if (value) params[name] = value;
    try {
      const text = query.trim();
      const found = text
        ? await call("search_models", { query: text, ...params }, signal)
        : await call("list_models", params, signal);
      fault.replaceChildren();
      show(found);
    } catch (error) {
      if (error.name !== "AbortError") fault.replaceChildren(failure(error));
    }
  }

  function show({ models, totalCount }) {
    if (models.length === 0 && wanted.offset > 0) {
      wanted.offset = Math.max(0, (Math.ceil(totalCount / PAGE) - 1) * PAGE);
      load();
      return;
    }
    if (changed(rows, models)) {
      const focused = rows.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      rows.replaceChildren(...models.map(row));
      if (focused) [...rows.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
    }
    const filtered = Object.entries(wanted).some(([name, value]) => name !== "offset" && value !== "");
    reset.hidden = !filtered;
    table.hidden = models.length === 0;
    const first = wanted.offset + 1;
    const last = wanted.offset + models.length;
    const number = (value) => value.toLocaleString("en");
    if (models.length > 0)
      count.textContent = [number(first), "to", number(last), "of", number(totalCount), filtered && "that match"]
        .filter(Boolean)
        .join(" ");
    else
      count.textContent = filtered
        ? "No model matches."
        : "There is no model yet. Register a bundle, and it shows here.";
    pages.hidden = totalCount <= PAGE;
    previous.disabled = wanted.offset === 0;
    next.disabled = last >= totalCount;
  }

  function showSummary({ models, bundles, alerts: standing }) {
    const wrong = standing.filter((alert) => alert.severity !== "info").length;
    if (!changed(summary, models, bundles, wrong, wanted.validation_state)) return;
    const pressed = [...summary.children].indexOf(document.activeElement);
    const states = HEALTH.filter((name) => bundles[name]).map((name) =>
      h(
        "button",
        {
          type: "button",
          class: "tally",
          "aria-pressed": String(wanted.validation_state === name),
          onclick: () => {
            health.select.value = wanted.validation_state === name ? "" : name;
            change("validation_state", health.select.value);
            refresh();
          },
        },
        badge(name, `${bundles[name].toLocaleString("en")} ${name}`),
      ),
    );
    summary.replaceChildren(
      h("span", { class: "total" }, `${models.toLocaleString("en")} ${models === 1 ? "model" : "models"}`),
      ...states,
      wrong ? "" : h("span", { class: "well" }, "Nothing is wrong"),
    );
    if (pressed >= 0) summary.children[pressed]?.focus();
  }

  return {
    where: "models",
    element,
    async refresh({ status, words }) {
      if (types === null && words.model_types.length > 0) {
        types = words.model_types;
        type.select.append(...types.map((name) => option([name, name])));
        type.select.value = wanted.model_type;
      }
      alertList(alerts, status.alerts, { links: true });
      showSummary(status);
      await load();
    },
    failed(error) {
      fault.replaceChildren(failure(error));
    },
  };
}

function option([value, text]) {
  return h("option", { value }, text);
}

function row(model) {
  const where = model.storage_kind === "external_reference" ? model.entry_path : model.path;
  const cell = (label, ...content) => h("td", { role: "cell", class: label.toLowerCase() }, ...content);
  return h(
    "tr",
    { role: "row" },
    h(
      "th",
      { scope: "row", role: "rowheader", class: "model" },
      h(
        "a",
        { href: `#/model/${encodeURIComponent(model.id)}` },
        h("bdi", null, shown(model.officialName || model.id)),
      ),
      h(
        "span",
        { class: "id" },
        h("bdi", null, shown(model.id)),
        where ? h("span", { class: "place", title: shown(where) }, path(where)) : null,
      ),
    ),
    cell("Health", badge(model.validation_state, model.validation_state ? undefined : "no verdict")),
    cell("Type", shown(model.modelType)),
    cell("Storage", named(model.storage_kind)),
    cell("Format", model.bundle_format ? named(model.bundle_format) : "files"),
    cell("Size", size(model.size_bytes) || "–"),
    cell("Changed", when(model.updatedAt, true) ?? "–"),
  );
}
