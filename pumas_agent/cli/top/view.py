"""What `top` shows, as data and as words: figures, rates, alerts and models, what is wrong first.

Pure: asks nobody and draws nothing. Text that others wrote leaves here escaped.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from pumas_agent.cli.output import printable

_SEVERITIES = ("critical", "error", "warning", "info")
_STATES = ("invalid", "degraded", None, "valid")
T = TypeVar("T", "Row", "Wrong")
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_LEAST_S = 0.9
"""Rates over less would jump."""

Figures = Mapping[str, float]


@dataclass(slots=True)
class View:
    """Everything that is known of the agent now."""

    status: Mapping[str, Any] | None = None
    figures: Figures = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    models: Sequence[Mapping[str, Any]] = ()
    judged: dict[str, str | None] = field(default_factory=dict)
    """When models were last judged, as far as that was asked for."""
    gone: str | None = None
    """Why the agent does not answer; None while it does."""
    gone_since: datetime | None = None
    seen_at: datetime | None = None

    @property
    def healthy(self) -> bool:
        """As the agent says it."""
        return bool(self.status and self.status["healthy"])


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something that is wrong, in the words of the screen."""

    severity: str
    what: str
    about: str
    since: str
    hint: str

    @property
    def text(self) -> str:
        """What a filter looks at."""
        return f"{self.severity} {self.what} {self.about} {self.hint}"


@dataclass(frozen=True, slots=True)
class Row:
    """A model, in the words of the screen."""

    id: str
    state: str
    alerts: str
    kind: str
    storage: str
    name: str

    @property
    def text(self) -> str:
        """What a filter looks at."""
        return f"{self.state} {self.alerts} {self.id} {self.kind} {self.storage} {self.name}"


class Rates:
    """How fast counters rise, from one look to the next."""

    def __init__(self) -> None:
        self._base: tuple[float, Figures] | None = None
        self._rates: Mapping[str, float] = {}

    def of(self, figures: Figures, now: float | None = None) -> Mapping[str, float]:
        """By the second, since the last look that is at least a second old; nothing before there were two."""
        now = time.monotonic() if now is None else now
        if self._base is None or total(figures, "pumas_agent_uptime_seconds") < total(
            self._base[1], "pumas_agent_uptime_seconds"
        ):  # another agent answers
            self._base, self._rates = (now, figures), {}
        elif (passed := now - self._base[0]) >= _LEAST_S:
            counters = {
                "lookups": "pumas_agent_lookups_total",
                "cpu": "pumas_agent_cpu_seconds_total",
                "wakeups": "pumas_agent_wakeups_total",
            }
            before = self._base[1]
            self._rates = {
                name: max(0.0, total(figures, counter) - total(before, counter)) / passed
                for name, counter in counters.items()
            }
            self._base = (now, figures)
        return self._rates


def figures_of(text: str) -> dict[str, float]:
    """The samples of the metrics, by name and labels as they are written."""
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def total(figures: Figures, name: str) -> float:
    """The sum of a family over its labels; 0 when the agent does not measure it."""
    return sum(value for key, value in figures.items() if key.partition("{")[0] == name)


def wrongs(view: View) -> list[Wrong]:
    """The alerts that stand, worst first, then what else the agent says is wrong."""
    if view.status is None:
        return []
    now = datetime.now(UTC)
    alerts = [
        Wrong(
            alert["severity"],
            printable(alert["code"]),
            printable(alert["model_id"] or alert["path"] or "the library"),
            age(alert["since"], now),
            printable(alert["hint"]),
        )
        for alert in view.status["alerts"]
    ]
    faults = [Wrong("fault", "fault", printable(fault), "", "") for fault in view.status["faults"]]
    faults += [Wrong("fault", "not watched", printable(fault), "", "") for fault in view.status["watch_faults"]]
    return [*alerts, *faults]


