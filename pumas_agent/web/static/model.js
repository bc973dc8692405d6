// One model: what it is, whether it works now, why not, and what can be done about it.

import { call } from "./agent.js";
import { alertList } from "./alerts.js";
import { relocateDialog, unregisterDialog } from "./dialogs.js";
import { announce, badge, changed, failure, fields, findingList, h, named, path, shown, size, when } from "./dom.js";

const SHOWN_FILES = 200;
const WATCHED = {
  events: "by events, at once",
  polling: "by comparing at intervals",
  nothing: "by nobody",
  no_agent: "no agent runs",
};

export function modelView(id, refresh) {
  const title = h("h1", { tabindex: "-1", "data-focus": true }, h("bdi", null, shown(id.split("/").pop())));
  const state = h("span", { class: "state" });
  const buttons = h("div", { class: "buttons" });
  const fault = h("div", null);
  const body = h("div", { class: "detail" }, h("p", { class: "quiet" }, "loading …"));
  const record = h("details", { class: "record" }, h("summary", null, "The whole record"), h("pre", { tabindex: "0" }));
  const element = h(
    "article",
    { class: "model", "aria-label": "Model" },
    h("p", { class: "back" }, h("a", { href: "#/" }, "← All models")),
    h("div", { class: "heading" }, title, state, h("p", { class: "id" }, h("bdi", null, shown(id))), buttons),
    fault,
    body,
  );
  let alive = true;
  let current = null;
  let texts = null;

  const relocate = (place) =>
    relocateDialog(current, texts, place, () => {
      announce("relocated");
      refresh();
    });
  const unregister = () =>
    unregisterDialog(current, () => {
      announce("unregistered");
      location.hash = "#/";
    });

  function showButtons() {
    const again = h("button", { type: "button", onclick: () => lookAgain(again) }, "Look again");
    buttons.replaceChildren(again);
    if (current.storage_kind === "external_reference") {
      buttons.append(
        h("button", { type: "button", onclick: () => relocate(null) }, "Relocate …"),
        h("button", { type: "button", class: "danger", onclick: unregister }, "Unregister …"),
      );
    }
  }

  async function lookAgain(button) {
    button.disabled = true;
    try {
      await call("reconcile", { model_id: id });
      fault.replaceChildren();
      announce("looked at");
      await refresh();
    } catch (error) {
      fault.replaceChildren(failure(error));
    } finally {
      button.disabled = false;
    }
  }

  return {
    where: "model",
    element,
    async refresh({ words }) {
      if (!alive) return;
      let model;
      let why;
      try {
        [model, why] = await Promise.all([
          call("get_model", { model_id: id }),
          call("explain_model", { model_id: id }),
        ]);
      } catch (error) {
        if (error.code !== "model_not_found") throw error;
        alive = false;
        buttons.replaceChildren();
        state.replaceChildren();
        body.replaceChildren(
          h(
            "section",
            { class: "panel" },
            h("p", null, "This model is not in the library, or not any more."),
            h("p", null, h("a", { href: "#/" }, "See all models")),
          ),
        );
        return;
      }
      [current, texts] = [model, words];
      fault.replaceChildren();
      if (changed(buttons, model.storage_kind)) showButtons();
      if (!changed(body, model, why)) return;
      const isExternal = model.storage_kind === "external_reference";
      title.replaceChildren(h("bdi", null, shown(model.officialName || model.id)));
      state.replaceChildren(badge(model.validation_state, model.validation_state ? undefined : "no verdict"));
      record.lastChild.textContent = textOf(model.metadata);
      const alerts = h("div", null);
      alertList(alerts, why.alerts, { relocate: isExternal ? relocate : null });
      const focused = record.contains(document.activeElement) ? document.activeElement : null;
      body.replaceChildren(
        h(
          "p",
          { class: `why ${why.healthy ? "well" : "ill"}` },
          shown(why.summary),
          why.settling ? " It is being written right now." : "",
        ),
        alerts,
        ...findings(model, why, words),
        about(model, why),
        components(why),
        files(why),
        record,
      );
      focused?.focus();
    },
    failed(error) {
      fault.replaceChildren(failure(error));
    },
  };
}

/** An object as a person reads it. The new lines are ours; those in a text are spelled out. */
function textOf(value) {
  return JSON.stringify(value, null, 2).split("\n").map(shown).join("\n");
}

