"""Calls that a filesystem may keep for ever, made from the event loop. Owns the thread that is then left behind."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar, cast

from pumas_agent.patience import time_limit

T = TypeVar("T")


async def in_time(call: Callable[[], T], seconds: float | None, *, name: str) -> T:
    """What a call gives, made on a thread of its own.

    Not on asyncio's own threads: they are few, and the process waits for them when it ends.

    Args:
        call: may block.
        seconds: how long it may take; None for as long as it wants.
        name: of the thread.

    Raises:
        TimeoutError: it has not come back.
        Exception: whatever the call raises.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, fault: Exception | None) -> None:
        if answer.done():
            return
        if fault is not None:
            answer.set_exception(fault)
        else:
            answer.set_result(cast("T", result))

    def work() -> None:
        result: T | None = None
        fault: Exception | None = None
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 - handed over to whoever waits
            fault = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, fault)

    threading.Thread(target=work, name=name, daemon=True).start()
    async with time_limit(seconds):
        return await answer
