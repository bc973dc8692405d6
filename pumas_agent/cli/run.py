"""`pumas-agent run`: the agent in the foreground. Configures nothing; what it does is the agent's."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import click

from pumas_agent.cli.output import printable
from pumas_agent.cli.session import Session

if TYPE_CHECKING:
    from pumas_agent.web import LoopbackAddress


class _Loopback(click.ParamType["LoopbackAddress"]):
    """HOST:PORT of this machine alone."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "LoopbackAddress":
        """Refuse what others could reach."""
        from pumas_agent.web import LoopbackAddress

        try:
            return LoopbackAddress.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="What is logged.")
@click.option(
    "--web",
    type=_Loopback(),
    metavar="HOST:PORT",
    help="Also serve the page for a browser, on a loopback address such as 127.0.0.1:8451.",
)
@click.pass_obj
def run(session: Session, *, log_level: str | None, web: "LoopbackAddress | None") -> int:
    """Run the agent in the foreground.

    It ends when it is told to: SIGTERM, or Ctrl-C. SIGHUP reads the configuration again, except on a terminal, where it
    says that the terminal is gone.

    With --web, `pumas-agent web` prints the link to open. It needs the extra `web`: pip install 'pumas-agent[web]'.
    """
    import asyncio

    with _without_rich():
        from pumas_agent.agent import run_agent

    settings = session.settings(log_level=log_level)

    def greet() -> None:
        click.echo(f"library  {printable(settings.library.root)}")
        click.echo(f"socket   {printable(settings.socket.path)}   (Ctrl-C stops)")
        if web is not None:
            click.echo("page     `pumas-agent web` prints its link")

    asyncio.run(
        run_agent(
            settings,
            reread=lambda: session.settings(log_level=log_level),
            on_ready=greet if sys.stdout.isatty() else None,
            web=web,
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
