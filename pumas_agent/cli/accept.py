"""`pumas-agent accept`: the other bundle that stands at a path is meant."""

import sys

import click

from pumas_agent.cli.completion import model_ids
from pumas_agent.cli.output import json_option, print_json, printable
from pumas_agent.cli.session import Session


@click.command(short_help="Take what stands at the path for the registered bundle.")
@click.argument("model_id", metavar="ID", shell_complete=model_ids)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def accept(session: Session, model_id: str, *, yes: bool, as_json: bool) -> int:
    """Take the other bundle that stands at the path for the registered one (bundle_replaced)."""
    model = session.call("get_model", model_id=model_id)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("accept asks first, and stdin is no terminal; --yes goes without asking")
        click.echo(f"{printable(model_id)} will stand for what is at {printable(model['entry_path'])} now", err=True)
        click.confirm("Accept it?", abort=True, err=True)
    answer = session.call("accept_bundle_change", model_id=model_id)
    if as_json:
        print_json("accept", answer)
    else:
        click.echo(f"accepted; {printable(model_id)} is {answer['validation_state']}")
        for finding in answer["findings"]:
            click.echo(f"  {finding['code']}  {printable(finding['message'])}")
    return 0 if answer["validation_state"] == "valid" else 1
