"""`pumas-agent demo`: hands this process over to the guided run, which uses the product from outside."""

import os
import sys

import click

from pumas_agent.cli.output import json_option


@click.command()
@click.option("--keep", is_flag=True, help="Leave the temporary folder, to look around in it.")
@json_option
def demo(*, keep: bool, as_json: bool) -> int:
    """See it work, in a few seconds.

    A small bundle and a real agent in a temporary folder: a component is taken away and put back, the bundle is moved
    away and brought back, and the agent says what it knows, and when.
    """
    flags = [flag for flag, given in (("--keep", keep), ("--json", as_json)) if given]
    sys.stdout.flush()
    # The demo is no part of the command line: it starts an agent and asks it, as anyone's program would.
    os.execv(sys.executable, [sys.executable, "-m", "pumas_agent.demo.run", *flags])  # noqa: S606  no shell is wanted