function findings(model, why, words) {
  const explained = [
    ...(why.bundle?.findings ?? []),
    ...(why.bundle?.components ?? []).flatMap((part) => part.findings),
  ];
  const notices = [...(why.bundle?.notices ?? []), ...(why.bundle?.components ?? []).flatMap((part) => part.notices)];
  const wrong = explained.length > 0 ? explained : model.validation_errors;
  const unread = model.metadata_findings.map(({ field, message }) => ({
    code: "unreadable_field",
    message,
    path: field,
  }));
  return [
    wrong.length > 0 && section("What is wrong", findingList(wrong, words)),
    notices.length > 0 && section("Worth knowing", findingList(notices, words, "notice")),
    unread.length > 0 && section("Fields of the record that cannot be read", findingList(unread, words, "notice")),
  ].filter(Boolean);
}

function section(title, ...content) {
  return h("section", { class: "panel" }, h("h2", null, title), ...content);
}

function about(model, why) {
  const record = model.metadata;
  const place = why.place;
  return section(
    "About it",
    fields([
      ["Type", shown(model.modelType)],
      ["Family", shown(record.family)],
      ["Task", shown(record.task_type_primary)],
      ["Pipeline", shown(record.pipeline_class)],
      [
        "Storage",
        model.storage_kind === "external_reference"
          ? "external: its files stay where their owner put them"
          : "the library's own",
      ],
      ["Format", named(model.bundle_format)],
      ["Size", size(record.size_bytes ?? why.bundle?.size_bytes)],
      ["Path", place?.root ? path(place.root) : path(model.path)],
      ["Given as", place?.given_path && place.given_path !== place.root ? path(place.given_path) : null],
      ["Primary file", model.primary_file ? path(model.primary_file) : null],
      ["Variant to load", shown(why.bundle?.load_variant)],
      ["Stored as", shown(why.bundle?.load_dtype)],
      [
        "Weights",
        why.bundle?.security_tier === "pickle"
          ? "pickles: loading them can run code"
          : why.bundle?.security_tier === "safe"
            ? "safe to load"
            : null,
      ],
      ["Repository", shown(record.repo_id)],
      [
        "Tags",
        model.tags.length > 0
          ? h(
              "ul",
              { class: "tags" },
              model.tags.map((tag) => h("li", null, shown(tag))),
            )
          : null,
      ],
      ["Notes", record.notes ? shown(record.notes) : null],
      ["Added", when(record.added_date)],
      ["Changed", when(model.updatedAt)],
      ["Judged", when(model.validated_at)],
      [
        "Watched",
        (WATCHED[why.watching.by] ?? shown(why.watching.by)) + (why.watching.why ? `: ${shown(why.watching.why)}` : ""),
      ],
    ]),
  );
}

/** The components of a bundle; also of one that is not registered yet. */
export function componentTable(parts) {
  const names = ["Component", "Is", "Class", "Library"];
  return h(
    "table",
    { class: "components", role: "table" },
    h(
      "thead",
      { role: "rowgroup" },
      h(
        "tr",
        { role: "row" },
        names.map((name) => h("th", { scope: "col", role: "columnheader" }, name)),
      ),
    ),
    h(
      "tbody",
      { role: "rowgroup" },
      parts.map((part) =>
        h(
          "tr",
          { role: "row" },
          h("th", { scope: "row", role: "rowheader" }, h("bdi", null, shown(part.name))),
          h(
            "td",
            { role: "cell" },
            part.findings?.length > 0
              ? badge("invalid", `${part.state}, ${part.findings.length} wrong`)
              : badge(part.state, part.state.replace("_", " ")),
          ),
          h("td", { role: "cell" }, shown(part.class_name ?? "–")),
          h("td", { role: "cell" }, shown(part.source_library ?? "–")),
        ),
      ),
    ),
  );
}

function components(why) {
  const parts = why.bundle?.components ?? [];
  return parts.length > 0 ? section("Components", componentTable(parts)) : "";
}

function files(why) {
  if (!why.files || why.files.files.length === 0) return "";
  const listed = why.files.files.slice(0, SHOWN_FILES);
  const more = why.files.files.length - listed.length + why.files.more_files;
  return section(
    "Files",
    h(
      "ul",
      { class: "files" },
      listed.map((file) =>
        h(
          "li",
          null,
          path(file.name),
          " ",
          h("span", { class: "quiet" }, size(file.size), file.is_primary ? ", the one to load" : ""),
        ),
      ),
    ),
    more > 0 ? h("p", { class: "quiet" }, `${more} more`) : null,
    why.files.missing_files.length > 0
      ? h(
          "p",
          null,
          "missing: ",
          why.files.missing_files.map((name) => [path(name), " "]),
        )
      : null,
  );
}
