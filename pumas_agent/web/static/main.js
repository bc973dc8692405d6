// The page: which view is shown, what is said at its top and bottom, and that all of it is true now.

import { call, follow, loadWords, takeToken } from "./agent.js";
import { announce, h, shown, size } from "./dom.js";
import { modelView } from "./model.js";
import { modelsView } from "./models.js";
import { registerView } from "./register.js";

const SOON_MS = 120; // a hundred changes together are one look …
const APART_MS = 250; // … and those that go on are four a second

const main = document.getElementById("main");
const state = { status: null, words: { findings: {}, model_types: [] } };
let view = null;
let timer = null;
let looking = false;
let looked = 0;
let again = false;

/** Load what is on the screen anew: at once, or when it is being loaded already, right after. */
async function refresh() {
  again = true;
  if (looking) return;
  looking = true;
  while (again) {
    again = false;
    looked = Date.now();
    try {
      state.status = await call("agent.status");
      showFrame();
      await view?.refresh(state);
    } catch (error) {
      view?.failed?.(error);
    }
  }
  looking = false;
}

function refreshSoon() {
  timer ??= setTimeout(
    () => {
      timer = null;
      refresh();
    },
    Math.max(SOON_MS, looked + APART_MS - Date.now()),
  );
}

function showFrame() {
  const { status } = state;
  const library = document.getElementById("library");
  library.textContent = shown(status.library_root);
  library.title = shown(status.library_root);
  const alerts = status.alerts.filter((alert) => alert.severity !== "info").length;
  document.title = `${alerts ? `(${alerts}) ` : ""}pumas-agent`;
  const footer = [
    `pumas-agent ${status.version}`,
    `pid ${status.pid}`,
    `${status.watched_roots} roots watched by ${status.watch_backend}`,
    status.queue ? `${status.queue} waiting to be looked at` : "nothing waits",
    `${size(status.rss_bytes)} of memory`,
  ];
  document.getElementById("footer").replaceChildren(
    h(
      "ul",
      null,
      footer.map((text) => h("li", null, shown(text))),
    ),
    (status.faults.length > 0 &&
      h(
        "details",
        null,
        h("summary", null, `${status.faults.length} faults since the start`),
        h(
          "ul",
          { class: "faults" },
          status.faults.map((fault) => h("li", null, shown(fault))),
        ),
      )) ||
      "",
  );
}

function showConnection(word) {
  const pill = document.getElementById("connection");
  if (pill.dataset.state === word) return;
  pill.dataset.state = word;
  pill.textContent = { live: "live", lost: "connection lost, trying again", refused: "no token" }[word];
}

function show(made) {
  document.querySelector("dialog[open]")?.close();
  view = made;
  main.replaceChildren(made.element);
}

function route() {
  if (location.hash.startsWith("#token=")) {
    takeToken();
    location.reload();
    return;
  }
  const [, where = "", id = ""] = /^#\/([^/]*)\/?(.*)$/.exec(location.hash) ?? [];
  const last = view?.where;
  if (where === "model") show(modelView(decodeURIComponent(id), refresh));
  else if (where === "register") show(registerView(state, refresh));
  else if (last === "models") return;
  else show(modelsView(refresh));
  if (last) {
    scrollTo(0, 0);
    (main.querySelector("[data-focus]") ?? main).focus({ preventScroll: true });
  }
  refresh();
}

function showHowToGetIn(why) {
  showConnection("refused");
  document.getElementById("to-register").hidden = true;
  document.getElementById("library").textContent = "";
  document.getElementById("footer").replaceChildren();
  show({
    where: "token",
    element: h(
      "section",
      { class: "panel narrow" },
      h("h1", null, "This page needs its token"),
      h("p", null, why),
      h("p", null, "On the machine where the agent runs, print the link and open it in this browser:"),
      h("pre", null, h("code", null, "pumas-agent web")),
      h(
        "p",
        { class: "quiet" },
        "Each start of the agent makes a new token. It stays in this tab, and is forgotten with it.",
      ),
    ),
    refresh() {},
  });
}

function onEvent(event) {
  if (event.alert) {
    const about = event.alert.model_id ?? event.alert.path ?? "the library";
    announce(`${event.alert.code} ${event.transition}: ${about}`);
  }
  refreshSoon();
}

async function start() {
  addEventListener("hashchange", route);
  document.querySelector("[data-skip]").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  if (!takeToken()) {
    showHowToGetIn("It was opened without one.");
    return;
  }
  addEventListener("token-refused", () => {
    removeEventListener("hashchange", route);
    addEventListener("hashchange", () => location.hash.startsWith("#token=") && location.reload());
    showHowToGetIn(
      "The agent does not know the one that this page has: it was started again since, or the link is an old one.",
    );
  });
  document.getElementById("to-register").hidden = false;
  state.words = await loadWords();
  route();
  follow({ onState: showConnection, onReload: refresh, onEvent });
}

start();
