// A bundle enters the library where it lies: which folder, what it is, under which names, and then it is registered.

import { call } from "./agent.js";
import { announce, badge, failure, fields, findingList, h, path, shown, size } from "./dom.js";
import { componentTable } from "./model.js";
import { nameForm } from "./naming.js";

const KINDS = {
  single_file: "one model file",
  single_bundle: "a diffusers bundle",
  single_model_directory: "a folder with one model",
  multi_model_container: "a folder with several models",
  ambiguous: "not clearly one model",
  unsupported: "nothing that can be registered",
};

export function registerView(state, refresh) {
  let asking = null;
  let chosen = null;

  const input = h("input", {
    id: "folder",
    type: "text",
    required: true,
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "/srv/models/stable-diffusion-xl",
  });
  const look = h("button", { type: "submit", class: "primary" }, "Look at it");
  const below = h(
    "button",
    { type: "button", onclick: () => input.reportValidity() && discover([input.value.trim()]) },
    "Find bundles below it",
  );
  const usual = h(
    "button",
    { type: "button", class: "plain", onclick: () => discover(null) },
    "Find in the configured folders",
  );
  const progress = h("p", { class: "quiet", role: "status" });
  const fault = h("div", null);
  const found = h("div", null);
  const verdict = h("div", null);
  const element = h(
    "article",
    { class: "register", "aria-labelledby": "register-title" },
    h("p", { class: "back" }, h("a", { href: "#/" }, "← All models")),
    h("h1", { id: "register-title", tabindex: "-1", "data-focus": true }, "Register a bundle"),
    h(
      "p",
      null,
      "A bundle is a diffusers folder, one with a model_index.json. It is registered where it lies: ",
      "nothing is copied, moved or written there.",
    ),
    h(
      "form",
      {
        class: "panel",
        "aria-label": "Folder",
        onsubmit: (event) => {
          event.preventDefault();
          classify(input.value.trim());
        },
      },
      h("div", { class: "field wide" }, h("label", { for: "folder" }, "Folder, on the machine of the agent"), input),
      h("div", { class: "buttons" }, look, below, usual),
    ),
    progress,
    fault,
    found,
    verdict,
  );

  async function ask(what, method, params, show) {
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    progress.textContent = `${what} …`;
    fault.replaceChildren();
    try {
      show(await call(method, params, signal));
    } catch (error) {
      if (error.name !== "AbortError") fault.replaceChildren(failure(error));
    } finally {
      if (!signal.aborted) progress.textContent = "";
    }
  }

  function discover(paths) {
    verdict.replaceChildren();
    ask(
      paths ? "searching the folder" : "searching the configured folders",
      "discover_bundles",
      paths ? { paths } : {},
      showFound,
    );
  }

  function showFound({ bundles, searched, not_searched: left, truncated }) {
    const places = (some) => some.map(({ path: place, reason }) => h("li", null, path(place), `: ${shown(reason)}`));
    found.replaceChildren(
      h(
        "section",
        { class: "panel" },
        h("h2", null, bundles.length === 1 ? "1 bundle" : `${bundles.length} bundles`),
        searched.length === 0 && left.length === 0
          ? h("p", { class: "hint" }, "No folder is configured: set bundles.search_roots, or name a folder above.")
          : null,
        h("ul", { class: "found" }, bundles.map(foundItem)),
        truncated
          ? h("p", { class: "hint" }, "The search met a bound, so there may be more: name a folder further down.")
          : null,
        left.length > 0
          ? h(
              "details",
              null,
              h("summary", null, `${left.length} folders were not searched`),
              h("ul", null, places(left)),
            )
          : null,
      ),
    );
    announce(`${bundles.length} bundles found`);
  }

  function foundItem(bundle) {
    const action = bundle.registered
      ? h(
          "a",
          {
            class: "button",
            href: `#/model/${encodeURIComponent(bundle.model_id)}`,
            "aria-label": `See ${shown(bundle.model_id)}`,
          },
          "Registered: see it",
        )
      : h(
          "button",
          { type: "button", "aria-label": `Choose ${shown(bundle.path)}`, onclick: () => choose(bundle) },
          "Choose",
        );
    return h(
      "li",
      null,
      h(
        "div",
        { class: "grow" },
        h(
          "p",
          { class: "line" },
          h("strong", null, h("bdi", null, shown(bundle.repo_id ?? bundle.official_name))),
          badge(bundle.health),
          h("span", { class: "quiet" }, size(bundle.size_bytes)),
        ),
        h("p", { class: "quiet" }, path(bundle.path)),
        bundle.first_finding ? h("p", { class: "what" }, shown(bundle.first_finding.message)) : null,
      ),
      action,
    );
  }

  function choose(bundle) {
    input.value = bundle.path;
    classify(bundle.path, bundle);
  }

  function classify(folder, names = null) {
    chosen = names;
    verdict.replaceChildren();
    if (!names) found.replaceChildren();
    ask("looking at it", "classify_model_import_paths", { paths: [folder] }, ({ classifications: [what] }) =>
      showVerdict(what),
    );
  }

  function showVerdict(what) {
    const isBundle = what.kind === "single_bundle";
    const well = isBundle && what.findings.length === 0;
    const parts = what.component_manifest ?? [];
    verdict.replaceChildren(
      h(
        "section",
        { class: "panel", "aria-labelledby": "verdict-title" },
        h(
          "div",
          { class: "heading" },
          h(
            "h2",
            { id: "verdict-title", tabindex: "-1" },
            isBundle ? shown(what.pipeline_class ?? "A bundle") : "What it is",
          ),
          isBundle
            ? badge(well ? "valid" : "invalid", well ? "valid" : `${what.findings.length} wrong`)
            : badge("unjudged", KINDS[what.kind] ?? shown(what.kind)),
        ),
        fields([
          ["Path", path(what.path)],
          ["Kind", KINDS[what.kind] ?? shown(what.kind)],
          ["Size", size(what.size_bytes)],
          ["Because", shown(what.reasons.join("; "))],
        ]),
        what.findings.length > 0 ? [h("h3", null, "What is wrong"), findingList(what.findings, state.words)] : null,
        parts.length > 0
          ? h("details", { open: !well }, h("summary", null, `${parts.length} components`), componentTable(parts))
          : null,
        what.candidates.length > 0
          ? [h("h3", null, "What lies in it"), h("ul", { class: "found" }, what.candidates.map(candidate))]
          : null,
        isBundle ? nameForm(what, chosen ?? {}, state.words, refresh) : h("p", { class: "hint" }, advice(what)),
      ),
    );
    verdict.querySelector("#verdict-title").focus({ preventScroll: true });
    verdict.scrollIntoView({ block: "nearest" });
  }

  function advice(what) {
    if (what.candidates.length > 0) return "Choose one of them, or search for bundles below the folder.";
    if (what.kind === "single_file" || what.kind === "single_model_directory")
      return "The page registers bundles. `pumas-agent import` copies other models into the library.";
    return "Name the folder that holds model_index.json, or search for bundles below this one.";
  }

  function candidate(one) {
    const bundle = one.kind === "external_diffusers_bundle";
    return h(
      "li",
      null,
      h(
        "div",
        { class: "grow" },
        h(
          "p",
          { class: "line" },
          h("strong", null, h("bdi", null, shown(one.display_name))),
          bundle
            ? badge(one.findings.length > 0 ? "invalid" : "valid")
            : h("span", { class: "quiet" }, shown(one.kind.replaceAll("_", " "))),
        ),
        h("p", { class: "quiet" }, path(one.path)),
      ),
      bundle
        ? h(
            "button",
            {
              type: "button",
              "aria-label": `Choose ${shown(one.path)}`,
              onclick: () => {
                input.value = one.path;
                classify(one.path);
              },
            },
            "Choose",
          )
        : null,
    );
  }

  return {
    where: "register",
    element,
    refresh() {},
    failed(error) {
      fault.replaceChildren(failure(error));
    },
  };
}
