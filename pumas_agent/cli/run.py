"""`pumas-agent run`: the agent in the foreground. Configures nothing; what it does is the agent's."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import click

from pumas_agent.cli.output import printable
from pumas_agent.cli.session import Session


@click.command()
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="What is logged.")
@click.pass_obj
def run(session: Session, log_level: str | None) -> int:
    """Run the agent in the foreground.

    It ends when it is told to: SIGTERM, or Ctrl-C. SIGHUP reads the configuration again, except on a terminal, where it
    says that the terminal is gone.
    """
    import asyncio

    with _without_rich():
        from pumas_agent.agent import run_agent

    settings = session.settings(log_level=log_level)

    def greet() -> None:
        click.echo(f"library  {printable(settings.library.root)}")
        click.echo(f"socket   {printable(settings.socket.path)}   (Ctrl-C stops)")

    asyncio.run(
        run_agent(
            settings,
            reread=lambda: session.settings(log_level=log_level),
            on_ready=greet if sys.stdout.isatty() else None,
        )
    )
    return 0


@contextmanager
def _without_rich() -> Iterator[None]:
    """Let structlog be imported as where rich is not installed.

    It would import rich for tracebacks that our log prints without it: five megabytes that a daemon holds for ever.
    """
    if "rich" in sys.modules:
        yield
        return
    sys.modules["rich"] = cast("Any", None)  # what an import of it finds is that there is none
    try:
        yield
    finally:
        del sys.modules["rich"]
