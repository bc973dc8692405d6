"""How long a condition has to stand before it is told, and when one that comes and goes is told no more.

Owns these rules and the counts behind them. Knows no alert and says nothing.
"""

import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Protocol

from pumas_agent.patience import Countdown

FLAP_RAISES = 4
"""Raised so often within `FLAP_WINDOW_S`, an alert flaps: it stands until it has held still."""
FLAP_WINDOW_S = 60.0
STILL_S = 30.0
"""Seconds without a change after which an alert that flapped is believed again."""


class Cancellable(Protocol):
    """What a timer gives back."""

    def cancel(self) -> None:
        """Do not call."""


Later = Callable[[float, Callable[[], None]], Cancellable]
"""`(seconds, action)`: calls the action once, later, on the event loop."""


def on_the_loop(seconds: float, action: Callable[[], None]) -> Cancellable:
    """`Later`, by the running event loop, in seconds that the process had."""
    return Countdown(seconds, action)


class FlapCounter:
    """Which alerts come and go."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._raised: dict[Hashable, deque[float]] = {}

    def raised(self, key: Hashable) -> bool:
        """Note that one was raised; whether it flaps."""
        times = self._raised.setdefault(key, deque(maxlen=FLAP_RAISES))
        times.append(self._clock())
        return len(times) == FLAP_RAISES and times[-1] - times[0] <= FLAP_WINDOW_S

    def cleared(self, key: Hashable) -> None:
        """Forget what is too old to count, so that what is gone for good leaves nothing behind."""
        oldest = self._clock() - FLAP_WINDOW_S
        for known in [known for known, times in self._raised.items() if times[-1] < oldest]:
            if known != key:
                del self._raised[known]

    def forget(self, key: Hashable) -> None:
        """It is about nothing any more."""
        self._raised.pop(key, None)
