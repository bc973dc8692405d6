"""AlertBook: one log line a transition, and one entry of the journal.

Owns which conditions stand and since when. Told what is found now, it says what was raised, updated or cleared. What
comes and goes is said a few times, then counted until it holds still (`evidence.flaps`). Decides nothing about assets,
and keeps nothing itself: since when a condition stands is handed to whoever remembers it.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from pumas_agent.contracts.events import Transition
from pumas_agent.contracts.health import SEVERITIES, Alert, AlertCode, Severity
from pumas_agent.contracts.timestamps import utc_now
from pumas_agent.health.damping import FLAP_RAISES, STILL_S, Cancellable, FlapCounter, Later, on_the_loop
from pumas_agent.health.journal import AlertJournal

_ORDER = (Severity.CRITICAL, Severity.ERROR, Severity.WARNING, Severity.INFO)
_DOC = "docs/reference/alerts.md#"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is wrong now: where, how one can tell, and what to do about it."""

    path: str | None
    evidence: Mapping[str, Any]
    hint: str


_OVER_BEFORE_THE_START = Condition(None, {}, "")
"""What is known of an alert that stood when the agent last ran, and was over when it looked again."""

_Key = tuple[AlertCode, str]


@dataclass(slots=True)
class _Waiting:
    """A condition that has not stood long enough to be raised."""

    condition: Condition
    since: str
    began: float
    timer: Cancellable


@dataclass(slots=True)
class _Flapping:
    """An alert that came and went too often: it stands until its condition has held still."""

    flaps: int
    found: Condition | None
    said: Alert
    timer: Cancellable


