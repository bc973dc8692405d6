"""`pumas-agent deps`: which packages models need. Profiles, bindings, and the audit of their pins."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pumas_agent.cli.completion import model_ids
from pumas_agent.cli.output import counted, json_option, print_fields, print_json, print_table, printable, stdout
from pumas_agent.cli.session import Session
from pumas_agent.contracts.errors import InvalidParams

if TYPE_CHECKING:
    from rich.console import Console

_RESOLVED = "resolved"
_MOST_BYTES = 1024 * 1024
_KEYS = {"profile_id", "profile_version", "environment_kind", "spec", "profile_hash"}
_SHAPE = "it needs profile_id, profile_version, environment_kind and spec"


@click.group()
def deps() -> None:
    """Say and show which packages models need.

    A profile is a set of pinned packages under an id and a version; a binding says that a model needs one.
    """


@deps.command()
@click.argument("model_id", metavar="ID", shell_complete=model_ids)
@click.option("--platform", help="For this platform, such as linux or linux-x86_64.  [default: this machine]")
@click.option("--backend", help="For this backend.  [default: any]")
@json_option
@click.pass_obj
def show(session: Session, model_id: str, *, platform: str | None, backend: str | None, as_json: bool) -> int:
    """Show which packages a model needs. Exits 1 unless all of it is resolved."""
    answer = session.call(
        "resolve_model_dependency_requirements", model_id=model_id, platform_context=platform, backend_key=backend
    )
    if as_json:
        print_json("deps-show", answer)
    else:
        _show(stdout(), answer)
    return 0 if answer["validation_state"] == _RESOLVED else 1


@deps.command()
@click.argument("file", metavar="FILE.json", type=click.Path(readable=False, path_type=Path))
@json_option
@click.pass_obj
def profile(session: Session, file: Path, *, as_json: bool) -> int:
    """Store the profile in a file, once and for all.

    The file holds an object with `profile_id`, `profile_version`, `environment_kind` and `spec`. A profile that is
    stored already changes nothing; another one under its id and version is refused.
    """
    stored = session.call("upsert_dependency_profile", **_profile_in(file))
    if as_json:
        print_json("deps-profile", stored)
        return 0
    said = "stored" if stored["created"] else "was stored before"
    click.echo(f"{said}: {printable(stored['profile_id'])} version {stored['profile_version']}")
    click.echo(f"hash {stored['profile_hash']}")
    return 0


@deps.command()
@click.argument("model_id", metavar="ID", shell_complete=model_ids)
@click.argument("profile_id", metavar="PROFILE")
@click.argument("profile_version", metavar="VERSION", type=int)
@click.option("--kind", help="What the packages are for.  [default: required_core]")
@click.option("--backend", help="Only for this backend.")
@click.option("--platform", help="Only for these platforms, separated by commas.")
@click.option("--priority", type=int, help="Its place among bindings of the same kind.  [default: 100]")
@click.option("--binding-id", help="Its id.  [default: made from the above]")
@json_option
@click.pass_obj
def bind(session: Session, /, model_id: str, profile_id: str, profile_version: int, **options: Any) -> int:
    """Say that a model needs version VERSION of a profile. Binding another version takes the place of the first."""
    change = session.call(
        "bind_model_dependency",
        model_id=model_id,
        profile_id=profile_id,
        profile_version=profile_version,
        binding_kind=options["kind"],
        backend_key=options["backend"],
        platform_selector=options["platform"],
        priority=options["priority"],
        binding_id=options["binding_id"],
    )
    if options["as_json"]:
        print_json("deps-bind", change)
        return 0
    said = "bound" if change["changed"] else "was bound before"
    click.echo(f"{said}: {printable(model_id)} needs {_profile(change['binding'])}")
    click.echo(f"binding {printable(change['binding']['binding_id'])}")
    _print_issues(change["issues"])
    return 0


@deps.command()
@click.argument("model_id", metavar="ID", shell_complete=model_ids)
@click.argument("binding_id", metavar="BINDING")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def unbind(session: Session, model_id: str, binding_id: str, *, yes: bool, as_json: bool) -> int:
    """Say that a binding no longer applies. It is kept with its history; `deps bind` takes it up again."""
    if not yes:
        _ask(model_id, binding_id)
    change = session.call("unbind_model_dependency", model_id=model_id, binding_id=binding_id)
    if as_json:
        print_json("deps-unbind", change)
        return 0
    said = "unbound" if change["changed"] else "was unbound before"
    click.echo(
        f"{said}: {printable(model_id)} no longer needs {_profile(change['binding'])} by {printable(binding_id)}"
    )
    return 0


@deps.command()
@json_option
@click.pass_obj
def audit(session: Session, *, as_json: bool) -> int:
    """Say which bindings do not name exactly what is needed. Exits 1 when there are any."""
    report = session.call("audit_dependency_pin_compliance")
    if as_json:
        print_json("deps-audit", report)
    else:
        click.echo(
            f"{counted(report['bindings'], 'binding')} of {counted(report['models'], 'model')};"
            f" {counted(len(report['issues']), 'issue')}"
        )
        _print_issues(report["issues"])
    return 1 if report["issues"] else 0


def _show(console: "Console", answer: dict[str, Any]) -> None:
    fields = [
        ("model", answer["model_id"]),
        ("platform", answer["platform_key"]),
        ("backend", answer["backend_key"] or "any"),
        ("packages", answer["validation_state"]),
    ]
    print_fields(console, fields)
    _print_errors(answer["validation_errors"])
    for binding in answer["bindings"]:
        click.echo(f"\n{printable(binding['binding_id'])}: {_profile(binding)}, {binding['validation_state']}")
        _print_errors(binding["validation_errors"])
        rows = [
            (package["name"], package["exact_pin"], package.get("index_url"), package.get("markers"))
            for package in binding["requirements"]
        ]
        if rows:
            print_table(console, ("package", "pin", "index", "markers"), rows, narrow=3)


def _profile(binding: dict[str, Any]) -> str:
    return f"{printable(binding['profile_id'])} version {binding['profile_version']}"


def _print_errors(errors: list[dict[str, Any]]) -> None:
    for error in errors:
        click.echo(f"  {error['code']}: {printable(error['message'])}")


def _print_issues(issues: list[dict[str, Any]]) -> None:
    for issue in issues:
        click.echo(f"  {issue['code']} {printable(issue['binding_id'])}: {printable(issue['message'])}")
        if issue["suggestion"]:
            click.echo(f"    add {printable(issue['suggestion'])}")


def _profile_in(file: Path) -> dict[str, Any]:
    """The object in a file.

    Raises:
        InvalidParams: there is none, or it is too large for one message.
    """
    try:
        with file.open("rb") as opened:
            text = opened.read(_MOST_BYTES + 1)
        document = json.loads(text) if len(text) <= _MOST_BYTES else None
    except OSError as error:
        raise InvalidParams(f"cannot read {file}: {error.strerror}", hint="check the path of the file") from None
    except (ValueError, RecursionError) as error:
        raise InvalidParams(f"{file} is not JSON: {error}", hint=_SHAPE) from None
    if not isinstance(document, dict):
        raise InvalidParams(f"{file} holds no JSON object of at most {_MOST_BYTES} bytes", hint=_SHAPE)
    if unknown := sorted(document.keys() - _KEYS):
        raise InvalidParams(f"{file} has the key {unknown[0]!r}, which no profile has", hint=_SHAPE)
    return document


def _ask(model_id: str, binding_id: str) -> None:
    """Say what will happen and let the person decide.

    Raises:
        UsageError: nobody is there to ask.
        Abort: they said no.
    """
    if not sys.stdin.isatty():
        raise click.UsageError("deps unbind asks first, and stdin is no terminal; --yes goes without asking")
    click.echo(f"{printable(model_id)} will no longer need the packages of {printable(binding_id)}.", err=True)
    click.confirm("Unbind it?", abort=True, err=True)
