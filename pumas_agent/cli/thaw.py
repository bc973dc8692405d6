"""`pumas-agent thaw`: go on although many bundles vanished together."""

import click

from pumas_agent.cli.output import json_option, print_json
from pumas_agent.cli.session import Session


@click.command(short_help="Act again on bundles that vanished together.")
@json_option
@click.pass_obj
def thaw(session: Session, *, as_json: bool) -> int:
    """Let the agent act again on bundles that are gone, although many vanished together (mass_disappearance)."""
    answer = session.call("thaw")
    if as_json:
        print_json("thaw", answer)
    else:
        click.echo("thawed: what is gone is searched for again" if answer["thawed"] else "nothing was frozen")
    return 0