def rows(view: View) -> list[Row]:
    """The models, those with the worst alert first, then those in the worst state, then by id."""
    of_model: dict[str, list[Mapping[str, Any]]] = {}
    for alert in (view.status or {}).get("alerts", ()):
        if alert["model_id"]:
            of_model.setdefault(alert["model_id"], []).append(alert)

    def rank(model: Mapping[str, Any]) -> tuple[int, int, str]:
        severities = [_place(_SEVERITIES, alert["severity"]) for alert in of_model.get(model["id"], ())]
        worst = min(severities, default=len(_SEVERITIES))
        return worst, _place(_STATES, model["validation_state"]), model["id"]

    return [
        Row(
            model["id"],
            printable(model["validation_state"] or "-"),
            printable(", ".join(alert["code"] for alert in of_model.get(model["id"], ())) or "-"),
            printable(model["modelType"]),
            {"external_reference": "external", "library_owned": "own"}.get(model["storage_kind"], "-"),
            printable(model["officialName"]),
        )
        for model in sorted(view.models, key=rank)
    ]


def headline(view: View) -> Iterator[tuple[str, str]]:
    """Health and who answers, in words with a style each."""
    status = view.status
    if view.gone is not None:
        yield f"no answer since {_clock(view.gone_since)}, trying again: {printable(view.gone)}", "bold red"
        if view.seen_at is not None:
            yield f"what follows is of {_clock(view.seen_at)}", ""
        return
    if status is None:
        yield "asking the agent", ""
        return
    yield "healthy" if status["healthy"] else "unhealthy", "bold green" if status["healthy"] else "bold red"
    yield _counted(len(status["alerts"]), "alert"), ""
    states = ", ".join(f"{number} {name}" for name, number in status["bundles"].items() if number)
    yield f"{_counted(status['models'], 'model')}{f' ({states})' if states else ''}", ""
    yield f"pid {status['pid']}, up {age(status['started_at'], datetime.now(UTC))}, {printable(status['version'])}", ""


def summary(view: View) -> Iterator[tuple[str, str]]:
    """The figures, each with its name."""
    status, figures, rates = view.status, view.figures, view.rates
    if status is None:
        return
    busy, idle = (figures.get(f'pumas_agent_judging_processes{{state="{name}"}}', 0) for name in ("busy", "idle"))
    yield "queue", f"{status['queue']:,}"
    yield "workers", f"{busy:.0f} busy, {idle:.0f} idle"
    yield "last look", _last_look(status)
    yield "watches", _watches(status, figures)
    yield (
        "roots",
        f"{status['watched_roots']:,} {printable(status['watch_backend'])}, {status['polled_roots']:,} polled",
    )
    if status["watch_overflows"]:
        yield "events lost", f"{status['watch_overflows']:,} times"
    yield "memory", f"{status['rss_bytes'] / 2**20:.0f} MiB"
    yield "cpu", f"{rates['cpu']:.1%}" if rates else "-"
    yield "files", f"{total(figures, 'pumas_agent_open_fds'):.0f}"
    yield "wake-ups", f"{rates['wakeups']:,.0f}/s" if rates else "-"
    yield "lookups", f"{rates['lookups']:,.1f}/s" if rates else "-"
    yield "connections", f"{status['connections']}"


def age(moment: str | None, now: datetime) -> str:
    """How long ago, in one unit; `-` when nobody knows."""
    try:
        then = datetime.fromisoformat(moment or "")
    except ValueError:
        return "-"
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    seconds = max(0, int((now - then).total_seconds()))
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    return f"{seconds // size} {unit}"


def matching(found: Iterable[T], wanted: str) -> list[T]:
    """Those that hold all words of a filter, in any case."""
    words = wanted.casefold().split()
    return [one for one in found if all(word in one.text.casefold() for word in words)]


def _counted(count: int, name: str) -> str:
    return f"{count or 'no'} {name}{'' if count == 1 else 's'}"


def _clock(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%H:%M:%S") if moment else "-"


def _last_look(status: Mapping[str, Any]) -> str:
    last = status["last_reconcile"]
    if last is None:
        return "not yet"
    return f"{age(status['last_reconcile_at'], datetime.now(UTC))} ago, {last['duration_ms']:,.0f} ms"


def _watches(status: Mapping[str, Any], figures: Figures) -> str:
    limit = figures.get("pumas_agent_watches_limit")
    return f"{status['watches']:,}" + (f" of {limit:,.0f} ({status['watches'] / limit:.0%})" if limit else "")


def _place(order: Sequence[str | None], value: str | None) -> int:
    return order.index(value) if value in order else len(order)
