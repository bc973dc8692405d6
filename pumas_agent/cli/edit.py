"""`pumas-agent edit`: what a person says about a model."""

import click

from pumas_agent.cli.completion import model_ids
from pumas_agent.cli.output import json_option, print_json, printable
from pumas_agent.cli.session import Session


@click.command()
@click.argument("model_id", metavar="ID", shell_complete=model_ids)
@click.option("--name", help="Its name for people; the id stays.")
@click.option("--tag", "tags", multiple=True, help="Its tags, in place of those it has; repeat for several.")
@click.option("--no-tags", is_flag=True, help="Take all its tags away.")
@click.option("--notes", help="Notes, in place of those it has; an empty text takes them away.")
@json_option
@click.pass_obj
def edit(
    session: Session,
    model_id: str,
    *,
    name: str | None,
    tags: tuple[str, ...],
    no_tags: bool,
    notes: str | None,
    as_json: bool,
) -> int:
    """Change the name, the tags or the notes of the model ID. What is not named stays."""
    if name is None and not tags and not no_tags and notes is None:
        raise click.UsageError("nothing to change: give --name, --tag, --no-tags or --notes")
    if tags and no_tags:
        raise click.UsageError("--tag and --no-tags contradict each other")
    given = tags if tags or no_tags else None
    result = session.call("update_model", model_id=model_id, official_name=name, tags=given, notes=notes)
    if as_json:
        print_json("edit", result)
    else:
        click.echo(f"{'changed' if result['changed'] else 'unchanged'} {printable(model_id)}")
    return 0
