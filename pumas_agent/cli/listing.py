"""`pumas-agent list`, and how rows of models look and are filtered, in a list as in a search."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from pumas_agent.cli.output import json_option, print_json, print_table, stdout
from pumas_agent.cli.session import Session

if TYPE_CHECKING:
    from rich.console import Console

# The words of the contract; importing it for them would be felt in every start. A test compares.
STORAGE_KINDS = ("library_owned", "external_reference")
BUNDLE_FORMATS = ("diffusers_directory",)
VALIDATION_STATES = ("valid", "degraded", "invalid")


def filter_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options that choose rows; they come before paging."""
    for option in reversed(
        (
            click.option("--type", "model_type", help="Only this model type."),
            click.option("--storage", "storage_kind", type=click.Choice(STORAGE_KINDS), help="Who owns the files."),
            click.option("--format", "bundle_format", type=click.Choice(BUNDLE_FORMATS), help="Layout of the files."),
            click.option("--state", "validation_state", type=click.Choice(VALIDATION_STATES), help="Health now."),
            click.option("--tag", "tags", multiple=True, help="Only with this tag; repeat for several."),
            click.option("--limit", type=click.IntRange(1, 1000), help="Rows at most."),
            click.option("--offset", type=click.IntRange(0), help="Rows to skip."),
        )
    ):
        command = option(command)
    return command


@click.command("list")
@filter_options
@click.option("--selector", is_flag=True, help="By id, with the states and the cursor that a model selector needs.")
@click.option("--task", "task_type_primary", help="With --selector: only models for this task.")
@click.option("--match", "search", help="With --selector: only models with this text in id, name or repository.")
@json_option
@click.pass_obj
def list_(
    session: Session,
    /,
    *,
    selector: bool,
    task_type_primary: str | None,
    search: str | None,
    as_json: bool,
    **filters: Any,
) -> int:
    """List the models of the library, newest first."""
    if selector:
        snapshot = session.call(
            "model_library_selector_snapshot", search=search, task_type_primary=task_type_primary, **filters
        )
        if as_json:
            print_json("selector", snapshot)
        else:
            _print_snapshot(snapshot, offset=filters["offset"] or 0)
        return 0
    if task_type_primary is not None or search is not None:
        raise click.UsageError("--task and --match are for --selector; `pumas-agent search` finds models by any word")
    page = session.call("list_models", **filters)
    if as_json:
        print_json("list", page)
    else:
        print_rows(page["models"], page["totalCount"], offset=filters["offset"] or 0)
    return 0


def _print_snapshot(snapshot: Mapping[str, Any], *, offset: int) -> None:
    console = stdout()
    rows = snapshot.get("rows", [])
    keys = ("model_id", "artifact_state", "task_type_primary", "bundle_format", "display_name", "repo_id", "updated_at")
    if rows:
        headers = ("ID", "ARTIFACT", "TASK", "FORMAT", "NAME", "REPOSITORY", "UPDATED")
        print_table(console, headers, [[row.get(key) for key in keys] for row in rows], narrow=4)
    _print_count(console, len(rows), snapshot["total_count"], offset=offset)


def print_rows(rows: Sequence[Mapping[str, Any]], total: int, *, offset: int) -> None:
    """The rows as a table, and how many there are."""
    console = stdout()
    if rows:
        print_table(
            console,
            ("ID", "STATE", "TYPE", "STORAGE", "FORMAT", "NAME", "UPDATED"),
            [
                (
                    row["id"],
                    row["validation_state"],
                    row["modelType"],
                    row["storage_kind"],
                    row["bundle_format"],
                    row["officialName"],
                    row["updatedAt"],
                )
                for row in rows
            ],
            narrow=4,
        )
    _print_count(console, len(rows), total, offset=offset)


def _print_count(console: "Console", shown: int, total: int, *, offset: int) -> None:
    if not console.is_terminal:
        return
    end = offset + shown
    more = f"; --offset {end} shows more" if end < total else ""
    console.print(f"{shown} of {total} model{'' if total == 1 else 's'}{more}", style="dim")
