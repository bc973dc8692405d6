"""`pumas-agent doctor`: is everything here as it has to be, and what mends what is not?"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from pumas_agent.cli.output import json_option, print_json, printable, stdout
from pumas_agent.cli.session import Session
from pumas_agent.contracts.errors import AgentUnreachable, LibraryUnavailable, MethodNotFound, NotPermitted

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_WORST_FIRST = ("fail", "warn", "ok")


@click.command(short_help="Examine machine, library and agent; say what mends it.")
@json_option
@click.pass_obj
def doctor(session: Session, *, as_json: bool) -> int:
    """Examine the machine, the library and the agent, and say what mends what is wrong.

    A running agent examines itself; without one the same is done here. Nothing is changed. Exits 1 when something is
    WARN or FAIL.
    """
    try:
        report = session.call("agent.doctor")
    except (AgentUnreachable, LibraryUnavailable, MethodNotFound, NotPermitted) as error:
        report = session.call_here("agent.doctor")
        said = {"check": "agent", "state": "fail", "about": None, "evidence": error.message, "fix": error.hint}
        others = [entry for entry in report["checks"] if entry["check"] != "agent"]
        report = report | {"healthy": False, "checks": [said, *others]}
    if as_json:
        print_json("doctor", report)
    else:
        _print(stdout(), report)
    return 0 if report["healthy"] else 1


def _print(console: "Console", report: Mapping[str, Any]) -> None:
    """What is wrong first; text is folded by nobody, so that paths and commands can be copied."""
    from rich.text import Text

    checks = report["checks"]
    for state in _WORST_FIRST:
        for entry in (entry for entry in checks if entry["state"] == state):
            about = f" {printable(entry['about'])}" if entry["about"] else ""
            head = Text.assemble((f"{state.upper():<4}", _STYLES[state]), f"  {printable(entry['check'])}{about}")
            console.print(head, soft_wrap=True)
            console.print(Text(f"      {printable(entry['evidence'])}"), soft_wrap=True)
            if entry["fix"]:
                console.print(Text(f"      -> {printable(entry['fix'])}"), soft_wrap=True)
    count = {state: sum(entry["state"] == state for entry in checks) for state in _WORST_FIRST}
    who = f"by the agent (pid {report['pid']})" if report["inside_agent"] else "by this command; no agent answered"
    console.print(
        Text(f"{count['ok']} ok, {count['warn']} warn, {count['fail']} fail; examined {who}", style="dim"),
        soft_wrap=True,
    )
