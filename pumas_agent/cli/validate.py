"""`pumas-agent validate`: is a folder a whole bundle? Needs no agent and no library, and writes nothing anywhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pumas_agent.cli.output import print_json, print_table, printable, size, stdout
from pumas_agent.cli.session import Session, given_path

if TYPE_CHECKING:
    from rich.console import Console

    from pumas_agent.contracts.bundles import AssetValidationError, BundleComponent, BundleReport, ComponentWeights

_FORMATS = ("text", "json", "github")


@click.command(short_help="Judge bundles where they lie, without an agent.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(readable=False), metavar="PATH...")
@click.option("--variant", help="Judge the weights of this variant, as fp16; by default those that load.")
@click.option(
    "--depth", type=click.Choice(("content", "structure")), help="How much is looked at.  [default: settings]"
)
@click.option("--format", "output", type=click.Choice(_FORMATS), default="text", help="github: annotations for CI.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a path, each in a line.")
@click.pass_obj
def validate(
    session: Session, paths: tuple[str, ...], *, variant: str | None, depth: str | None, output: str, as_json: bool
) -> int:
    """Judge diffusers directories where they lie: does each load, and draw what it should?

    Nothing is imported, no tensor is read, and nothing is written. The `bundles` settings hold here too. Exits 1 when
    any of them is not valid.
    """
    from pumas_agent import bundles

    policy = bundles.Policy.from_fields(session.bundle_settings(depth=depth).model_dump())
    healthy = True
    for position, path in enumerate(paths):
        report = bundles.validate(given_path(path), policy=policy, variant=variant)
        healthy = healthy and report.is_valid
        if as_json or output == "json":
            print_json("validate", _document(path, report))
        elif output == "github":
            _print_annotations(path, report)
        else:
            if position:
                click.echo()
            _print_report(stdout(), path, report)
    return 0 if healthy else 1


def _document(path: str, report: "BundleReport") -> dict[str, Any]:
    fields = report.model_dump(mode="json")
    for kind in ("findings", "notices"):
        fields[kind] = [{**finding, "hint": _hint(finding["code"])} for finding in fields[kind]]
    return {"path": path, "valid": report.is_valid, **fields}


def _print_report(console: "Console", path: str, report: "BundleReport") -> None:
    from rich.text import Text

    verdict = "valid" if report.is_valid else "not valid"
    heading = Text.assemble((printable(path), "bold"), "  ", (verdict, "green" if report.is_valid else "bold red"))
    console.print(heading, soft_wrap=True)
    what = [report.pipeline_class or "no pipeline", report.task or "task not known", size(report.size_bytes)]
    if report.weights:
        what.append(f"{report.load_dtype or 'mixed'} {report.security_tier.value} weights")
    if report.load_variant is not None:
        what.append(f"load with variant={report.load_variant!r}")
    console.print(Text(f"  {printable(', '.join(what))}"), soft_wrap=True)
    weights = {weight.component: weight for weight in report.weights}
    rows = [
        (component.name, _state(report, component), component.class_name, *_weights(weights.get(component.name)))
        for component in report.components
    ]
    if rows:
        print_table(console, ("COMPONENT", "STATE", "CLASS", "PARAMETERS", "SIZE", "TENSORS", "FILES"), rows, narrow=5)
    _print_findings(console, "findings", report.findings)
    _print_findings(console, "notices", report.notices)


def _print_findings(console: "Console", title: str, findings: "tuple[AssetValidationError, ...]") -> None:
    from rich.text import Text

    if not findings:
        return
    style = "bold red" if title == "findings" else "bold"
    console.print(Text(title, style=style))
    for finding in findings:
        where = f" {printable(finding.path)}" if finding.path else ""
        console.print(Text.assemble("  ", (finding.code, "bold"), where), soft_wrap=True)
        message = finding.message.removeprefix(f"{finding.path} ")
        console.print(Text(f"      {printable(message)}"), soft_wrap=True)
        console.print(Text(f"      -> {_hint(finding.code)}", style="dim"), soft_wrap=True)


def _state(report: "BundleReport", component: "BundleComponent") -> str:
    if component.state != "present":
        return component.state
    places = (finding.path or "" for finding in report.findings)
    count = sum(place == component.name or place.startswith(f"{component.name}/") for place in places)
    return f"{count} wrong" if count else "ok"


def _weights(weights: "ComponentWeights | None") -> tuple[object, ...]:
    if weights is None:
        return (None,) * 4
    if weights.parameters is None:
        return "a pickle", size(weights.size_bytes), None, len(weights.files)
    numbers = sum(weights.parameters.values())
    parameters = f"{_millions(numbers)} {'+'.join(sorted(weights.parameters))}"
    return parameters, size(weights.size_bytes), f"{weights.tensors:,}", len(weights.files)


def _millions(count: int) -> str:
    return f"{count / 1e6:,.1f} M" if count >= 1e5 else f"{count:,}"  # noqa: PLR2004 - below it, millions say 0.0


def _print_annotations(path: str, report: "BundleReport") -> None:
    """Workflow commands of GitHub Actions: one annotation a finding."""
    for level, findings in (("error", report.findings), ("warning", report.notices)):
        for finding in findings:
            place = _property(str(Path(path) / finding.path) if finding.path else path)
            text = _escape(printable(f"{finding.message} ({_hint(finding.code)})"))
            click.echo(f"::{level} file={place},title={finding.code}::{text}")


def _property(text: str) -> str:
    return _escape(printable(text)).replace(":", "%3A").replace(",", "%2C")


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _hint(code: str) -> str:
    from pumas_agent.bundles import EXPLANATIONS, FindingCode

    return EXPLANATIONS[FindingCode(code)].hint
