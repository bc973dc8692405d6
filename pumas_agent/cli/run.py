"""`pumas-agent run`: the agent in the foreground. Configures nothing; what it does is the agent's."""

import sys

import click

from pumas_agent.cli.output import printable
from pumas_agent.cli.session import Session


@click.command()
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="What is logged.")
@click.pass_obj
def run(session: Session, log_level: str | None) -> int:
    """Run the agent in the foreground.

    It ends when it is told to: SIGTERM, or Ctrl-C.
    """
    import asyncio

    from pumas_agent.agent import run_agent

    settings = session.settings(log_level=log_level)

    def greet() -> None:
        click.echo(f"library  {printable(settings.library.root)}")
        click.echo(f"socket   {printable(settings.socket.path)}   (Ctrl-C stops)")

    asyncio.run(run_agent(settings, on_ready=greet if sys.stdout.isatty() else None))
    return 0
