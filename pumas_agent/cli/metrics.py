"""`pumas-agent metrics`: what the running agent measures of itself."""

import click

from pumas_agent.cli.output import json_option, print_json
from pumas_agent.cli.session import Session


@click.command(short_help="Print the metrics of the agent, for Prometheus.")
@json_option
@click.pass_obj
def metrics(session: Session, *, as_json: bool) -> int:
    """Print the metrics of the running agent, in the text format of Prometheus."""
    report = session.call("agent.metrics")
    if as_json:
        print_json("metrics", report)
    else:
        click.echo(report["text"], nl=False)
    return 0
