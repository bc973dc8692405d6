"""AlertJournal: the last transitions of alerts, each with a place in a rising sequence.

Owns the sequence and the cursors made of it. Kept in memory: a cursor is good for the life of one agent, and tells
when it is of another one. Bounded: whoever comes later than the oldest that is kept is told so.
"""

import re
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pumas_agent.contracts.events import Transition
from pumas_agent.contracts.health import Alert

_KEPT = 1024
_PREFIX = "alerts:"


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """One transition."""

    sequence: int
    transition: Transition
    alert: Alert


class AlertJournal:
    """The transitions since the agent started. Belongs to the event loop."""

    def __init__(self, kept: int = _KEPT) -> None:
        """`kept` is how many transitions are kept for those who come late."""
        self._agent = secrets.token_hex(4)
        self._events: deque[AlertEvent] = deque(maxlen=kept)
        self._listeners: list[Callable[[AlertEvent], None]] = []
        self.sequence = 0
        """Of the newest transition; 0 before the first."""

    def append(self, transition: Transition, alert: Alert) -> None:
        """Write one down and tell the listeners."""
        self.sequence += 1
        event = AlertEvent(self.sequence, transition, alert)
        self._events.append(event)
        for told in tuple(self._listeners):
            told(event)

    def listen(self, told: Callable[[AlertEvent], None]) -> None:
        """Call with every transition from now on. May not block, raise or wait."""
        self._listeners.append(told)

    def cursor(self, sequence: int) -> str:
        """The position of a client that knows of everything up to a transition."""
        return f"{_PREFIX}{self._agent}:{sequence}"

    def position(self, cursor: str) -> int | None:
        """The sequence in a cursor; None when it is none of this agent, ahead of it, or too old to go on from."""
        match = re.fullmatch(rf"{_PREFIX}{self._agent}:(\d{{1,18}})", cursor)
        since = int(match[1]) if match else -1
        return since if 0 <= since <= self.sequence and self.after(since) is not None else None

    def after(self, sequence: int) -> list[AlertEvent] | None:
        """What followed a transition; None when some of it is not kept any more."""
        missing = self.sequence - sequence
        if missing > len(self._events):
            return None
        return list(self._events)[len(self._events) - missing :]
