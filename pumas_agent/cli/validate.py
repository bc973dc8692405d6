"""`pumas-agent validate`: is a folder a whole bundle? Needs no agent and no library, and writes nothing anywhere."""

import click

from pumas_agent.cli.output import json_option, print_fields, print_findings, print_json, stdout
from pumas_agent.cli.session import given_path


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(readable=False), metavar="PATH...")
@json_option
def validate(paths: tuple[str, ...], *, as_json: bool) -> int:
    """Judge diffusers directories where they lie. Exits 1 when any of them is not valid."""
    from pumas_agent import bundles

    reports = [bundles.validate(given_path(path)) for path in paths]
    healthy = all(report.is_valid for report in reports)
    if as_json:
        bodies = [{"valid": report.is_valid, **report.model_dump(mode="json")} for report in reports]
        print_json("validate", {"healthy": healthy, "reports": bodies})
        return 0 if healthy else 1
    console = stdout()
    for position, report in enumerate(reports):
        if position:
            console.print()
        verdict = "valid" if report.is_valid else "invalid"
        components = [component.name for component in report.components]
        print_fields(
            console,
            (
                ("bundle", report.root),
                ("verdict", verdict),
                ("pipeline", report.pipeline_class),
                ("components", components),
                ("size", f"{report.size_bytes:,} bytes"),
            ),
        )
        print_findings(console, "findings", [finding.model_dump() for finding in report.findings])
        print_findings(console, "notices", [notice.model_dump() for notice in report.notices])
    return 0 if healthy else 1
