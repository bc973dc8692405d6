"""`pumas-agent delete`: a model leaves the library, by who owns its files. Says which before it asks."""

import sys
from typing import Any

import click

from pumas_agent.cli.completion import model_ids
from pumas_agent.cli.output import counted, json_option, print_json, printable, size
from pumas_agent.cli.session import Session


@click.command(short_help="Delete a model; an external bundle is only unregistered.")
@click.argument("model_id", metavar="ID", shell_complete=model_ids)
@click.option("--plan", is_flag=True, help="Say what would be done, and write nothing.")
@click.option("--no-trash", is_flag=True, help="Remove the files for good instead of moving them to the trash folder.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def delete(session: Session, model_id: str, *, plan: bool, no_trash: bool, yes: bool, as_json: bool) -> int:
    """Delete the model ID: its files too when they are the library's own; an external bundle is only unregistered."""
    planned = _call(session, model_id, apply=False, keep_in_trash=not no_trash)
    if not as_json or not (plan or yes):
        click.echo(_sentence(planned, no_trash=no_trash), err=True)
    if plan:
        if as_json:
            print_json("delete", planned)
        return 0
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"delete {model_id} asks first, and stdin is no terminal; --yes goes without asking")
        click.confirm("Delete it?", abort=True, err=True)
    result = _call(session, model_id, apply=True, keep_in_trash=not no_trash)
    if as_json:
        print_json("delete", result)
        return 0
    click.echo(f"deleted {printable(model_id)}")
    if result["trash_path"]:
        click.echo(f"its files are in {printable(result['trash_path'])} for now; moving the folder back restores it")
    for kept in result["kept_files"]:
        click.echo(f"kept, not ours: {printable(kept)}")
    return 0


def _call(session: Session, model_id: str, *, apply: bool, keep_in_trash: bool) -> dict[str, Any]:
    return session.call("delete_model_with_cascade", model_id=model_id, apply=apply, keep_in_trash=keep_in_trash)


def _sentence(planned: dict[str, Any], *, no_trash: bool) -> str:
    if planned["storage_kind"] == "external_reference":
        what, where = printable(planned["model_id"]), printable(planned["source_path"])
        return f"{what} is forgotten; every file under {where} stays."
    where = "are removed for good" if no_trash else "go to the library's trash folder"
    links = f"; removed with it in applications: {counted(planned['links'], 'link')}" if planned["links"] else ""
    files = f"{counted(planned['files'], 'file')} of {printable(planned['model_id'])} ({size(planned['size_bytes'])})"
    return f"{files} {where}: {printable(planned['path'])}{links}"
