"""`pumas-agent reclassify` and `duplicates`: what is filed wrongly, and what may be there twice."""

import sys
from typing import Any

import click

from pumas_agent.cli.completion import model_ids
from pumas_agent.cli.output import json_option, print_json, printable, size
from pumas_agent.cli.session import Session


@click.command(short_help="File a model of the library's own under another id.")
@click.argument("model_id", metavar="ID", shell_complete=model_ids)
@click.option("--type", "model_type", help="Its type or task.  [default: told from the files]")
@click.option("--family", help="Another family.")
@click.option("--plan", is_flag=True, help="Say what would be done, and write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def reclassify(
    session: Session,
    model_id: str,
    *,
    model_type: str | None,
    family: str | None,
    plan: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """File the model ID of the library's own under its type and family. Its id changes, all that hangs on it stays.

    Exits 2 when it cannot move there.
    """
    asked: dict[str, Any] = {"model_id": model_id, "model_type": model_type, "family": family}
    result = session.call("reclassify_model", **asked)
    changes = result["new_model_id"] != model_id or model_type is not None or family is not None
    if not as_json:
        _show(result)
    if not plan and result["refused"] is None and changes:
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("reclassify asks first, and stdin is no terminal; --yes goes without asking")
            click.confirm("Do it?", abort=True, err=True)
        result = session.call("reclassify_model", **asked, apply=True)
        if not as_json and result["refused"] is None:
            click.echo("done" if result["applied"] else "nothing was to be changed")
    if as_json:
        print_json("reclassify", result)
    elif result["refused"] is not None:
        click.echo(f"error: {printable(result['refused'])}", err=True)
    return 0 if result["refused"] is None else 2


def _show(result: dict[str, Any]) -> None:
    kind = f"{result['model_type']} ({result['source']}, confidence {result['confidence']:.2f})"
    click.echo(f"{printable(result['model_id'])} is of type {printable(kind)}")
    if result["new_model_id"] == result["model_id"]:
        click.echo("it is filed where it belongs")
    else:
        click.echo(f"it would be {printable(result['new_model_id'])}")
        if result["links"]:
            click.echo(
                f"{result['links']} links of it in applications would go; `pumas-agent map apply` makes them anew"
            )


@click.command()
@json_option
@click.pass_obj
def duplicates(session: Session, *, as_json: bool) -> int:
    """Show models that may be there twice. Nothing is done about it: `pumas-agent delete` removes one.

    Exits 1 when there are any.
    """
    report = session.call("list_duplicate_models")
    if as_json:
        print_json("duplicates", report)
    else:
        for group in report["groups"]:
            click.echo(f"{group['reason'].replace('_', ' ')}: {printable(group['value'])}")
            for model in group["models"]:
                about = [model["storage_kind"].replace("_", " ")]
                if model["size_bytes"] is not None:
                    about.append(size(model["size_bytes"]))
                if model["is_partial"]:
                    about.append("not finished")
                click.echo(f"  {printable(model['model_id'])} ({', '.join(about)}): {printable(model['path'])}")
        if not report["groups"]:
            click.echo("nothing seems to be there twice")
    return 1 if report["groups"] else 0
