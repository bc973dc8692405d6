"""`pumas-agent backup` and `restore`: what lives in the library's index alone, to a file and back."""

import sys
from pathlib import Path

import click

from pumas_agent.cli.output import json_option, print_fields, print_json, printable, stdout
from pumas_agent.cli.session import Session, given_path


@click.command(short_help="Copy the index to a file, also while an agent runs.")
@click.argument("target", metavar="FILE", type=click.Path(readable=False))
@json_option
@click.pass_obj
def backup(session: Session, target: str, *, as_json: bool) -> int:
    """Copy the index of the library to FILE, also while an agent runs.

    Dependency profiles and bindings, review overlays, rules and link exclusions stand in the index alone; everything
    else can be made anew from the models' folders.
    """
    from pumas_agent.library import Library

    path = given_path(target)
    _require_not_the_index(session, path)
    library = Library.open_readonly(session.settings().library.root)
    try:
        counts = library.back_up(path)
    finally:
        library.close()
    _say("backup", path, counts, as_json=as_json)
    return 0


@click.command()
@click.argument("source", metavar="FILE", type=click.Path(readable=False))
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def restore(session: Session, source: str, *, yes: bool, as_json: bool) -> int:
    """Bring back from FILE what the index of the library has lost. What it has stays as it is.

    No agent may be running on the library. Rows of models that are not in the library are left out.
    """
    from pumas_agent.agent import require_owner
    from pumas_agent.health import configure_logs
    from pumas_agent.library import Library

    path = given_path(source)
    root = session.settings().library.root
    configure_logs("critical", "auto", sys.stderr)
    require_owner(root)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("restore asks first, and stdin is no terminal; --yes goes without asking")
        click.echo(f"What {printable(path)} has is added to the library {printable(root)}.", err=True)
        click.confirm("Restore it?", abort=True, err=True)
    library = Library.open(root, "command", make=False)
    try:
        counts = library.restore(path)
    finally:
        library.close()
    _say("restore", path, counts, as_json=as_json)
    return 0


def _require_not_the_index(session: Session, path: Path) -> None:
    root = session.settings().library.root
    if path.parent.resolve() == root.resolve() and path.name.startswith("models.db"):
        raise click.UsageError(f"{path} is the library's own file; name another one")


def _say(command: str, path: Path, counts: dict[str, int], *, as_json: bool) -> None:
    if as_json:
        print_json(command, {"path": str(path), "rows": counts})
        return
    rows = [(table.replace("_", " "), count) for table, count in counts.items() if count]
    print_fields(stdout(), (("file", path), *rows))
