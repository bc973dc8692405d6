"""`pumas-agent register`: a diffusers directory enters the library where it lies."""

from pathlib import Path

import click

from pumas_agent.cli.output import (
    finding_line,
    json_option,
    print_fields,
    print_findings,
    print_json,
    printable,
    stdout,
)
from pumas_agent.cli.session import Session, given_path

DEFAULT_FAMILY = "imported"


@click.command()
@click.argument("source", type=click.Path(readable=False))
@click.option("--family", default=DEFAULT_FAMILY, show_default=True, help="Family of the model, part of its id.")
@click.option("--name", help="Name of the model, part of its id.  [default: the folder's name]")
@click.option("--repo-id", help="Where it comes from, for example owner/name on the Hugging Face Hub.")
@click.option("--tag", "tags", multiple=True, help="A tag; repeat for several.")
@click.option("--allow-unhealthy", is_flag=True, help="Register it even when it is not valid now.")
@json_option
@click.pass_obj
def register(
    session: Session,
    source: str,
    *,
    family: str,
    name: str | None,
    repo_id: str | None,
    tags: tuple[str, ...],
    allow_unhealthy: bool,
    as_json: bool,
) -> int:
    """Register the diffusers directory SOURCE. Nothing is copied, moved or written there.

    Exits 2, with the findings, when it is refused.
    """
    path = given_path(source)
    official_name = name or _folder_name(path)
    result = session.call(
        "import_external_diffusers_directory",
        source_path=str(path),
        family=family,
        official_name=official_name,
        repo_id=repo_id,
        tags=tags,
        allow_unhealthy=allow_unhealthy,
    )
    if as_json:
        print_json("register", result)
    elif result["success"]:
        console = stdout()
        fields = ("status", result["status"]), ("id", result["model_id"]), ("source", path)
        print_fields(console, (*fields, ("family", family), ("name", official_name)))
        print_findings(console, "findings", result["findings"])
    else:
        click.echo(f"error: {printable(path)} was refused: {printable(result['error'] or 'not valid')}", err=True)
        for finding in result["findings"]:
            click.echo(f"  {finding_line(finding)}", err=True)
        in_the_way = result["model_id"]
        hint = f"in the way: {printable(in_the_way)}" if in_the_way else "--allow-unhealthy registers it as it is"
        if [finding["code"] for finding in result["findings"]] == ["path_not_found"]:
            hint = "check the path; --allow-unhealthy registers it although nothing is there now"
        click.echo(f"hint: {hint}", err=True)
    return 0 if result["success"] else 2


def _folder_name(path: Path) -> str:
    """The name a person sees in the path they typed; behind `.` and `..` the folder's own."""
    name = path.name if path.name != ".." else path.resolve().name
    if not name:
        raise click.UsageError(f"{path} has no name of its own; give one with --name")
    return name
