"""`pumas-agent repair`: a record that is gone or cannot be read is made again. Shows from what, and asks."""

import sys

import click

from pumas_agent.cli.output import json_option, print_json, printable
from pumas_agent.cli.session import Session

_FROM = {"backup": "its backup, the record before its last change", "index": "what the index has of it"}


@click.command()
@click.argument("model_id", metavar="ID")
@click.option("--plan", is_flag=True, help="Say what would be done, and write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def repair(session: Session, model_id: str, *, plan: bool, yes: bool, as_json: bool) -> int:
    """Make the metadata.json of the model ID again. A damaged file is kept beside it."""
    result = session.call("repair_model_record", model_id=model_id)
    source = result["source"]
    if not as_json:
        if source is None:
            click.echo(f"the record of {printable(model_id)} can be read: nothing is to be repaired")
        else:
            click.echo(f"the record of {printable(model_id)} can be made again from {_FROM[source]}")
        if result["lost"]:
            click.echo(f"nothing is left of: {', '.join(result['lost'])}")
    if source is not None and not plan:
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("repair asks first, and stdin is no terminal; --yes goes without asking")
            click.confirm("Do it?", abort=True, err=True)
        result = session.call("repair_model_record", model_id=model_id, apply=True)
        if not as_json:
            click.echo("repaired")
    if as_json:
        print_json("repair", result)
    return 0
