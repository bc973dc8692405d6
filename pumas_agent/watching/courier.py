"""Calls that a filesystem may keep for ever. Owns the thread they are made on; knows nothing of what they do."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

from pumas_agent.patience import is_set_within

T = TypeVar("T")


class Silent(Exception):
    """A call has not come back in time, or an earlier one for the same root has not come back yet."""


class _Errand(Generic[T]):
    """One call and what became of it."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self.back = threading.Event()
        self.result: T | None = None
        self.raised: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:  # noqa: BLE001 - handed over to whoever waits
            self.raised = error
        self.back.set()


class Courier:
    """Makes calls on one thread, and leaves the thread behind with a call that does not come back.

    Belongs to one thread at a time.

    Args:
        patience_s: how long a call may take before the others have their turn.
    """

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self._errands: SimpleQueue[_Errand[object] | None] | None = None
        self._out: dict[str, _Errand[object]] = {}

    def ask(self, root: str, call: Callable[[], T]) -> T:
        """The result of a call that concerns a root.

        Raises:
            Silent: it does not come back; the next calls for that root are not made until it does.
            Exception: whatever the call raises.
        """
        if root in self._out:
            if not self._out[root].back.is_set():
                raise Silent(root)
            del self._out[root]
        errand = _Errand(call)
        if self._errands is None:
            self._errands = SimpleQueue()
            threading.Thread(target=_carry, args=(self._errands,), name="watch-courier", daemon=True).start()
        self._errands.put(errand)  # type: ignore[arg-type]  # read only
        if not is_set_within(errand.back, self.patience_s):
            self._errands.put(None)
            self._errands = None
            self._out[root] = errand  # type: ignore[assignment]  # read only
            raise Silent(root)
        if errand.raised is not None:
            raise errand.raised
        return errand.result  # type: ignore[return-value]  # it came back without raising

    def stop(self) -> None:
        """End the thread; one that a filesystem keeps ends with the process."""
        if self._errands is not None:
            self._errands.put(None)
            self._errands = None


def _carry(errands: "SimpleQueue[_Errand[object] | None]") -> None:
    while (errand := errands.get()) is not None:
        errand.run()
