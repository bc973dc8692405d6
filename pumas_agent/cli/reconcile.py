"""`pumas-agent reconcile`: look at the disk now."""

import click

from pumas_agent.cli.completion import model_ids
from pumas_agent.cli.output import json_option, print_fields, print_json, stdout
from pumas_agent.cli.session import Session


@click.command()
@click.argument("model_id", metavar="[ID]", required=False, shell_complete=model_ids)
@json_option
@click.pass_obj
def reconcile(session: Session, model_id: str | None, *, as_json: bool) -> int:
    """Look at the disk now and record what is found.

    Without an ID at everything. Exits 1 when something is unhealthy.
    """
    report = session.call("reconcile", model_id=model_id)
    if as_json:
        print_json("reconcile", report)
    else:
        print_fields(
            stdout(),
            (
                ("looked at", "everything" if report["scope"] == "*" else report["scope"]),
                ("models", report["models_seen"]),
                ("bundles judged", report["bundles_judged"]),
                ("changed", report["models_changed"]),
                ("unhealthy", report["unhealthy"]),
                ("unreadable", report["unreadable"]),
                ("took", f"{report['duration_ms']:.0f} ms"),
            ),
        )
    return 1 if report["unhealthy"] or report["unreadable"] else 0
