"""`pumas-agent classify`: what lies at a path, and how it could enter the library. Changes nothing."""

from typing import Any

import click

from pumas_agent.cli.output import json_option, print_fields, print_findings, print_json, printable, size, stdout
from pumas_agent.cli.session import Session, given_path


@click.command(short_help="Say what a path is to an import.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@json_option
@click.pass_obj
def classify(session: Session, paths: tuple[str, ...], *, as_json: bool) -> int:
    """Say what each PATH is to an import: a model file, a bundle, a folder with one model or with several.

    Exits 1 when one of them cannot be imported as it is.
    """
    report = session.call("classify_model_import_paths", paths=tuple(str(given_path(path)) for path in paths))
    if as_json:
        print_json("classify", report)
    else:
        for number, found in enumerate(report["classifications"]):
            if number:
                click.echo()
            _show(found)
    return 0 if all(_is_importable(found) for found in report["classifications"]) else 1


def _is_importable(found: dict[str, Any]) -> bool:
    return found["kind"].startswith("single_") and not found["findings"]


def _show(found: dict[str, Any]) -> None:
    console = stdout()
    fields: list[tuple[str, object]] = [("path", found["path"]), ("kind", found["kind"].replace("_", " "))]
    if found["size_bytes"] is not None:
        fields.append(("size", size(found["size_bytes"])))
    named = (("type", "model_type"), ("family", "suggested_family"), ("name", "suggested_official_name"))
    fields += [(name, found[key]) for name, key in (*named, ("pipeline", "pipeline_class")) if found[key]]
    print_fields(console, (*fields, ("because", "; ".join(found["reasons"]))))
    print_findings(console, "findings", found["findings"])
    for candidate in found["candidates"]:
        kind = candidate["kind"].replace("external_", "").replace("_", " ")
        why = f" ({'; '.join(candidate['reasons'])})" if candidate["reasons"] else ""
        click.echo(f"  {kind}: {printable(candidate['path'])}{printable(why)}")
