// The way to the agent: its methods, its events, and the token that both need. Knows nothing of the screen.

const KEY = "pumas-agent-token";
const SILENT_MS = 40_000; // the agent says something every 15 s
const RETRY_MS = [300, 1000, 2000, 5000];
const HIDDEN_MS = 60_000; // a browser has few connections to one place: a page that nobody sees gives its one back

/** What the agent answered instead of a result, or why there is no answer. */
export class AgentError extends Error {
  constructor(message, { code = "unreachable", hint = null, data = {} } = {}) {
    super(message);
    this.code = code;
    this.hint = hint;
    this.data = data;
  }
}

/** Take the token out of the address, where it would be seen and kept, into this tab's own memory. */
export function takeToken() {
  const found = /^#token=([\w-]+)$/.exec(location.hash);
  if (found) {
    sessionStorage.setItem(KEY, found[1]);
    history.replaceState(null, "", "/#/");
  }
  return sessionStorage.getItem(KEY) !== null;
}

function headers() {
  return { Authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}` };
}

function refused() {
  sessionStorage.removeItem(KEY);
  window.dispatchEvent(new Event("token-refused"));
  return new AgentError("The agent does not know the token of this page.", { code: "not_permitted" });
}

async function errorOf(response) {
  if (response.status === 401) return refused();
  const answer = await response.json().catch(() => null);
  const { message = `The agent answered with status ${response.status}.`, data = {} } = answer?.error ?? {};
  return new AgentError(message, { code: data.code, hint: data.hint, data });
}

let lastId = 0;

/** The result of a method. Throws an AgentError, or an AbortError when the signal says so. */
export async function call(method, params = {}, signal = undefined) {
  lastId += 1;
  let response;
  try {
    response = await fetch("/rpc", {
      method: "POST",
      headers: { ...headers(), "Content-Type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id: lastId, method, params }),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new AgentError("The agent cannot be reached.", {
      hint: "It may have been stopped; the page goes on when it is back.",
    });
  }
  if (!response.ok || response.status === 204) throw await errorOf(response);
  const answer = await response.json();
  if (answer.error) {
    const { message, data } = answer.error;
    throw new AgentError(message, { code: data.code, hint: data.hint, data });
  }
  return answer.result;
}

/**
 * Follow alerts and changes of models for as long as the page is there.
 *
 * `onState` is told "live" or "lost"; `onReload` when everything has to be loaded anew; `onEvent` of each event.
 * After a break it goes on where it was, so that nothing is missed.
 */
export function follow({ onState, onReload, onEvent }) {
  let cursor = null;
  let failures = 0;
  let controller = null;
  let hiding = null;
  let retry = null;

  async function run() {
    controller = new AbortController();
    const { signal } = controller;
    const silence = { timer: null };
    const heard = () => {
      clearTimeout(silence.timer);
      silence.timer = setTimeout(() => controller.abort(), SILENT_MS);
    };
    try {
      heard();
      const query = cursor === null ? "" : `?cursor=${encodeURIComponent(cursor)}`;
      const response = await fetch(`/events${query}`, { headers: headers(), signal });
      if (!response.ok) throw await errorOf(response);
      for await (const line of linesOf(response.body, heard)) {
        const message = JSON.parse(line);
        const body = message.result ?? message.params;
        cursor = body.cursor;
        if (message.result) {
          failures = 0;
          onState("live");
          onReload();
        } else if (body.snapshot_required) onReload();
        else onEvent(body);
      }
    } catch (error) {
      if (error.code === "not_permitted") return;
    } finally {
      clearTimeout(silence.timer);
    }
    if (document.hidden && hiding === "done") return;
    onState("lost");
    retry = setTimeout(run, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
    failures += 1;
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      hiding = setTimeout(() => {
        hiding = "done";
        clearTimeout(retry);
        controller?.abort();
      }, HIDDEN_MS);
    } else {
      const gaveBack = hiding === "done";
      clearTimeout(hiding);
      hiding = null;
      if (gaveBack) run();
    }
  });
  run();
}

async function* linesOf(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    yield* lines.filter((line) => line !== "");
  }
}

/** The words of the agent: what findings mean, which types there are. */
export async function loadWords() {
  const response = await fetch("/static/words.json");
  return response.ok ? response.json() : { findings: {}, model_types: [] };
}
