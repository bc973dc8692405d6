// What changes a registered bundle: the plan first, as the agent makes it, then the deed when it is confirmed.

import { call } from "./agent.js";
import { badge, failure, fields, findingList, h, path, shown } from "./dom.js";

const SAME = {
  proven: "the same bundle, proven",
  other: "another bundle",
  unknown: "not known to be the same bundle",
};

function open(title, body, buttons) {
  const heading = h("h2", { id: "dialog-title" }, title);
  const dialog = h(
    "dialog",
    { "aria-labelledby": "dialog-title", onclose: () => dialog.remove() },
    heading,
    body,
    h(
      "div",
      { class: "buttons" },
      h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
      ...buttons,
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Run what a button does, and leave it be while it does. */
async function working(button, work, fault) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  fault.replaceChildren();
  try {
    await work();
  } catch (error) {
    fault.replaceChildren(failure(error));
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

/** Say where a bundle is now. `place` is where it may be; `done` is called when it was relocated. */
export function relocateDialog(model, words, place, done) {
  const input = h("input", {
    id: "new-path",
    name: "new-path",
    type: "text",
    required: true,
    autocomplete: "off",
    spellcheck: "false",
    value: place ?? "",
    placeholder: "/absolute/path/of/the/bundle",
    oninput: forget,
  });
  const force = h("input", { id: "force", type: "checkbox", onchange: plan });
  const forcing = h(
    "p",
    { class: "check", hidden: true },
    force,
    h("label", { for: "force" }, "Take what is there although it is not proven to be the same bundle"),
  );
  const fault = h("div", null);
  const shownPlan = h("div", { class: "plan", "aria-live": "polite" });
  const planning = h("button", { type: "submit", form: "relocate" }, "Show the plan");
  const apply = h(
    "button",
    { type: "button", class: "primary", disabled: true, onclick: () => working(apply, deed, fault) },
    "Relocate",
  );
  const form = h(
    "form",
    {
      id: "relocate",
      onsubmit: (event) => {
        event.preventDefault();
        plan();
      },
    },
    h("p", null, "The id and everything attached to it stay. No file is touched."),
    h("div", { class: "field wide" }, h("label", { for: "new-path" }, "Where the bundle is now"), input),
    forcing,
    fault,
    shownPlan,
  );
  const dialog = open("Relocate", form, [planning, apply]);
  const params = () => ({ model_id: model.id, new_path: input.value.trim(), force: force.checked });
  if (place) plan();
  else input.focus();

  function forget() {
    apply.disabled = true;
    shownPlan.replaceChildren();
  }

  function plan() {
    if (!input.reportValidity()) return;
    forget();
    working(
      planning,
      async () => {
        const planned = await call("relocate_external_model", { ...params(), apply: false });
        show(planned);
        forcing.hidden = planned.same_bundle === "proven";
        apply.disabled = planned.refused !== null;
        if (!apply.disabled) apply.focus();
      },
      fault,
    );
  }

  async function deed() {
    const result = await call("relocate_external_model", { ...params(), apply: true });
    if (!result.applied) {
      show(result);
      return;
    }
    dialog.close();
    done();
  }

  function show(planned) {
    shownPlan.replaceChildren(
      h("h3", null, "Plan"),
      fields([
        ["From", planned.old_path ? path(planned.old_path) : "nowhere"],
        ["To", path(planned.new_path)],
        ["There", SAME[planned.same_bundle] ?? shown(planned.same_bundle)],
      ]),
      planned.refused ? h("p", { class: "refused" }, badge("error", "refused"), " ", shown(planned.refused)) : "",
      planned.findings.length > 0 ? findingList(planned.findings, words) : "",
    );
  }
}

/** Forget an external bundle. `done` is called when it was. */
export async function unregisterDialog(model, done) {
  const fault = h("div", null);
  const plan = h("div", { class: "plan" }, h("p", { class: "quiet" }, "making the plan …"));
  const apply = h(
    "button",
    { type: "button", class: "danger", disabled: true, onclick: () => working(apply, deed, fault) },
    "Unregister",
  );
  const dialog = open(
    "Unregister",
    h("div", null, h("p", null, "The library forgets this bundle. Its files stay where they are."), plan, fault),
    [apply],
  );

  async function deed() {
    await call("unregister_external_model", { model_id: model.id });
    dialog.close();
    done();
  }

  try {
    const planned = await call("delete_model_with_cascade", { model_id: model.id, apply: false });
    plan.replaceChildren(
      h("h3", null, "Plan"),
      fields([
        ["Leaves the library", h("bdi", null, shown(planned.model_id))],
        ["Stays", planned.source_path ? path(planned.source_path) : null],
        ["Goes", path(planned.path)],
        ["Links in applications", planned.links || null],
        [
          "Kept, not ours",
          planned.kept_files.length > 0 ? planned.kept_files.map((kept) => h("div", null, path(kept))) : null,
        ],
      ]),
    );
    apply.disabled = false;
    apply.focus();
  } catch (error) {
    plan.replaceChildren();
    fault.replaceChildren(failure(error));
  }
}
