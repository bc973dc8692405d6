"""`pumas-agent discover`: which bundles lie on this machine, and their registration.

Owns where is looked when nobody says, and the order and the refusals of a registration of many. What is found, and
under which names, the agent says.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from pumas_agent.cli.output import WIDE, finding_line, json_option, print_json, print_table, printable, size, stdout
from pumas_agent.cli.session import Session, given_path

if TYPE_CHECKING:
    from rich.console import Console

Bundle = Mapping[str, Any]

_LISTED = 5
"""Folders that were not searched, at most, on a screen; `--json` has more."""


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(readable=False), metavar="[PATH]...")
@click.option("--register", "registering", is_flag=True, help="Register what is valid and not registered yet.")
@click.option("--yes", is_flag=True, help="Do not ask before registering.")
@json_option
@click.pass_obj
def discover(session: Session, paths: tuple[str, ...], *, registering: bool, yes: bool, as_json: bool) -> int:
    """List the bundles below folders, and those that are registered.

    Without a PATH in the folders of the setting bundles.search_roots and in the Hugging Face cache. Of the folder of
    ComfyUI, InvokeAI or a Stable Diffusion WebUI only the models folder is searched. Links are not followed.

    Exits 1 when a bundle is unhealthy or a folder could not be searched, 2 when a registration was refused.
    """
    if registering and not yes and not sys.stdin.isatty():
        raise click.UsageError("--register asks first, and stdin is no terminal; --yes goes without asking")
    folders = [str(given_path(path)) for path in paths] or _usual_folders(session)
    report = session.call("discover_bundles", paths=folders)
    if not as_json:
        _print_report(report)
    chosen, left = plan(report["bundles"]) if registering else ([], [])
    if registering and not as_json:
        _print_plan(chosen, left)
    if chosen and not yes:
        click.confirm(f"Register {_count(chosen, 'bundle')}?", abort=True, err=True)
    results = [_register(session, bundle) for bundle in chosen]
    if as_json:
        skipped = [{"path": bundle["path"], "reason": reason} for bundle, reason in left]
        done = {"registrations": results, "skipped": skipped} if registering else {}
        print_json("discover", {**report, **done})
    else:
        _print_results(results)
    if not all(result["success"] for result in results):
        return 2
    unhealthy = any(bundle["health"] in {"invalid", "unjudged"} for bundle in report["bundles"])
    return 1 if unhealthy or len(report["searched"]) < len(set(folders)) else 0


def hugging_face_cache() -> str:
    """Where huggingface_hub keeps repositories, by the same variables in the same order (huggingface_hub 1.x)."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{base}/huggingface"
    hub = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    return os.path.expandvars(hub)


def plan(bundles: Sequence[Bundle]) -> tuple[list[Bundle], list[tuple[Bundle, str]]]:
    """Which of the bundles to register, and which healthy ones to leave, each with the reason."""
    chosen: dict[str, Bundle] = {}
    left: list[tuple[Bundle, str]] = []
    for bundle in bundles:
        if bundle["health"] != "valid" or bundle["registered"]:
            continue
        model_id = bundle["model_id"]
        if bundle["id_taken"]:
            left.append((bundle, f"{model_id} is another bundle already"))
        elif model_id in chosen:
            left.append((bundle, f"{model_id} will be {chosen[model_id]['path']}"))
        else:
            chosen[model_id] = bundle
    return list(chosen.values()), left


def _usual_folders(session: Session) -> list[str]:
    folders = [str(root) for root in session.settings().bundles.search_roots]
    cache = given_path(hugging_face_cache())
    if cache.is_dir():
        folders.append(str(cache))
    if not folders:
        raise click.UsageError(f"name a folder: bundles.search_roots is empty, and there is no {cache}")
    return folders


def _register(session: Session, bundle: Bundle) -> dict[str, Any]:
    return session.call(
        "import_external_diffusers_directory",
        source_path=bundle["path"],
        family=bundle["family"],
        official_name=bundle["official_name"],
        repo_id=bundle["repo_id"],
    )


def _print_report(report: Mapping[str, Any]) -> None:
    console = stdout()
    bundles = report["bundles"]
    if bundles:
        headers = ("NAME", "TASK", "SIZE", "HEALTH", "REGISTERED AS", "PATH")
        print_table(console, headers, [tuple(_cells(bundle)) for bundle in bundles], narrow=4)
    if bundles and console.is_terminal:
        registered = sum(bundle["registered"] for bundle in bundles)
        more = "" if console.width >= WIDE else "; ids and paths: in a pipe, or on a wider screen"
        console.print(f"{_count(bundles, 'bundle')}, {registered} registered{more}", style="dim")
    for bundle in bundles:
        if bundle["health"] in {"invalid", "unjudged"}:
            _print_fault(console, bundle)
    for folder in report["not_searched"][:_LISTED]:
        click.echo(f"not searched: {printable(folder['path'])}: {printable(folder['reason'])}", err=True)
    if (unlisted := len(report["not_searched"]) - _LISTED) > 0:
        click.echo(f"not searched: {unlisted} more; --json lists them", err=True)
    if report["truncated"]:
        click.echo("the search met a bound: there may be more; name a folder further down", err=True)
    if not bundles:
        click.echo("no bundle was found", err=True)


def _cells(bundle: Bundle) -> Iterator[object]:
    name = bundle["repo_id"] or bundle["official_name"]
    yield name if bundle["is_main"] is not False else f"{name} ({bundle['revision'][:8]})"
    yield bundle["task"]
    yield size(bundle["size_bytes"])
    yield bundle["health"]
    yield bundle["model_id"] if bundle["registered"] else None
    yield bundle["path"]


def _print_fault(console: "Console", bundle: Bundle) -> None:
    """Where the bundle is and the first thing that is wrong with it."""
    from rich.text import Text

    finding = bundle["first_finding"]
    more = f" (and {bundle['findings'] - 1} more)" if bundle["findings"] > 1 else ""
    why = f"{finding_line(finding)}{more}" if finding else "there was no time to judge it"
    console.print(Text(f"{printable(bundle['path'])}\n  {why}"), soft_wrap=True)


def _print_plan(chosen: Sequence[Bundle], left: Sequence[tuple[Bundle, str]]) -> None:
    for bundle in chosen:
        click.echo(f"to register: {printable(bundle['model_id'])} from {printable(bundle['path'])}", err=True)
    for bundle, reason in left:
        click.echo(f"left: {printable(bundle['path'])}: {printable(reason)}", err=True)
    if left:
        click.echo("hint: pumas-agent register PATH --name NAME gives one of these another id", err=True)
    if not chosen:
        click.echo("nothing to register", err=True)


def _print_results(results: Sequence[Mapping[str, Any]]) -> None:
    for result in results:
        if result["success"]:
            click.echo(f"{result['status']}: {printable(result['model_id'])}")
        else:
            click.echo(f"refused: {printable(result['path'])}: {printable(result['error'])}", err=True)


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"
