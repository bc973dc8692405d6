// Under which names a bundle is registered, and the registration itself.

import { call } from "./agent.js";
import { announce, failure, findingList, h, shown } from "./dom.js";

const DEFAULT_FAMILY = "imported";

/** A form of family and name; `names` are those that a search proposes. Leads to the model when it is registered. */
export function nameForm(what, names, words, refresh) {
  const well = what.findings.length === 0;
  const folder = what.path.replace(/\/+$/, "").split("/").pop();
  const family = h("input", {
    id: "family",
    required: true,
    maxlength: "512",
    value: names.family ?? DEFAULT_FAMILY,
    autocomplete: "off",
    spellcheck: "false",
  });
  const name = h("input", {
    id: "official-name",
    required: true,
    maxlength: "512",
    value: names.official_name ?? what.suggested_official_name ?? folder,
    autocomplete: "off",
    spellcheck: "false",
  });
  const anyway = h("input", { id: "anyway", type: "checkbox", required: !well });
  const button = h("button", { type: "submit", class: "primary" }, "Register");
  const refused = h("div", null);
  return h(
    "form",
    {
      "aria-label": "Names",
      onsubmit: (event) => {
        event.preventDefault();
        register();
      },
    },
    h(
      "div",
      { class: "columns" },
      h("div", { class: "field" }, h("label", { for: "family" }, "Family"), family),
      h("div", { class: "field" }, h("label", { for: "official-name" }, "Name"), name),
    ),
    h("p", { class: "quiet" }, "Both become part of its id, which stays."),
    well
      ? null
      : h(
          "p",
          { class: "check" },
          anyway,
          h("label", { for: "anyway" }, "Register it although it is not valid. No runtime is given it before it is."),
        ),
    refused,
    h("div", { class: "buttons" }, button),
  );

  async function register() {
    button.disabled = true;
    refused.replaceChildren();
    try {
      const result = await call("import_external_diffusers_directory", {
        source_path: what.path,
        family: family.value.trim(),
        official_name: name.value.trim(),
        repo_id: names.repo_id ?? null,
        allow_unhealthy: anyway.checked,
      });
      if (result.success) {
        announce(`${result.status}: ${result.model_id}`);
        location.hash = `#/model/${encodeURIComponent(result.model_id)}`;
        refresh();
        return;
      }
      refused.replaceChildren(
        failure({ message: result.error ?? "It was refused.", hint: null }),
        result.model_id
          ? h(
              "p",
              null,
              "In the way: ",
              h(
                "a",
                { href: `#/model/${encodeURIComponent(result.model_id)}` },
                h("bdi", null, shown(result.model_id)),
              ),
            )
          : "",
        result.findings.length > 0 ? findingList(result.findings, words) : "",
      );
    } catch (error) {
      refused.replaceChildren(failure(error));
    } finally {
      button.disabled = false;
    }
  }
}
