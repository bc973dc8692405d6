"""`pumas-agent verify`: does what the library says agree with the disk?"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from pumas_agent.cli.completion import model_ids
from pumas_agent.cli.output import json_option, print_fields, print_json, printable, size, stdout
from pumas_agent.cli.session import Session

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@click.argument("model_id", metavar="[ID]", required=False, shell_complete=model_ids)
@click.option("--deep", is_flag=True, help="Read the files too, and compare them with the recorded digests.")
@json_option
@click.pass_obj
def verify(session: Session, model_id: str | None, *, deep: bool, as_json: bool) -> int:
    """Compare the records, the index and the files with each other.

    Without an ID everything. Nothing is changed or repaired. Exits 1 when something differs, or a bundle is not valid.
    """
    report = session.call("verify", model_id=model_id, deep=deep)
    if as_json:
        print_json("verify", report)
    else:
        _print(stdout(), report)
    return 0 if report["ok"] else 1


def _print(console: "Console", report: Mapping[str, Any]) -> None:
    from rich.text import Text

    fields: list[tuple[str, object]] = [
        ("models", report["models"]),
        ("bundles judged", report["bundles_judged"]),
        ("not valid", report["unhealthy"]),
        ("files", report["files"]),
    ]
    if report["deep"]:
        fields.append(("hashed", f"{report['files_hashed']} files, {size(report['bytes_hashed'])}"))
    count = len(report["differences"]) + report["more_differences"]
    print_fields(console, [*fields, ("differences", count), ("took", f"{report['duration_ms']:.0f} ms")])
    for one in report["differences"]:
        place = " ".join(filter(None, (one["model_id"], one["path"])))
        console.print(Text(f"{one['code']} {printable(place)}", style="bold"), soft_wrap=True)
        console.print(Text(f"    {printable(one['message'])}"), soft_wrap=True)
    if report["more_differences"]:
        console.print(f"and {report['more_differences']} more")
    for note in report["notes"]:
        console.print(Text(f"note: {printable(note)}", style="dim"), soft_wrap=True)
