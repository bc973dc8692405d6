"""AlertBook: one log line a transition.

Owns which conditions stand and since when. Told what is found now, it says what was raised, updated or cleared. Decides
nothing about assets, and keeps nothing itself: since when a condition stands is handed to whoever remembers it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from pumas_agent.contracts.health import SEVERITIES, Alert, AlertCode, Severity
from pumas_agent.contracts.timestamps import utc_now

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


class AlertBook:
    """The standing alerts. Belongs to the event loop."""

    def __init__(
        self, remembered: Mapping[tuple[str, str], str], remember: Callable[[AlertCode, str, str | None], None]
    ) -> None:
        """Make a book.

        Args:
            remembered: since when alerts stood when the agent last ran, by (code, model id).
            remember: called with a code, a model id ("" for the library) and since when; None when it is over.
        """
        self._remembered = dict(remembered)
        self._remember = remember
        self._standing: dict[tuple[AlertCode, str], Alert] = {}

    def observe(self, model_id: str, codes: Iterable[AlertCode], found: Mapping[AlertCode, Condition]) -> None:
        """Say what is found of a subject now, as to some codes: the others are left alone.

        The subject is a model id, "" for the library itself, or the absolute path of a filesystem.
        """
        for code in codes:
            key = (code, model_id)
            standing = self._standing.get(key)
            condition = found.get(code)
            if condition is None:
                self._clear(key, standing)
            elif standing is None:
                self._raise(key, condition)
            elif standing.evidence != condition.evidence or standing.path != condition.path:
                self._standing[key] = _alert(key, condition, standing.since)
                _say("alert.updated", self._standing[key])

    def _raise(self, key: tuple[AlertCode, str], condition: Condition) -> None:
        known = self._remembered.pop((key[0].value, key[1]), None)
        self._standing[key] = _alert(key, condition, known or utc_now())
        if known is None:
            self._remember(*key, self._standing[key].since)
        _say("alert.raised", self._standing[key])

    def _clear(self, key: tuple[AlertCode, str], standing: Alert | None) -> None:
        known = self._remembered.pop((key[0].value, key[1]), None)
        if standing is not None:
            del self._standing[key]
        elif known is not None:
            standing = _alert(key, _OVER_BEFORE_THE_START, known)
        else:
            return
        self._remember(*key, None)
        _say("alert.cleared", standing, Severity.INFO)

    def forget(self, model_id: str) -> None:
        """Clear what stands of a model that is no longer registered."""
        self.observe(model_id, tuple(AlertCode), {})

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


def _say(event: str, alert: Alert, level: Severity | None = None) -> None:
    fields = alert.model_dump(mode="json")
    log.log(_LEVELS[level or alert.severity], event, **fields, doc=f"{_DOC}{alert.code}")


_LEVELS = {Severity.CRITICAL: 50, Severity.ERROR: 40, Severity.WARNING: 30, Severity.INFO: 20}
