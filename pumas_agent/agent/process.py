"""The agent as a process: its signals, and what its service manager handed over.

Owns when the agent starts, reads its configuration again and ends. What each of them is, is the agent's.
"""

import asyncio
import os
import signal
from collections.abc import Callable

import structlog

from pumas_agent.agent.service import Agent
from pumas_agent.contracts.errors import LibraryBusy
from pumas_agent.health import Notifier, configure_logs
from pumas_agent.serving import inherited_socket
from pumas_agent.settings import Settings
from pumas_agent.web import LoopbackAddress

_STANDARD_STREAMS = (0, 1, 2)

log = structlog.get_logger(__name__)


async def run_agent(
    settings: Settings,
    *,
    reread: Callable[[], Settings] | None = None,
    on_ready: Callable[[], None] | None = None,
    web: LoopbackAddress | None = None,
) -> None:
    """Serve a library until SIGTERM or SIGINT; SIGHUP reads the configuration again.

    On a terminal SIGHUP says that the terminal went away, and ends the agent.

    Args:
        settings: what holds at the start.
        reread: gives the settings as they are now, or raises `SettingsInvalid`; without it SIGHUP ends the agent.
        on_ready: called when the socket answers.
        web: where the page in the browser is served; null: nowhere.

    Raises:
        LibraryBusy: another agent owns the library, or listens on the socket.
        LibraryUnavailable, SettingsInvalid: it cannot be opened or bound, or the page cannot be served.
    """
    configure_logs(settings.log.level, settings.log.format)
    stop, hang_up = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    ends = reread is None or any(os.isatty(stream) for stream in _STANDARD_STREAMS)
    loop.add_signal_handler(signal.SIGHUP, stop.set if ends else hang_up.set)
    notifier = Notifier.from_environment(os.environ)
    agent = Agent(settings, notifier, inherited_socket(os.environ), web)
    reloading: asyncio.Task[None] | None = None
    try:
        await agent.start(given_up=stop.is_set)
        if on_ready is not None:
            on_ready()
        if reread is not None:
            reloading = asyncio.create_task(_reload_on(hang_up, agent, reread), name="reload")
        await stop.wait()
    except LibraryBusy:
        if not stop.is_set():  # told to stop while it waited for a command: that is no failure
            raise
    finally:
        notifier.stopping()
        if reloading is not None:
            reloading.cancel()
        await agent.stop()
        notifier.close()


async def _reload_on(hang_up: asyncio.Event, agent: Agent, reread: Callable[[], Settings]) -> None:
    while True:
        await hang_up.wait()
        hang_up.clear()
        try:
            await agent.reload(reread)
        except Exception:
            log.exception("config.reload_failed")
