#!/bin/sh
# resolve.sh MODEL_ID: print where a runtime may load a model from now. Exits 1, with the reason, when it may not.
# Needs socat. A model id has no character that JSON would have to escape.
set -eu
socket=${PUMAS_AGENT_SOCKET:-${XDG_RUNTIME_DIR:-$HOME/.local/state}/pumas-agent/agent.sock}
request='{"jsonrpc":"2.0","id":1,"method":"resolve_model_execution_descriptor","params":{"model_id":"'$1'","expected_execution_contract_version":1}}'
answer=$(printf '%s\n' "$request" | socat -t 10 - "UNIX-CONNECT:$socket")
case $answer in
    *'"result":{'*)
        printf '%s\n' "$answer" | sed 's/.*"entry_path":"\([^"]*\)".*/\1/'
        ;;
    *)
        printf '%s\n' "${answer#*\"message\":\"}" | sed 's/^\(\([^"\\]\|\\.\)*\)".*/\1/' >&2
        exit 1
        ;;
esac
