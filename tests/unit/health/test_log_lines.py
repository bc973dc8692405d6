"""The form of the log: whatever a name on disk is made of, a line is a line."""

import io
import json
import logging
import os
import select
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from pumas_agent.health import configure_logs

HOSTILE = "/m/\udcff\x1b[31m\n\u2028\x00é"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Give the log back as it was."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def stream_of_bytes() -> io.TextIOWrapper:
    """A stream that, like a terminal or a pipe, takes only what UTF-8 can hold."""
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")


def written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()


def test_a_fact_is_one_json_object_on_one_line() -> None:
    """contracts: with its event, its level, its time and its fields; any text comes back as it was."""
    stream = stream_of_bytes()
    configure_logs("info", "json", stream)

    structlog.get_logger("x").warning("bundle.seen", path=HOSTILE, nested={"paths": [HOSTILE]})

    text = written(stream)
    line = json.loads(text)
    assert (text.count("\n"), text.isascii()) == (1, True)
    assert (line["event"], line["level"], line["path"], line["nested"]) == (
        "bundle.seen",
        "warning",
        HOSTILE,
        {"paths": [HOSTILE]},
    )
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_text_from_disk_breaks_a_line_or_a_terminal(form: Literal["json", "console"]) -> None:
    """Control characters and bytes that are no UTF-8 are escaped, in fields and in tracebacks."""
    stream = stream_of_bytes()
    configure_logs("info", form, stream)
    log = structlog.get_logger("x")

    log.info("bundle.seen", path=HOSTILE, nested=[HOSTILE])
    log.error("bundle.lost", exc_info=OSError(HOSTILE))

    text = written(stream)
    assert not {"\x1b", "\x00", "\u2028"} & set(text)
    assert "bundle.lost" in text


def test_what_is_below_the_level_is_not_said() -> None:
    """Settings: log.level."""
    stream = stream_of_bytes()
    configure_logs("warning", "json", stream)

    structlog.get_logger("x").info("said.not")

    assert written(stream) == ""


def test_a_pipe_gets_json_when_nobody_chose() -> None:
    """Settings: log.format auto is for machines unless a person looks on."""
    stream = stream_of_bytes()
    configure_logs("info", "auto", stream)

    structlog.get_logger("x").info("said")

    assert json.loads(written(stream))["event"] == "said"


def test_warnings_of_our_libraries_take_the_same_form() -> None:
    """What goes through the standard library's logging."""
    stream = stream_of_bytes()
    configure_logs("info", "json", stream)

    logging.getLogger("apscheduler.x").warning("missed by %s s", 3)
    logging.getLogger("apscheduler.x").info("not worth it")

    (line,) = map(json.loads, written(stream).splitlines())
    assert (line["event"], line["source"], line["text"], line["level"]) == (
        "library.said",
        "apscheduler.x",
        "missed by 3 s",
        "warning",
    )


def test_a_reader_that_stands_still_costs_lines_and_no_time() -> None:
    """Law 9: a pipe that is full does not hold up whoever logs; what was lost is said when there is room again."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as reader, os.fdopen(writing, "w") as stream:
        configure_logs("info", "json", stream)
        log = structlog.get_logger()
        for number in range(3_000):
            log.info("line", number=number, filling="x" * 100)
        while select.select([reader], [], [], 0)[0]:
            reader.read(65_536)

        log.info("afterwards")

        lines = [json.loads(line) for line in reader.read(65_536).splitlines()]
    assert [line["event"] for line in lines] == ["log.lines_lost", "afterwards"]
    assert lines[0]["count"] > 1_000
