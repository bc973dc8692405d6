"""What the agent does by itself after a look at all of the library: orphans become models, old trash goes, memory too.

Owns when, and that there is one round at a time. Does nothing while many bundles are gone together.
"""

import asyncio
import ctypes
from collections.abc import Callable
from contextlib import suppress

import structlog

from pumas_agent.contracts.errors import PumasError
from pumas_agent.serving.parts import Parts
from pumas_agent.upkeep import QUIET_S, WRITTEN_NOW, empty_trash

log = structlog.get_logger(__name__)


class Housekeeping:
    """Rounds of it, in the background. Belongs to the event loop."""

    def __init__(self, parts: Parts, *, adopts: bool, trash_days: float, on_fault: Callable[[str], None]) -> None:
        """`on_fault` is told what went wrong in a round; the next round is tried all the same."""
        self._on_fault = on_fault
        self._parts = parts
        self._adopts = adopts
        self._trash_days = trash_days
        self._round: asyncio.Task[None] | None = None
        self._asked = False
        self._later: asyncio.TimerHandle | None = None
        self._said: set[tuple[str, str]] = set()
        self._stopped = False

    def begin(self) -> None:
        """Start a round, or another one after the one that is going on."""
        if self._stopped:
            return
        self._asked = True
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._rounds(), name="housekeeping")

    def retune(self, *, adopts: bool, trash_days: float) -> None:
        """What the operator wants from the next round on."""
        self._adopts = adopts
        self._trash_days = trash_days

    async def stop(self) -> None:
        """Give up the round that is going on; what it has begun to write is finished."""
        self._stopped = True
        if self._later is not None:
            self._later.cancel()
        if self._round is not None:
            self._round.cancel()
            with suppress(asyncio.CancelledError):
                await self._round

    async def _rounds(self) -> None:
        while self._asked:
            self._asked = False
            try:
                await self._one_round()
            except (PumasError, OSError) as error:
                log.warning("housekeeping.failed", reason=str(error))
                self._on_fault(f"housekeeping: {error}")
            except Exception as fault:
                log.exception("housekeeping.failed")
                self._on_fault(f"housekeeping: {fault!r}")

    async def _one_round(self) -> None:
        if self._parts.absences.frozen or self._parts.refresher.records.library_fault is not None:
            return
        root = self._parts.library.layout.root
        removed = await asyncio.to_thread(empty_trash, root, self._trash_days)
        if removed:
            log.info("trash.emptied", models=removed)
        if self._adopts:
            await self._adopt()
        await asyncio.to_thread(_give_back)

    async def _adopt(self) -> None:
        report = await self._parts.adopter.adopt(_unseen)
        left = {(orphan.path, orphan.reason) for orphan in report.not_adopted}
        for path, reason in sorted(left - self._said):
            log.info("model.not_adopted", path=path, reason=reason)
        self._said = left
        if any(reason == WRITTEN_NOW for _, reason in left) and not self._stopped:
            self._later = asyncio.get_running_loop().call_later(QUIET_S, self.begin)


def _give_back() -> None:
    """Return to the system what a look at everything has used and freed: malloc_trim(3), where the C library has it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _unseen(_stage: str, _done: int, _total: int | None, _unit: str) -> None:
    """Nobody watches."""
