// node resolve.mjs MODEL_ID: print where a runtime may load a model from now. Exits 1, with the reason, when it may not.
import { connect } from "node:net";
import { createInterface } from "node:readline";

const { PUMAS_AGENT_SOCKET, XDG_RUNTIME_DIR, HOME } = process.env;
const path = PUMAS_AGENT_SOCKET ?? `${XDG_RUNTIME_DIR ?? `${HOME}/.local/state`}/pumas-agent/agent.sock`;

function call(method, params) {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.setTimeout(10_000, () => socket.destroy(new Error(`${path} did not answer within 10 s`)));
    socket.on("error", reject);
    createInterface({ input: socket }).on("line", (line) => {
      const { id, result, error } = JSON.parse(line);
      if (id !== 1) return; // a notification
      socket.end();
      if (error) reject(Object.assign(new Error(error.message), error.data));
      else resolve(result);
    });
    socket.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method, params })}\n`);
  });
}

try {
  const params = { model_id: process.argv[2], expected_execution_contract_version: 1 };
  console.log((await call("resolve_model_execution_descriptor", params)).entry_path);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
