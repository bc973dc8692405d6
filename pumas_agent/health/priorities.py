"""Priorities of the journal: the `<N>` that systemd takes off the beginning of a line as its syslog priority.

Owns when lines carry it and which level is which (man sd-daemon, man systemd.exec). Never asks whether systemd reads:
it compares what was announced with what the stream is.
"""

import os
from collections.abc import Mapping
from typing import Any, TextIO

_PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7, "notset": 7}
"""By the names that structlog has for levels."""


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a stream is the one that `JOURNAL_STREAM` names: a child that redirected its output has another."""
    try:
        device, inode = (int(number) for number in environ.get("JOURNAL_STREAM", "").split(":"))
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # not announced, or a stream in memory
        return False
    return (found.st_dev, found.st_ino) == (device, inode)


def with_priority(text: str, level: str) -> str:
    """The text with the priority on each of its lines: the journal makes an entry of each."""
    prefix = f"<{_PRIORITIES[level]}>"
    return "\n".join(f"{prefix}{line}" for line in text.split("\n"))


def add_priority(_: object, level: str, rendered: Any) -> str:
    """The last processor of structlog, after the one that made text."""
    return with_priority(str(rendered), level)
