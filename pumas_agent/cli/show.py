"""`pumas-agent show`: one model whole."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from pumas_agent.cli.completion import model_ids
from pumas_agent.cli.output import json_option, print_fields, print_findings, print_json, stdout
from pumas_agent.cli.session import Session

if TYPE_CHECKING:
    from rich.console import Console

_FIELDS = {
    "id": "id",
    "name": "officialName",
    "state": "validation_state",
    "type": "modelType",
    "storage": "storage_kind",
    "format": "bundle_format",
    "entry path": "entry_path",
    "primary file": "primary_file",
    "registry folder": "path",
    "tags": "tags",
    "updated": "updatedAt",
    "validated": "validated_at",
}


@click.command()
@click.argument("model_id", metavar="ID", shell_complete=model_ids)
@json_option
@click.pass_obj
def show(session: Session, model_id: str, *, as_json: bool) -> int:
    """Show one model, with what is wrong with it."""
    model = session.call("get_model", model_id=model_id)
    if as_json:
        print_json("show", model)
        return 0
    print_model(stdout(), model)
    return 0


def print_model(console: "Console", model: Mapping[str, Any]) -> None:
    """A model with what is wrong with it, as `get_model` gives it."""
    print_fields(console, ((name, model[key]) for name, key in _FIELDS.items()))
    print_findings(console, "findings", model["validation_errors"])
    print_findings(console, "notices", model["validation_notices"])
    unreadable = [
        {"code": "unreadable_field", "path": found["field"], "message": found["message"]}
        for found in model["metadata_findings"]
    ]
    print_findings(console, "metadata.json", unreadable)
