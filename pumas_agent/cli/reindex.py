"""`pumas-agent reindex`: the index made anew from the metadata files, which are the truth."""

import click

from pumas_agent.cli.output import json_option, print_fields, print_json, stdout
from pumas_agent.cli.session import Session


@click.command()
@json_option
@click.pass_obj
def reindex(session: Session, *, as_json: bool) -> int:
    """Make the index anew from the metadata files.

    Exits 1 when one of them cannot be read.
    """
    report = session.call("rebuild_model_index")
    if as_json:
        print_json("reindex", report)
    else:
        print_fields(
            stdout(),
            (
                ("models", report["indexed_count"]),
                ("changed", report["changed"]),
                ("removed", report["removed"]),
                ("unreadable", report["unreadable"]),
                ("took", f"{report['duration_ms']:.0f} ms"),
            ),
        )
    return 1 if report["unreadable"] else 0
