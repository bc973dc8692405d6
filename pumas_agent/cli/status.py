"""`pumas-agent status`: the agent as an operator sees it, health first."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from pumas_agent.cli.output import counted, json_option, print_fields, print_json, print_table, printable, stdout
from pumas_agent.cli.session import Session

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@json_option
@click.pass_obj
def status(session: Session, *, as_json: bool) -> int:
    """Show the running agent. Exits 1 when something is unhealthy, 3 when no agent runs."""
    state = session.call("agent.status")
    if as_json:
        print_json("status", state)
    else:
        console = stdout()
        _print_health(console, state)
        print_fields(console, _fields(state))
    return 0 if state["healthy"] else 1


def _print_health(console: "Console", state: Mapping[str, Any]) -> None:
    print_fields(console, [("health", "healthy" if state["healthy"] else "unhealthy")])
    alerts = state["alerts"]
    rows = [(alert["code"], alert["severity"], alert["model_id"] or alert["path"], alert["since"]) for alert in alerts]
    if rows:
        print_table(console, ("ALERT", "SEVERITY", "ABOUT", "SINCE"), rows, narrow=3, whole=(2,))
    for hint in dict.fromkeys(alert["hint"] for alert in alerts):
        console.print(f"hint: {printable(hint)}", soft_wrap=True)
    wrong = [("fault", fault) for fault in state["faults"]]
    wrong += [("not watched", fault) for fault in state["watch_faults"]]
    print_fields(console, wrong)
    if rows or wrong:
        console.print()


def _fields(state: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    bundles = ", ".join(f"{count} {name}" for name, count in state["bundles"].items() if count)
    last = state["last_reconcile"]
    yield "library", state["library_root"]
    yield "models", f"{state['models']}, generation {state['generation']}"
    yield "bundles", bundles
    if last:
        scope = "everything" if last["scope"] == "*" else last["scope"]
        yield "last reconcile", f"{state['last_reconcile_at']}, {scope}, {last['duration_ms']:.0f} ms"
    yield "queue", state["queue"]
    yield "watching", _watching(state)
    yield "socket", f"{state['socket']}, {counted(state['connections'], 'connection')}"
    if state.get("page"):
        yield "page", f"{state['page']}; `pumas-agent web` prints the link"
    yield "agent", f"version {state['version']}, pid {state['pid']}, since {state['started_at']}"
    yield "memory", f"{state['rss_bytes'] / 2**20:.0f} MiB"
    if "cpu_seconds" in state:  # an agent of an older version does not say
        yield "processor", f"{state['cpu_seconds']:.1f} s, {state['open_fds']} open files"


def _watching(state: Mapping[str, Any]) -> str:
    said = f"{counted(state['watched_roots'], 'root')}, {state['watch_backend']}"
    if state["watches"]:
        said += f", {counted(state['watches'], 'watch', 'watches')}"
    if state["polled_roots"]:
        said += f"; {state['polled_roots']} compared at intervals ({state['poll_cost']:.1%} of a processor)"
    if state["watch_overflows"]:
        said += f"; events were lost {counted(state['watch_overflows'], 'time')}, and everything was looked at"
    return said
