"""What the service manager is told: the protocol of sd_notify over NOTIFY_SOCKET, and when its watchdog is fed.

Owns the words of that protocol. Never decides whether the agent is well: it asks the parts for a sign of life. Where no
service manager listens, everything here does nothing.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import asynccontextmanager, suppress

import structlog

log = structlog.get_logger(__name__)

_EXTENSION_S = 30.0
"""How much more time is asked for at once; asked again after a third of it."""
Probe = Callable[[], Awaitable[bool]]
"""Ask a part for a sign of life; False, or no answer, is none."""


class Notifier:
    """The way to the service manager. Its messages are small, and dropped rather than waited for."""

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._status = ""
        self._socket: socket.socket | None = None
        if address.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @property
    def is_heard(self) -> bool:
        """Somebody listens."""
        return self._socket is not None

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> "Notifier":
        """Take what the service manager set out of the environment, so that no process of ours speaks in our name."""
        address = environ.pop("NOTIFY_SOCKET", "")
        microseconds, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        fed = microseconds.isdecimal() and int(microseconds) > 0 and pid in {"", str(os.getpid())}
        return cls(address, int(microseconds) / 1_000_000 if fed else None)

    def ready(self) -> None:
        """A client that connects is answered; also the end of a reload."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """A line for a person, sent when it is another one than before."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def reloading(self) -> None:
        """The configuration is read again; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The agent ends because it was told to."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    @asynccontextmanager
    async def extending(self) -> AsyncIterator[None]:
        """Ask for more time again and again, until what is done within has ended."""

        async def ask() -> None:
            while True:
                self._send(f"EXTEND_TIMEOUT_USEC={int(_EXTENSION_S * 1_000_000)}")
                await asyncio.sleep(_EXTENSION_S / 3)

        asking = asyncio.create_task(ask(), name="extend-timeout")
        try:
            yield
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking

    def close(self) -> None:
        """Say nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(errors="backslashreplace"), self._address)
        except OSError as error:
            log.warning("service_manager.not_told", message=lines[0].partition("=")[0], reason=str(error))


class Watchdog:
    """Feeds the service manager's watchdog while every part gave a sign of life within the watchdog's own time.

    The event loop is proven by the feeding itself.

    Args:
        alive: feeds it.
        limit_s: the watchdog's time; it is fed twice in it.
        probes: the parts that are asked, by name.
        reporting: the parts that report by themselves, with `heard`.
        clock: monotonic time.
    """

    def __init__(
        self,
        alive: Callable[[], None],
        limit_s: float,
        probes: Mapping[str, Probe],
        *,
        reporting: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._alive = alive
        self._limit_s = limit_s
        self._probes = probes
        self._clock = clock
        self._heard = dict.fromkeys((*probes, *reporting), clock())
        self._looked = clock()
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._silent: list[str] = []

    async def run(self) -> None:
        """Feed it until cancelled."""
        try:
            while True:
                self.look()
                await asyncio.sleep(self._limit_s / 2)
        finally:
            for task in self._asking.values():
                task.cancel()

    def heard(self, part: str) -> None:
        """A part is alive."""
        self._heard[part] = self._clock()

    def look(self) -> None:
        """Feed it if all are alive; ask all again that have answered."""
        now = self._clock()
        if now - self._looked >= self._limit_s:  # the process stood still: nobody had a chance to say anything
            self._heard = dict.fromkeys(self._heard, now)
        self._looked = now
        silent = sorted(part for part, heard in self._heard.items() if now - heard >= self._limit_s)
        if silent != self._silent:
            self._silent = silent
            (log.error if silent else log.info)("watchdog.starved" if silent else "watchdog.fed_again", parts=silent)
        if not silent:
            self._alive()
        for part, probe in self._probes.items():
            if part not in self._asking or self._asking[part].done():
                self._asking[part] = asyncio.create_task(self._ask(part, probe), name=f"watchdog {part}")

    async def _ask(self, part: str, probe: Probe) -> None:
        try:
            if await probe():
                self.heard(part)
        except Exception as error:  # noqa: BLE001 - a part that cannot be asked gives no sign of life, whatever the reason
            log.warning("watchdog.probe_failed", part=part, reason=repr(error))
