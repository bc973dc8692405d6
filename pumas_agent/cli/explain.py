"""`pumas-agent explain`: why is a model, or a bundle that lies somewhere, in the state it is in?"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pumas_agent.cli.completion import model_ids
from pumas_agent.cli.output import counted, json_option, print_fields, print_json, print_table, printable, size, stdout
from pumas_agent.cli.session import Session, given_path
from pumas_agent.contracts.errors import AgentNotRunning, LibraryUnavailable, ModelNotFound

if TYPE_CHECKING:
    from rich.console import Console

_PATH_STARTS = ("/", "./", "../", "~")
_SHOWN_FILES = 20


@click.command(short_help="Say why a model is in the state it is in, rule by rule.")
@click.argument("what", metavar="ID|PATH", shell_complete=model_ids)
@json_option
@click.pass_obj
def explain(session: Session, what: str, *, as_json: bool) -> int:
    """Say why a model is in the state it is in: rule by rule, with what its record says and who watches it.

    A PATH is judged like `validate` does, without an agent and a library; it starts with /, ./, ../ or ~, or names a
    folder here and no model. Exits 1 when something is wrong.
    """
    if what in {".", ".."} or what.startswith(_PATH_STARTS):
        return _explain_path(session, what, as_json=as_json)
    try:
        told = session.call("explain_model", model_id=what)
    except (AgentNotRunning, LibraryUnavailable, ModelNotFound):
        if not Path(what).is_dir():
            raise
        return _explain_path(session, what, as_json=as_json)
    if as_json:
        print_json("explain", told)
    else:
        print_explanation(stdout(), told)
    return 0 if told["healthy"] else 1


def _explain_path(session: Session, what: str, *, as_json: bool) -> int:
    from pumas_agent import bundles

    policy = bundles.Policy.from_fields(session.bundle_settings(depth=None).model_dump())
    told = bundles.explained(bundles.validate(given_path(what), policy=policy)).model_dump(mode="json")
    if as_json:
        print_json("explain", {"path": what, "healthy": told["valid"], "bundle": told})
    else:
        console = stdout()
        _print_line(console, printable(what), "valid" if told["valid"] else "not valid")
        _print_bundle(console, told)
    return 0 if told["valid"] else 1


def print_explanation(console: "Console", told: Mapping[str, Any]) -> None:
    """Why a model is in the state it is in, as `explain_model` gives it."""
    _print_line(console, printable(told["model_id"]), told["state"] or ("healthy" if told["healthy"] else "unhealthy"))
    _print_line(console, f"  {printable(told['summary'])}")
    record, place, watching = told["record"], told["place"] or {}, told["watching"]
    fields = {
        "since": told["since"],
        "judged": told["judged_at"],
        "storage": told["storage_kind"],
        "record": record["path"] if record["readable"] else f"{record['path']}: {record['fault']}",
        "record says": record["validation_state"],
        "not recorded": record["not_committed"],
        "place": place.get("root"),
        "given as": place.get("given_path"),
        "filesystem": _mount(place.get("mounted_now")),
        "filesystem then": _mount(place.get("mount")) if not place.get("mounted_now") else None,
        "the same bundle": place.get("same_bundle"),
        "noticed by": " because ".join(filter(None, (watching["by"].replace("_", " "), watching["why"]))),
    }
    print_fields(console, [(name, value) for name, value in fields.items() if value is not None])
    for alert in told["alerts"]:
        _print_line(console, f"alert {alert['code']} since {alert['since']}")
        _print_line(console, f"    -> {printable(alert['hint'])}")
    for field in record["unreadable_fields"]:
        _print_line(console, f"metadata.json {printable(field['field'])}: {printable(field['message'])}")
    if not record["readable"] and record["has_backup"]:
        _print_line(console, "    -> metadata.json.bak is the record before the last change")
    if told["bundle"] is not None:
        _print_bundle(console, told["bundle"])
    if told["files"] is not None:
        _print_files(console, told["files"])


def _print_bundle(console: "Console", bundle: Mapping[str, Any]) -> None:
    kind = bundle["pipeline_class"] or "no pipeline"
    _print_line(console, printable(f"{kind}, {bundle['task'] or 'task not known'}, {size(bundle['size_bytes'])}"))
    _print_findings(console, bundle["findings"], "  ")
    _print_findings(console, bundle["notices"], "  ")
    for component in bundle["components"]:
        wrong = len(component["findings"])
        state = component["state"] if component["state"] != "present" else f"{wrong} wrong" if wrong else "ok"
        weights = component["weights"]
        holds = f", {counted(len(weights['files']), 'weight file')}, {size(weights['size_bytes'])}" if weights else ""
        what = f"{component['source_library']}.{component['class_name']}"
        _print_line(console, printable(f"  {component['name']}: {state}, {what}{holds}"))
        _print_findings(console, component["findings"], "      ")
        _print_findings(console, component["notices"], "      ")


def _print_findings(console: "Console", findings: Sequence[Mapping[str, Any]], indent: str) -> None:
    for finding in findings:
        place = f" {printable(finding['path'])}" if finding["path"] else ""
        _print_line(console, f"{indent}{finding['severity']} {printable(finding['code'])}{place}")
        for line in _sentences(finding):
            _print_line(console, f"{indent}    {printable(line)}")


def _sentences(finding: Mapping[str, Any]) -> Iterator[str]:
    yield finding["message"]
    if finding["meaning"]:
        yield finding["meaning"]
    if finding["hint"]:
        yield f"-> {finding['hint']}"


def _print_files(console: "Console", files: Mapping[str, Any]) -> None:
    for name in files["missing_files"]:
        _print_line(console, f"missing {printable(name)}")
    shown = files["files"][:_SHOWN_FILES]
    if shown:
        rows = [(file["name"], size(file["size"]), "what is loaded" if file["is_primary"] else "") for file in shown]
        print_table(console, ("FILE", "SIZE", ""), rows, narrow=3)
    more = len(files["files"]) - len(shown) + files["more_files"]
    if more:
        _print_line(console, f"and {more} more")


def _mount(mount: Mapping[str, Any] | None) -> str | None:
    return f"{mount['kind']} at {mount['point']}" if mount else None


def _print_line(console: "Console", text: str, state: str | None = None) -> None:
    from rich.text import Text

    colour = {"valid": "green", "healthy": "green", "degraded": "yellow"}.get(state or "", "bold red")
    line = Text(text) if state is None else Text.assemble((text, "bold"), "  ", (state, colour))
    console.print(line, soft_wrap=True)
