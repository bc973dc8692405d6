"""`pumas-agent unregister`: an external bundle is forgotten. Its files are never touched."""

import sys

import click

from pumas_agent.cli.completion import model_ids
from pumas_agent.cli.output import json_option, print_json, printable
from pumas_agent.cli.session import Session
from pumas_agent.contracts.errors import NotExternal


@click.command()
@click.argument("model_id", metavar="ID", shell_complete=model_ids)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def unregister(session: Session, model_id: str, *, yes: bool, as_json: bool) -> int:
    """Forget an external bundle. Its files stay where they are."""
    model = session.call("get_model", model_id=model_id)
    if model["storage_kind"] != "external_reference":
        raise NotExternal(
            f"the files of {model_id} belong to the library", hint="unregister is for bundles that lie elsewhere"
        )
    if not yes:
        _ask(model_id, model["entry_path"])
    result = session.call("unregister_external_model", model_id=model_id)
    if as_json:
        print_json("unregister", result)
        return 0
    click.echo(f"unregistered {printable(result['model_id'])}; files under {printable(result['source_path'])} stay")
    for kept in result["kept_files"]:
        click.echo(f"kept, not ours: {printable(kept)}")
    return 0


def _ask(model_id: str, entry_path: str | None) -> None:
    """Say what will happen and let the person decide.

    Raises:
        UsageError: nobody is there to ask.
        Abort: they said no.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(f"unregister {model_id} asks first, and stdin is no terminal; --yes goes without asking")
    click.echo(f"{printable(model_id)} leaves the library; files under {printable(entry_path)} stay.", err=True)
    click.confirm("Unregister it?", abort=True, err=True)
