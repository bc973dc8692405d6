"""What is examined, as it was when the examination began. Owns the words of an entry; looks at nothing itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pumas_agent.contracts.doctor import Check, CheckName, CheckState
from pumas_agent.contracts.health import Alert
from pumas_agent.watching import WatchCover

SHOWN = 20
"""Entries of one kind that are shown one by one; the others are counted."""


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What only a running agent knows of itself."""

    alerts: tuple[Alert, ...]
    faults: tuple[str, ...]
    cover: WatchCover
    unwatched: Mapping[str, str]
    """Roots that nothing covers, or that are compared at intervals although events would tell; with the reason."""
    limit_reached: bool
    connections: int
    max_connections: int


@dataclass(frozen=True, slots=True)
class Patient:
    """The library, its surroundings, and the agent when it is the one that asks."""

    root: Path
    socket: Path
    poll_interval_s: float
    trash_days: float
    roots: Mapping[str, str] = field(default_factory=dict)
    """The roots of external bundles by model id; empty when the index cannot be read."""
    agent: AgentFacts | None = None


def ok(check: CheckName, evidence: str, about: object = None) -> Check:
    """As it has to be."""
    return _entry(check, CheckState.OK, evidence, about, None)


def warn(check: CheckName, evidence: str, fix: str | None, about: object = None) -> Check:
    """It works, and will not for ever, or not for everything."""
    return _entry(check, CheckState.WARN, evidence, about, fix)


def fail(check: CheckName, evidence: str, fix: str | None, about: object = None) -> Check:
    """It does not work."""
    return _entry(check, CheckState.FAIL, evidence, about, fix)


def shortened(check: CheckName, found: list[Check]) -> list[Check]:
    """At most `SHOWN` entries, and how many more there are."""
    if len(found) <= SHOWN:
        return found
    state = CheckState.FAIL if any(entry.state is CheckState.FAIL for entry in found[SHOWN:]) else CheckState.WARN
    more = f"and {len(found) - SHOWN} more"
    return [*found[:SHOWN], _entry(check, state, more, None, "`pumas-agent verify` lists all of them")]


def _entry(check: CheckName, state: CheckState, evidence: str, about: object, fix: str | None) -> Check:
    return Check(
        check=check,
        state=state,
        about=None if about is None else _text(str(about)),
        evidence=_text(evidence),
        fix=fix and _text(fix),
    )


def _text(text: str) -> str:
    """A name from disk that is not UTF-8 can be told as well."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
