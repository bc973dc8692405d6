"""Alerts: said once when they come, once when they change, once when they go."""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import structlog

from pumas_agent.contracts.health import SEVERITIES, Alert, AlertCode, Severity, is_healthy
from pumas_agent.health import BUNDLE_CODES, LIBRARY, AlertBook, Condition, configure_logs

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
