"""`pumas-agent map`: files of the library as links in the folders of applications. Shows the plan, asks, then links."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import click

from pumas_agent.cli.completion import model_ids
from pumas_agent.cli.output import json_option, print_json, printable
from pumas_agent.cli.session import Session, given_path

RESOLUTIONS = ("skip", "overwrite", "rename")
# The words of the contract; importing it for them would be felt in every start. A test compares.
_LISTED = 20
"""Lines of a kind, at most, on a screen; `--json` has all."""

_target_argument = click.argument(
    "targets", nargs=-1, required=True, type=click.Path(readable=False), metavar="MODELS_FOLDER..."
)


@click.group("map")
def map_() -> None:
    """Link files of the library into applications. External bundles are never mapped."""


@map_.command()
@click.argument("app")
@click.argument("version")
@_target_argument
@json_option
@click.pass_obj
def preview(session: Session, app: str, version: str, targets: tuple[str, ...], *, as_json: bool) -> int:
    """Show what applying the mapping of an application would do. Nothing is written.

    Exits 1 when something stands in the way of a link.
    """
    plans = _previews(session, app, version, targets)
    if as_json:
        print_json("map-preview", {"mappings": plans})
    else:
        _show(plans)
    return 1 if any(plan["conflicts"] or plan["errors"] for plan in plans) else 0


@map_.command()
@click.argument("app")
@click.argument("version")
@_target_argument
@click.option(
    "--on-conflict",
    type=click.Choice(RESOLUTIONS),
    default="skip",
    show_default=True,
    help="Where something else stands. An overwritten file is kept under another name.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def apply(
    session: Session, app: str, version: str, targets: tuple[str, ...], *, on_conflict: str, yes: bool, as_json: bool
) -> int:
    """Link the files that the application's mapping names. Shows the plan first, and asks.

    Exits 1 when conflicts were left as they are, 2 when a link could not be made.
    """
    plans = _previews(session, app, version, targets)
    if not as_json:
        _show(plans)
    if not yes and any(_has_work(plan, on_conflict) for plan in plans):
        _ask(on_conflict)
    results = [
        {
            "models_path": plan["models_path"],
            **session.call(
                "apply_model_mapping",
                app_id=app,
                version_tag=version,
                models_path=plan["models_path"],
                on_conflict=on_conflict,
            ),
        }
        for plan in plans
    ]
    if as_json:
        print_json("map-apply", {"mappings": results})
    else:
        for result in results:
            _show_result(result)
    if not all(result["success"] for result in results):
        return 2
    return 1 if any(result["links_skipped"] for result in results) else 0


@map_.command()
@click.argument("app")
@click.argument("model_id", metavar="ID", shell_complete=model_ids)
@click.option("--undo", is_flag=True, help="Take the model into the mapping again.")
@json_option
@click.pass_obj
def exclude(session: Session, app: str, model_id: str, *, undo: bool, as_json: bool) -> int:
    """Leave a model out of an application's mapping from now on. Links that are there stay."""
    done = session.call("set_model_link_exclusion", app_id=app, model_id=model_id, excluded=not undo)
    if as_json:
        print_json("map-exclude", done)
    else:
        said = "is left out of" if done["excluded"] else "is in"
        click.echo(f"{printable(done['model_id'])} {said} the mapping of {printable(done['app_id'])}")
    return 0


@map_.command()
@click.argument("app")
@json_option
@click.pass_obj
def excluded(session: Session, app: str, *, as_json: bool) -> int:
    """List the models that are left out of an application's mapping."""
    answer = session.call("get_link_exclusions", app_id=app)
    if as_json:
        print_json("map-excluded", answer)
    else:
        for model_id in answer["excluded_model_ids"]:
            click.echo(printable(model_id))
    return 0


def _previews(session: Session, app: str, version: str, targets: Iterable[str]) -> list[dict[str, Any]]:
    folders = dict.fromkeys(str(given_path(target)) for target in targets)
    return [
        {
            "models_path": folder,
            **session.call("preview_model_mapping", app_id=app, version_tag=version, models_path=folder),
        }
        for folder in folders
    ]


def _has_work(plan: Mapping[str, Any], on_conflict: str) -> bool:
    return bool(plan["total_actions"] or (plan["conflicts"] and on_conflict != "skip"))


def _show(plans: Iterable[Mapping[str, Any]]) -> None:
    for plan in plans:
        click.echo(f"{printable(plan['models_path'])}   by {printable(', '.join(plan['configs']))}")
        _lines("link", [f"{item['target_path']} -> {item['source_path']}" for item in plan["to_create"]])
        _lines("there", [item["target_path"] for item in plan["to_skip_exists"]], listed=0)
        _lines("broken", [_broken(item) for item in plan["broken_to_remove"]])
        _lines("conflict", [_conflict(item) for item in plan["conflicts"]])
        _lines("skipped", [f"{item['reason']}: {_what(item)}" for item in plan["skipped"]])
        _lines("ERROR", plan["errors"])


def _lines(word: str, texts: list[str], *, listed: int = _LISTED) -> None:
    for text in texts[:listed]:
        click.echo(f"  {word:<9} {printable(text)}")
    if len(texts) > listed:
        click.echo(f"  {word:<9} {len(texts) - listed}{' more' if listed else ''}")


def _broken(item: Mapping[str, Any]) -> str:
    then = f"links to {item['source_path']}" if item["source_path"] else "is removed"
    return f"{item['target_path']} led to {item['existing_target']}, {then}"


def _conflict(item: Mapping[str, Any]) -> str:
    overwrite = item["overwrite"] or "not possible"
    return f"{item['target_path']}: {item['reason']} (overwrite: {overwrite}; rename: {item['rename']})"


def _what(item: Mapping[str, Any]) -> str:
    return f"{item['model_id']}, {item['source_path']}" if item["source_path"] else str(item["model_id"])


def _show_result(result: Mapping[str, Any]) -> None:
    for replaced in result["replaced"]:
        if replaced["kept_as"]:
            click.echo(f"  kept      {printable(replaced['kept_as'])}")
    _lines("note", result["warnings"])
    for error in result["errors"]:
        click.echo(f"error: {printable(error)}", err=True)
    click.echo(
        f"{printable(result['models_path'])}: {result['links_created']} links made, {result['links_removed']} broken"
        f" removed, {result['links_skipped']} conflicts left, {result['total_links']} links in all"
    )


def _ask(on_conflict: str) -> None:
    """Let the person decide.

    Raises:
        UsageError: nobody is there to ask.
        Abort: they said no.
    """
    if not sys.stdin.isatty():
        raise click.UsageError("map apply asks first, and stdin is no terminal; --yes goes without asking")
    click.confirm(f"Make these links (conflicts: {on_conflict})?", abort=True, err=True)
