"""Proof that events come through. Owns one file in a folder of the agent's own."""

import contextlib
import os
import threading
from pathlib import Path

import structlog
from watchdog.events import FileSystemEvent, FileSystemEventHandler

from pumas_agent.patience import is_set_within
from pumas_agent.watching.backends import Backend
from pumas_agent.watching.folders import EVENT_FILTER, shared

log = structlog.get_logger(__name__)

_NAME = "watch-heartbeat"
PATIENCE_S = 2.0
"""More than the longest time that reading may pause; less than anybody waits for a sweep."""


class Heartbeat(FileSystemEventHandler):
    """Touches a file and waits to hear of it: from the kernel to a handler, the whole chain is alive then.

    Args:
        folder: where the file is; None for no heartbeat.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / _NAME
        self._heard = threading.Event()
        self._watched = False

    def watch(self, backend: Backend) -> None:
        """Watch the file's folder, where there is one and it can be watched."""
        self._watched = False
        if self._file is None or backend.hub is None:
            return
        try:
            self._file.touch(0o600)
            backend.hub.schedule(self, str(self._file.parent), event_filter=shared(EVENT_FILTER))
            self._watched = True
        except OSError as error:
            log.warning("watch.no_heartbeat", path=str(self._file), error=str(error))

    def stop(self) -> None:
        """Take the file away."""
        self._watched = False
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.unlink()

    def dispatch(self, event: FileSystemEvent) -> None:
        """An event came through."""
        if self._file is not None and os.fsdecode(event.src_path) == str(self._file):
            self._heard.set()

    def beats(self) -> bool:
        """Touch the file, and wait for the event."""
        if not self._watched or self._file is None:
            return True
        self._heard.clear()
        try:
            os.utime(self._file)
        except OSError:  # somebody removed it, or its folder: no proof, and no disproof
            self._watched = False
            return True
        return is_set_within(self._heard, PATIENCE_S)
