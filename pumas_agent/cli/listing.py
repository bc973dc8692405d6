"""`pumas-agent list`, and how rows of models look and are filtered, in a list as in a search."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from pumas_agent.cli.output import json_option, print_json, print_table, stdout
from pumas_agent.cli.session import Session

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
@json_option
@click.pass_obj
def list_(session: Session, /, *, as_json: bool, **filters: Any) -> int:
    """List the models of the library, newest first."""
    page = session.call("list_models", **filters)
    if as_json:
        print_json("list", page)
    else:
        print_rows(page["models"], page["totalCount"], offset=filters["offset"] or 0)
    return 0


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
    if not console.is_terminal:
        return
    end = offset + len(rows)
    more = f"; --offset {end} shows more" if end < total else ""
    console.print(f"{len(rows)} of {total} model{'' if total == 1 else 's'}{more}", style="dim")
