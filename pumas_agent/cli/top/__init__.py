"""`pumas-agent top`: the running agent on a live screen, and the same once where there is no screen.

Owns which of the two it is. The screen needs the extra `top` (textual), which is imported when it is drawn.
"""

import os
import sys
from pathlib import Path

import click

from pumas_agent.cli.output import json_option, print_json
from pumas_agent.cli.session import Session

_FAILED = 2


@click.command(short_help="Show the running agent on a live screen.")
@json_option
@click.pass_obj
def top(session: Session, *, as_json: bool) -> int:
    """Show the running agent on a live screen, what is wrong first. q ends it.

    / filters by any text of a row, Enter explains a model. With --json, or where there is no terminal, the same is
    printed once, with rates over a second and the first hundred models; that exits 1 when something is unhealthy.

    The screen needs textual: pip install 'pumas-agent[top]'. What is printed once needs nothing.
    """
    session.call("agent.hello", client="pumas-agent top")  # raises when it is not the agent of `--library`
    socket = session.agent_socket(session.settings())
    if as_json or not _has_screen():
        return _print_once(socket, as_json=as_json)
    return _show(socket)


def _has_screen() -> bool:
    streams = (sys.stdin, sys.stdout, sys.stderr)  # textual reads the first and draws on the last
    return all(stream.isatty() for stream in streams) and os.environ.get("TERM", "dumb") != "dumb"


def _print_once(socket: Path, *, as_json: bool) -> int:
    import asyncio

    from pumas_agent.cli.top import once

    view = asyncio.run(once.look_twice(socket))
    if as_json:
        print_json("top", once.as_json(view))
    else:
        once.print_view(view)
    return 0 if view.healthy else 1


def _show(socket: Path) -> int:
    from pumas_agent.contracts.errors import ExtraNotInstalled

    try:
        from pumas_agent.cli.top.screen import TopApp
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise ExtraNotInstalled(
            "the screen of `pumas-agent top` needs textual, which is not installed",
            hint="pip install 'pumas-agent[top]'; `pumas-agent top --json` needs nothing",
        ) from None
    app = TopApp(socket)
    app.run()
    return _FAILED if app.return_code else 0