class AlertBook:
    """The standing alerts. Belongs to the event loop."""

    def __init__(
        self,
        remembered: Mapping[tuple[str, str], str],
        remember: Callable[[AlertCode, str, str | None], None],
        *,
        visible_after_s: float = 0.0,
        later: Later = on_the_loop,
        clock: Callable[[], float] = time.monotonic,
        flaps: FlapCounter | None = None,
    ) -> None:
        """Make a book.

        Args:
            remembered: since when alerts stood when the agent last ran, by (code, model id).
            remember: called with a code, a model id ("" for the library) and since when; None when it is over.
            visible_after_s: how long a condition has to stand before it is raised.
            later: calls something once, after seconds.
            clock: monotonic time.
            flaps: counts how often alerts are raised.
        """
        self._remembered = dict(remembered)
        self._remember = remember
        self._visible_after_s = visible_after_s
        self._later = later
        self._clock = clock
        self._flaps = flaps or FlapCounter()
        self._standing: dict[_Key, Alert] = {}
        self._waiting: dict[_Key, _Waiting] = {}
        self._flapping: dict[_Key, _Flapping] = {}
        self.journal = AlertJournal()

    def observe(self, model_id: str, codes: Iterable[AlertCode], found: Mapping[AlertCode, Condition]) -> None:
        """Say what is found of a subject now, as to some codes: the others are left alone.

        The subject is a model id, "" for the library itself, or the absolute path of a filesystem.
        """
        for code in codes:
            key = (code, model_id)
            standing = self._standing.get(key)
            condition = found.get(code)
            if (flapping := self._flapping.get(key)) is not None:
                self._count(key, flapping, condition)
            elif condition is None:
                self._clear(key, standing)
            elif standing is None:
                self._raise_when_due(key, condition)
            elif standing.evidence != condition.evidence or standing.path != condition.path:
                self._standing[key] = _alert(key, condition, standing.since)
                self._say(Transition.UPDATED, self._standing[key])

    def retune(self, visible_after_s: float) -> None:
        """Let a condition stand so long from now on before it is raised, also those that stand and were not raised."""
        self._visible_after_s = visible_after_s
        for key, waiting in tuple(self._waiting.items()):
            waiting.timer.cancel()
            left = visible_after_s - (self._clock() - waiting.began)
            if left <= 0:
                self._is_due(key)
            else:
                waiting.timer = self._later(left, partial(self._is_due, key))

    def _raise_when_due(self, key: _Key, condition: Condition) -> None:
        remembered = (key[0].value, key[1]) in self._remembered
        if not self._visible_after_s or remembered:  # what stood before the restart has stood long enough
            self._raise(key, condition, utc_now())
        elif (waiting := self._waiting.get(key)) is not None:
            waiting.condition = condition
        else:
            timer = self._later(self._visible_after_s, lambda: self._is_due(key))
            self._waiting[key] = _Waiting(condition, utc_now(), self._clock(), timer)

    def _is_due(self, key: _Key) -> None:
        waiting = self._waiting.pop(key)
        self._raise(key, waiting.condition, waiting.since)

    def _raise(self, key: _Key, condition: Condition, since: str) -> None:
        known = self._remembered.pop((key[0].value, key[1]), None)
        self._standing[key] = _alert(key, condition, known or since)
        if known is None:
            self._remember(*key, self._standing[key].since)
        if self._flaps.raised(key):
            said = self._standing[key] = _alert(key, _with_flaps(condition, FLAP_RAISES - 1), known or since)
            self._flapping[key] = _Flapping(FLAP_RAISES - 1, condition, said, self._look_when_still(key))
        self._say(Transition.RAISED, self._standing[key])

    def _clear(self, key: _Key, standing: Alert | None) -> None:
        if (waiting := self._waiting.pop(key, None)) is not None:
            waiting.timer.cancel()
            return
        known = self._remembered.pop((key[0].value, key[1]), None)
        if standing is not None:
            del self._standing[key]
        elif known is not None:
            standing = _alert(key, _OVER_BEFORE_THE_START, known)
        else:
            return
        self._flaps.cleared(key)
        self._remember(*key, None)
        self._say(Transition.CLEARED, standing, Severity.INFO)

    def _count(self, key: _Key, flapping: _Flapping, condition: Condition | None) -> None:
        """Note a change of what flaps, and look again when it may have held still."""
        if condition == flapping.found:
            return
        if condition is not None:
            flapping.flaps += flapping.found is None
            self._standing[key] = _alert(key, _with_flaps(condition, flapping.flaps), self._standing[key].since)
        flapping.found = condition
        flapping.timer.cancel()
        flapping.timer = self._look_when_still(key)

    def _look_when_still(self, key: _Key) -> Cancellable:
        return self._later(STILL_S, lambda: self._held_still(key))

    def _held_still(self, key: _Key) -> None:
        flapping = self._flapping.pop(key)
        self._flaps.forget(key)
        alert = self._standing[key]
        if flapping.found is None:
            self._clear(key, alert)
            return
        if alert != flapping.said:
            self._say(Transition.UPDATED, alert)
        self._standing[key] = _alert(key, flapping.found, alert.since)

    def forget(self, model_id: str) -> None:
        """Clear what stands of a model that is no longer registered."""
        for key in [key for key in self._flapping if key[1] == model_id]:
            self._flapping.pop(key).timer.cancel()
            self._flaps.forget(key)
        self.observe(model_id, tuple(AlertCode), {})

    def close(self) -> None:
        """Say nothing more by a timer: whoever remembers is about to close."""
        timers = [waiting.timer for waiting in self._waiting.values()]
        timers += [flapping.timer for flapping in self._flapping.values()]
        for timer in timers:
            timer.cancel()

    def models(self, code: AlertCode) -> set[str]:
        """The models of which an alert stands, or stood when the agent last ran and was not observed since."""
        return {model_id for known, model_id in (*self._standing, *self._remembered) if known == code}

    def since(self, model_id: str, codes: Iterable[AlertCode]) -> str | None:
        """When the oldest standing alert of a model, with one of these codes, was raised."""
        standing = (self._standing.get((code, model_id)) for code in codes)
        return min((alert.since for alert in standing if alert is not None), default=None)

    def standing(self) -> tuple[Alert, ...]:
        """What stands, worst first, then oldest first."""
        return tuple(sorted(self._standing.values(), key=lambda alert: (_ORDER.index(alert.severity), alert.since)))

    def _say(self, transition: Transition, alert: Alert, level: Severity | None = None) -> None:
        event, fields = f"alert.{transition}", alert.model_dump(mode="json")
        log.log(_LEVELS[level or alert.severity], event, **fields, doc=f"{_DOC}{alert.code}")
        self.journal.append(transition, alert)


def _alert(key: tuple[AlertCode, str], condition: Condition, since: str) -> Alert:
    return Alert(
        code=key[0],
        severity=SEVERITIES[key[0]],
        model_id=None if key[1].startswith("/") else key[1] or None,
        path=condition.path,
        since=since,
        evidence=dict(condition.evidence),
        hint=condition.hint,
    )


def _with_flaps(condition: Condition, flaps: int) -> Condition:
    return Condition(condition.path, {**condition.evidence, "flaps": flaps}, condition.hint)


_LEVELS = {Severity.CRITICAL: 50, Severity.ERROR: 40, Severity.WARNING: 30, Severity.INFO: 20}
