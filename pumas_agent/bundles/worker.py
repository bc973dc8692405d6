"""Owns the process that judges: `python -m pumas_agent.bundles.worker`.

Says `ready`, then reads one JSON line a request (`{"root": …, "policy": …}`) and answers
each with one (`{"look": …}` or
`{"error": …}`) until its input ends, which it does when the agent is gone. Only `workers` starts it.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path

from pumas_agent.bundles.look import look
from pumas_agent.bundles.policy import Policy


def _answer(line: bytes) -> str:
    try:
        asked = json.loads(line)
        return json.dumps({"look": look(Path(asked["root"]), Policy.from_fields(asked["policy"])).to_fields()})
    except Exception as error:  # noqa: BLE001 - whatever it is, it is contained to this request and said to who asked
        traceback.print_exc()
        return json.dumps({"error": f"{type(error).__name__}: {error}"})


def main() -> None:
    """Serve requests until the end of the input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the agent, which then ends us
    os.nice(19)
    with os.fdopen(os.dup(1), "w", encoding="ascii") as answers:
        os.dup2(2, 1)  # whatever else prints may not be taken for an answer
        try:
            print("ready", file=answers, flush=True)
            for line in sys.stdin.buffer:
                print(_answer(line), file=answers, flush=True)
        except BrokenPipeError:
            os._exit(0)  # the agent is gone; closing the stream would only fail once more


if __name__ == "__main__":
    main()
