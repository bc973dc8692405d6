"""`pumas-agent descriptor`: what a runtime would be told, or why it would be refused."""

import click

from pumas_agent.cli.completion import model_ids
from pumas_agent.cli.output import json_option, print_fields, print_json, stdout
from pumas_agent.cli.session import Session


@click.command()
@click.argument("model_id", metavar="ID", shell_complete=model_ids)
@click.option(
    "--paths-as",
    type=click.Choice(["host", "container"]),
    envvar="PUMAS_AGENT_PATHS_AS",
    help="Whose paths: this host's, or those that paths.map gives them in a container.  [default: host]",
)
@json_option
@click.pass_obj
def descriptor(session: Session, model_id: str, *, paths_as: str | None, as_json: bool) -> int:
    """Print the execution descriptor of a model. Exits 1, with the findings, when it is refused."""
    given = session.call("resolve_model_execution_descriptor", model_id=model_id, paths_as=paths_as)
    if as_json:
        print_json("descriptor", given)
        return 0
    components = [component["name"] for component in given["components"] or ()]
    print_fields(stdout(), ((name, components if name == "components" else value) for name, value in given.items()))
    return 0
