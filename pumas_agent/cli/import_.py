"""`pumas-agent import`: a model becomes the library's own, by copy or as it lies in the library."""

from pathlib import Path
from typing import Any

import click

from pumas_agent.cli.output import finding_line, json_option, print_fields, print_json, printable, stdout
from pumas_agent.cli.session import Session, given_path


@click.command("import")
@click.argument("source", type=click.Path(readable=False))
@click.option("--family", help="Family of the model, part of its id.  [default: told from the files]")
@click.option("--name", help="Name of the model, part of its id.  [default: the file's or folder's name]")
@click.option("--type", "model_type", help="Its type or task.  [default: told from the files]")
@click.option("--repo-id", help="Where it comes from, for example owner/name on the Hugging Face Hub.")
@click.option("--tag", "tags", multiple=True, help="A tag; repeat for several.")
@click.option("--in-place", is_flag=True, help="SOURCE lies in the library already: make it a model where it is.")
@click.option("--acknowledge-pickle", is_flag=True, help="Take pickles, which can run any code when they are loaded.")
@click.option("--allow-unhealthy", is_flag=True, help="Take a bundle even when it is not valid now.")
@json_option
@click.pass_obj
def import_(
    session: Session,
    source: str,
    *,
    family: str | None,
    name: str | None,
    model_type: str | None,
    repo_id: str | None,
    tags: tuple[str, ...],
    in_place: bool,
    acknowledge_pickle: bool,
    allow_unhealthy: bool,
    as_json: bool,
) -> int:
    """Copy the model SOURCE, a file or a folder, into the library. The source is only read, and stays.

    A bundle that should stay where it is is registered instead: `pumas-agent register`. Exits 2, with the findings,
    when it is refused.
    """
    path = given_path(source)
    common: dict[str, Any] = {
        "path": str(path),
        "model_type": model_type,
        "repo_id": repo_id,
        "tags": tags,
        "security_acknowledged": acknowledge_pickle,
        "allow_unhealthy": allow_unhealthy,
    }
    if in_place:
        result = session.call("import_model_in_place", family=family, official_name=name, **common)
    else:
        family, name = _names(session, path, family, name)
        result = session.call("import_model", family=family, official_name=name, **common)
    if as_json:
        print_json("import", result)
    elif result["success"]:
        print_fields(stdout(), (("status", result["status"]), ("id", result["model_id"]), ("source", path)))
    else:
        click.echo(f"error: {printable(path)} was refused: {printable(result['error'])}", err=True)
        for finding in result["findings"]:
            click.echo(f"  {finding_line(finding)}", err=True)
        _hint(result)
    return 0 if result["success"] else 2


def _names(session: Session, path: Path, family: str | None, name: str | None) -> tuple[str, str]:
    """What was given; what was not is asked of the files."""
    if family is not None and name is not None:
        return family, name
    report = session.call("classify_model_import_paths", paths=(str(path),))
    found = report["classifications"][0]
    return family or found["suggested_family"] or "imported", name or found["suggested_official_name"] or path.stem


def _hint(result: dict[str, Any]) -> None:
    codes = [finding["code"] for finding in result["findings"]]
    if codes == ["pickle_unacknowledged"]:
        click.echo("hint: --acknowledge-pickle takes it, if you trust whoever made it", err=True)
    elif result["model_id"]:
        click.echo(f"hint: in the way: {printable(result['model_id'])}; another --name gives another id", err=True)
    elif codes == ["no_model_files"]:
        click.echo("hint: `pumas-agent classify` shows what lies there", err=True)


@click.command(short_help="Make models of folders in the library without a record.")
@json_option
@click.pass_obj
def adopt(session: Session, *, as_json: bool) -> int:
    """Make models of the folders in the library that have model files and no record.

    Downloads that are not finished and folders that are being written are left alone, and named.
    """
    report = session.call("adopt_orphan_models")
    if as_json:
        print_json("adopt", report)
        return 0
    for model_id in report["adopted"]:
        click.echo(f"adopted {printable(model_id)}")
    for left in report["not_adopted"]:
        click.echo(f"left alone {printable(left['path'])}: {printable(left['reason'])}")
    if not report["adopted"] and not report["not_adopted"]:
        click.echo("no folder of the library is without a record")
    return 0
