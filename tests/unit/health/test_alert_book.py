"""Alerts: said once when they come, once when they change, once when they go."""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from pumas_agent.contracts.health import SEVERITIES, Alert, AlertCode, Severity, is_healthy
from pumas_agent.health import BUNDLE_CODES, LIBRARY, AlertBook, AlertJournal, Condition, configure_logs
from pumas_agent.health.damping import FLAP_RAISES, FLAP_WINDOW_S, STILL_S, FlapCounter

MISSING, INCOMPLETE = AlertCode.BUNDLE_MISSING, AlertCode.BUNDLE_INCOMPLETE
FIELDS = ["code", "severity", "model_id", "path", "since", "evidence", "hint", "doc"]
Remembered = dict[tuple[str, str], str]
MakeBook = Callable[[Remembered], AlertBook]


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The log's lines so far."""
    stream = io.StringIO()
    configure_logs("debug", "json", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()


@pytest.fixture
def make_book() -> MakeBook:
    """A book that remembers in the mapping it is given."""

    def make(kept: Remembered) -> AlertBook:
        def remember(code: AlertCode, model_id: str, since: str | None) -> None:
            if since is None:
                del kept[code.value, model_id]
            else:
                kept[code.value, model_id] = since

        return AlertBook(dict(kept), remember)

    return make


class Clock:
    """Time that passes when a test says so, and the timers that go off with it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[Timer] = []

    def later(self, seconds: float, action: Callable[[], None]) -> "Timer":
        self._timers.append(timer := Timer(self.now + seconds, action))
        return timer

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        for timer in [timer for timer in self._timers if timer.at <= self.now]:
            self._timers.remove(timer)
            if not timer.cancelled:
                timer.action()


class Timer:
    def __init__(self, at: float, action: Callable[[], None]) -> None:
        self.at = at
        self.action = action
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_damped(clock: Clock) -> Callable[..., AlertBook]:
    """A book by that clock."""

    def make(kept: Remembered | None = None, visible_after_s: float = 0.0) -> AlertBook:
        return AlertBook(
            kept or {},
            lambda _code, _model, _since: None,
            visible_after_s=visible_after_s,
            later=clock.later,
            clock=lambda: clock.now,
            flaps=FlapCounter(lambda: clock.now),
        )

    return make


def found(evidence: Mapping[str, Any], path: str = "/bundle") -> dict[AlertCode, Condition]:
    return {MISSING: Condition(path, evidence, "put it back")}


def test_each_transition_is_one_line_with_all_fields(
    make_book: MakeBook, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """contracts, R28: raised, updated on new evidence, cleared; nothing in between, and since stays."""
    book = make_book({})

    for evidence in ({"n": 1}, {"n": 1}, {"n": 2}, {"n": 2}):
        book.observe("m", BUNDLE_CODES, found(evidence))
    book.observe("m", BUNDLE_CODES, {})
    book.observe("m", BUNDLE_CODES, {})

    said = lines()
    assert [(line["event"], line["level"], line["evidence"]) for line in said] == [
        ("alert.raised", "error", {"n": 1}),
        ("alert.updated", "error", {"n": 2}),
        ("alert.cleared", "info", {"n": 2}),
    ]
    assert all(set(FIELDS) <= set(line) for line in said)
    assert len({line["since"] for line in said}) == 1
    assert (said[0]["code"], said[0]["severity"], said[0]["model_id"], said[0]["path"], said[0]["hint"]) == (
        "bundle_missing",
        "error",
        "m",
        "/bundle",
        "put it back",
    )
    assert said[0]["doc"].endswith("#bundle_missing")


def test_an_alert_of_the_library_has_no_model(make_book: MakeBook, lines: Callable[[], list[dict[str, Any]]]) -> None:
    """contracts: model_id is null when it is about the library itself; it comes first when it is the worst."""
    book = make_book({})
    book.observe("m", BUNDLE_CODES, found({}))

    book.observe(LIBRARY, [AlertCode.LIBRARY_OFFLINE], {AlertCode.LIBRARY_OFFLINE: Condition("/library", {}, "")})

    assert [(alert.code, alert.model_id) for alert in book.standing()] == [
        ("library_offline", None),
        ("bundle_missing", "m"),
    ]
    assert (lines()[-1]["level"], lines()[-1]["model_id"]) == ("critical", None)


def test_what_stands_is_raised_again_after_a_restart_with_its_first_since(
    make_book: MakeBook, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """contracts: and is not remembered anew, for nothing about it is new (law 8)."""
    kept: Remembered = {}
    make_book(kept).observe("m", BUNDLE_CODES, found({}))
    first = dict(kept)

    book = make_book(kept)
    assert book.standing() == ()
    book.observe("m", BUNDLE_CODES, found({}))

    assert [line["event"] for line in lines()] == ["alert.raised", "alert.raised"]
    assert {line["since"] for line in lines()} == set(kept.values())
    assert kept == first


def test_what_was_over_while_nobody_looked_is_cleared_once(
    make_book: MakeBook, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """A later time, it is new: its since is not that of long ago."""
    kept = {("bundle_missing", "m"): "2020-01-01T00:00:00+00:00"}
    book = make_book(kept)
    models = book.models(MISSING)

    book.observe("m", BUNDLE_CODES, {})
    book.observe("m", BUNDLE_CODES, {})
    over = dict(kept)
    book.observe("m", BUNDLE_CODES, found({}))

    assert (models, over) == ({"m"}, {})
    assert [(line["event"], line["since"][:4] == "2020") for line in lines()] == [
        ("alert.cleared", True),
        ("alert.raised", False),
    ]
    assert all(set(FIELDS) <= set(line) for line in lines())


def test_codes_that_were_not_looked_at_are_left_alone(make_book: MakeBook) -> None:
    """Who judges bundles says nothing about records."""
    book = make_book({})
    corrupt = {AlertCode.METADATA_CORRUPT: Condition("m/metadata.json", {}, "")}
    book.observe("m", [AlertCode.METADATA_CORRUPT], corrupt)

    book.observe("m", BUNDLE_CODES, {})
    stood = [alert.code for alert in book.standing()]
    book.forget("m")

    assert (stood, book.standing()) == ([AlertCode.METADATA_CORRUPT], ())


def test_one_kind_of_trouble_gives_way_to_another(make_book: MakeBook) -> None:
    """Incomplete, then gone: the first is cleared, the second raised."""
    book = make_book({})
    book.observe("m", BUNDLE_CODES, {INCOMPLETE: Condition("/bundle", {}, "")})

    book.observe("m", BUNDLE_CODES, found({}))

    assert [alert.code for alert in book.standing()] == [MISSING]
    assert (book.since("m", [INCOMPLETE]), book.since("m", BUNDLE_CODES)) == (None, book.standing()[0].since)


@pytest.mark.parametrize("code", AlertCode)
def test_what_only_tells_makes_nothing_unhealthy(code: AlertCode) -> None:
    """Of severity `info` is what nobody has to do anything about: `healthy` is about the others."""
    severity = SEVERITIES[code]
    alert = Alert(code=code, severity=severity, model_id="a", path=None, since="2026", evidence={}, hint="")

    assert is_healthy([alert]) == (severity is Severity.INFO)
    assert is_healthy([])


def told(lines: Callable[[], list[dict[str, Any]]]) -> list[str]:
    return [line["event"].removeprefix("alert.") for line in lines()]


def flap(book: AlertBook, times: int) -> None:
    """Come and go, so often; it is gone at the end."""
    for turn in range(times):
        book.observe("m", BUNDLE_CODES, found({"turn": turn}))
        book.observe("m", BUNDLE_CODES, {})


def test_what_comes_and_goes_is_said_a_few_times_and_then_counted(
    make_damped: Callable[..., AlertBook], clock: Clock, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """contracts: it stands until it has held still, and says how often it came back."""
    book = make_damped()

    flap(book, 10)
    during, (alert,) = told(lines), book.standing()
    clock.pass_by(STILL_S)

    assert during == ["raised", "cleared"] * (FLAP_RAISES - 1) + ["raised"]
    assert alert.evidence == {"turn": 9, "flaps": 9}
    assert told(lines)[len(during) :] == ["cleared"]
    assert (lines()[-1]["evidence"]["flaps"], book.standing()) == (9, ())


def test_what_flapped_and_stays_is_said_once_more(
    make_damped: Callable[..., AlertBook], clock: Clock, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """Then it is an alert like any other: its evidence is what is found, and it is cleared at once."""
    book = make_damped()
    flap(book, 6)
    book.observe("m", BUNDLE_CODES, found({"n": 7}))
    before = len(lines())
    clock.pass_by(STILL_S - 1)
    quiet = len(lines()) - before

    clock.pass_by(1)
    book.observe("m", BUNDLE_CODES, found({"n": 7}))
    (alert,) = book.standing()
    book.observe("m", BUNDLE_CODES, {})

    assert (quiet, told(lines)[before:]) == (0, ["updated", "cleared"])
    assert lines()[before]["evidence"] == {"n": 7, "flaps": 6}
    assert alert.evidence == {"n": 7}


def test_what_comes_and_goes_slowly_is_said_each_time(
    make_damped: Callable[..., AlertBook], clock: Clock, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    book = make_damped()

    for _ in range(2 * FLAP_RAISES):
        flap(book, 1)
        clock.pass_by(FLAP_WINDOW_S / (FLAP_RAISES - 1) + 1)

    assert told(lines) == ["raised", "cleared"] * (2 * FLAP_RAISES)


def test_a_model_that_is_forgotten_flaps_no_more(
    make_damped: Callable[..., AlertBook], clock: Clock, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """It is cleared at once, and no timer speaks of it later."""
    book = make_damped()
    flap(book, 5)

    book.forget("m")
    standing, said = book.standing(), len(lines())
    clock.pass_by(2 * STILL_S)

    assert (standing, told(lines)[-1], len(lines())) == ((), "cleared", said)


def test_what_is_over_before_it_is_visible_is_never_said(
    make_damped: Callable[..., AlertBook], clock: Clock, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """health.visible_after_ms: neither raised nor cleared."""
    book = make_damped(visible_after_s=5.0)

    for _ in range(3):
        book.observe("m", BUNDLE_CODES, found({}))
        clock.pass_by(4.9)
        book.observe("m", BUNDLE_CODES, {})
        clock.pass_by(5)

    assert (lines(), book.standing(), book.journal.sequence) == ([], (), 0)


def test_what_stands_long_enough_is_raised_as_it_is_then(
    make_damped: Callable[..., AlertBook], clock: Clock, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """Once, with the last that was found, and cleared at once when it is over."""
    book = make_damped(visible_after_s=5.0)

    book.observe("m", BUNDLE_CODES, found({"n": 1}))
    clock.pass_by(3)
    book.observe("m", BUNDLE_CODES, found({"n": 2}))
    clock.pass_by(2)
    clock.pass_by(50)
    book.observe("m", BUNDLE_CODES, {})

    assert told(lines) == ["raised", "cleared"]
    assert lines()[0]["evidence"] == {"n": 2}


def test_what_waits_is_raised_by_the_new_time(
    make_damped: Callable[..., AlertBook], clock: Clock, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """A retune counts from when the condition was found: at once when that is long enough by now, and once only."""
    book = make_damped(visible_after_s=5.0)
    book.observe("m", BUNDLE_CODES, found({}))
    clock.pass_by(3)

    book.retune(8.0)
    clock.pass_by(4.9)
    assert lines() == []
    clock.pass_by(0.1)
    assert told(lines) == ["raised"]
    book.observe("n", BUNDLE_CODES, found({}))
    clock.pass_by(2)
    book.retune(2.0)
    assert told(lines) == ["raised", "raised"]
    clock.pass_by(100)
    assert len(lines()) == 2
    book.retune(0.0)
    book.observe("o", BUNDLE_CODES, found({}))
    assert len(lines()) == 3


def test_a_closed_book_is_not_woken(
    make_damped: Callable[..., AlertBook], clock: Clock, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """Neither by what waits to be visible nor by what flaps: nobody remembers any more."""
    waiting, flapping = make_damped(visible_after_s=5.0), make_damped()
    waiting.observe("m", BUNDLE_CODES, found({}))
    flap(flapping, 5)
    said = len(lines())

    waiting.close()
    flapping.close()
    clock.pass_by(10 * STILL_S)

    assert len(lines()) == said


def test_what_stood_before_the_restart_is_raised_again_at_once(
    make_damped: Callable[..., AlertBook], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """It has stood long enough."""
    book = make_damped({("bundle_missing", "m"): "2026-01-01T00:00:00+00:00"}, visible_after_s=5.0)

    book.observe("m", BUNDLE_CODES, found({}))

    assert (told(lines), lines()[0]["since"][:10]) == (["raised"], "2026-01-01")


def test_a_cursor_of_the_journal_is_good_for_one_agent(make_damped: Callable[..., AlertBook]) -> None:
    """And only for what it still keeps."""
    book, other = make_damped(), make_damped()
    start = book.journal.cursor(0)
    flap(book, 1)
    flap(other, 1)

    assert book.journal.position(start) == 0
    assert [event.transition for event in book.journal.after(0) or ()] == ["raised", "cleared"]
    assert book.journal.after(2) == []
    assert [other.journal.position(start), book.journal.position(book.journal.cursor(3))] == [None, None]


def test_the_journal_keeps_so_many_and_says_what_it_does_not() -> None:
    journal = AlertJournal(kept=2)
    book = AlertBook({}, lambda _code, _model, _since: None)
    flap(book, 2)
    for event in book.journal.after(0) or ():
        journal.append(event.transition, event.alert)

    assert (journal.sequence, journal.after(1), journal.position(journal.cursor(1))) == (4, None, None)
    assert [event.sequence for event in journal.after(2) or ()] == [3, 4]


@pytest.mark.parametrize("code", list(AlertCode))
def test_every_line_leads_to_the_runbook_of_its_code(
    make_book: MakeBook, lines: Callable[[], list[dict[str, Any]]], code: AlertCode
) -> None:
    """A page of this project, and a part of it: `tests/test_docs.py` looks at what stands there."""
    make_book({}).observe("m", (code,), {code: Condition("/bundle", {}, "do it")})

    page, _, part = lines()[0]["doc"].partition("#")
    assert part == code
    assert f"\n## {part}\n" in (Path(__file__).parents[3] / page).read_text()
