"""The log: JSON lines for machines, readable lines on a terminal. Owns its form and nothing of what is said."""

import contextlib
import io
import json
import logging
import os
import select
import sys
from typing import Any, Literal, TextIO, cast

import structlog

from pumas_agent.contracts.timestamps import utc_now
from pumas_agent.health.priorities import add_priority, is_journal, with_priority


def configure_logs(level: str, form: Literal["auto", "json", "console"], stream: TextIO | None = None) -> None:
    """Send the log to a stream (standard output when null), in the given form; `auto` is `console` on a terminal.

    Text from disk may hold bytes that are no UTF-8 or control characters: both forms escape them. In the journal of
    systemd each line has its priority.
    """
    stream = sys.stdout if stream is None else stream
    journal = is_journal(stream, os.environ)
    console = form == "console" or (form == "auto" and stream.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if console
        else structlog.processors.JSONRenderer(_ascii_json)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *([_printable] if console else []),
            renderer,
            *([add_priority] if journal else []),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(
            file=cast("TextIO", _Output(stream, as_json=not console, journal=journal))
        ),
        cache_logger_on_first_use=False,
    )
    # What our libraries say through the standard library: only what matters, in the same form.
    logging.basicConfig(level=logging.WARNING, handlers=[_Forward()], force=True)


class _Output(io.TextIOBase):
    """Where the lines go. A reader that went away or stands still, or a full disk, costs lines of the log alone."""

    def __init__(self, stream: TextIO, *, as_json: bool, journal: bool) -> None:
        self._stream = stream
        self._as_json = as_json
        self._journal = journal
        self._lost = 0
        self._room: select.poll | None = None
        with contextlib.suppress(OSError):  # a stream in memory has no descriptor, and always has room
            descriptor = stream.fileno()
            self._room = select.poll()
            self._room.register(descriptor, select.POLLOUT)

    def write(self, text: str) -> int:
        """Write a line at once, or lose it: whoever logs is often the event loop, and may not wait for a reader."""
        if self._room is not None and not self._room.poll(0):
            self._lost += 1
            return len(text)
        if self._lost:
            lost, self._lost = self._lost, 0
            text = self._note(lost) + text
        with contextlib.suppress(OSError):
            try:
                self._stream.write(text)
                self._stream.flush()
            except BrokenPipeError:
                # Nobody will read any more, and nothing may be left that the interpreter would flush when it ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        return len(text)

    def _note(self, lost: int) -> str:
        """The line that stands for those that were lost. The logger is not asked for it: it is in the middle of one."""
        fields = {"count": lost, "event": "log.lines_lost", "level": "warning", "timestamp": utc_now()}
        line = _ascii_json(fields) if self._as_json else f"log.lines_lost count={lost}"
        return f"{with_priority(line, 'warning') if self._journal else line}\n"


def _ascii_json(fields: Any, **options: Any) -> str:
    return json.dumps(fields, ensure_ascii=True, **options)


def _printable(_: Any, __: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {
        key: _escaped(value, keep="\n" if key == "exception" else "") if isinstance(value, str) else value
        for key, value in fields.items()
    }


def _escaped(text: str, keep: str) -> str:
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode() for char in text
    )


class _Forward(logging.Handler):
    """Hands a record of the standard library's logging to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, "library.said", source=record.name, text=record.getMessage(), exc_info=record.exc_info)
