"""`pumas-agent completion`: the script that lets a shell complete commands, options and ids of models.

Ids come from the running agent, or not at all: a key press waits for nobody, and nothing is said on the screen.
"""

import json
import os
import select
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from pumas_agent.contracts.errors import PumasError

PROG = "pumas-agent"
VARIABLE = "_PUMAS_AGENT_COMPLETE"
"""What the script sets when it asks; click names it so."""
IN_TIME_S = 0.3
_MOST = 1000
_RC = {"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/completions/pumas-agent.fish"}


@click.command(short_help="Print the script that completes commands and ids.")
@click.argument("shell", type=click.Choice(tuple(_RC)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print the script that completes commands, options and ids of models.

    bash: `eval "$(pumas-agent completion bash)"` in ~/.bashrc. zsh: the same in ~/.zshrc. fish: `pumas-agent completion
    fish > ~/.config/fish/completions/pumas-agent.fish`.
    """
    click.echo(script(ctx.find_root().command, shell))
    return 0


def script(command: click.Command, shell: str) -> str:
    """The script of one shell."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # the choices of the argument are those that click has
    return kind(command, {}, PROG, VARIABLE).source()


def complete(command: click.Command, instruction: str) -> int:
    """Answer a shell that asks what may come next. Nothing that goes wrong reaches the line a person is typing."""
    from click.shell_completion import shell_complete

    try:
        return shell_complete(command, {}, PROG, VARIABLE, instruction)
    except Exception:  # noqa: BLE001 - there is nothing to complete then, and nobody to be told
        return 1


def model_ids(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The ids that begin with what was typed; for `shell_complete` of an argument."""
    return [model_id for model_id in known_ids(ctx.find_root().params) if model_id.startswith(incomplete)]


def known_ids(options: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> list[str]:
    """Ids that the running agent has; nothing when none runs or it does not answer in time.

    Speaks to the socket itself: the client and its contracts take longer to be imported than there is time.
    """
    deadline = time.monotonic() + IN_TIME_S
    request = b'{"jsonrpc":"2.0","id":1,"method":"list_models","params":{"limit":%d}}\n' % _MOST
    try:
        answer = _asked(_socket(options, environ), request, deadline)
        return sorted(str(row["id"]) for row in json.loads(answer)["result"]["models"])
    except (OSError, ValueError, LookupError, TypeError, PumasError):
        return []


def _socket(options: Mapping[str, Any], environ: Mapping[str, str]) -> Path:
    from pumas_agent.cli.session import Session

    session = Session(options.get("config"), options.get("library"), options.get("socket"))
    if named := session.socket or environ.get("PUMAS_AGENT_SOCKET"):
        return Path(named).expanduser()
    return session.agent_socket(session.settings())


def _asked(path: Path, request: bytes, deadline: float) -> bytes:
    """One line for one line.

    Raises:
        OSError: nobody listens, or not in time.
    """
    answer = bytearray()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(IN_TIME_S)
        connection.connect(str(path))
        connection.sendall(request)
        while not answer.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([connection], [], [], left)[0]:
                raise TimeoutError("the agent took too long")
            part = connection.recv(1 << 18)
            if not part:
                raise ConnectionError("the agent hung up")
            answer += part
    return bytes(answer)
