"""The words of `top`: rates, ages, order and filter, without an agent and without a screen."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pumas_agent.cli.top.view import (
    Rates,
    View,
    age,
    figures_of,
    headline,
    matching,
    rows,
    summary,
    total,
    wrongs,
)
from pumas_agent.health.metrics import Metric, exposition

NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)


def model(model_id: str, state: str | None = "valid") -> dict[str, Any]:
    return {
        "id": model_id,
        "validation_state": state,
        "modelType": "diffusion",
        "storage_kind": "external_reference",
        "officialName": f"name of {model_id}",
    }


def alert(severity: str, model_id: str | None) -> dict[str, Any]:
    return {"code": "c", "severity": severity, "model_id": model_id, "path": None, "since": "", "hint": "do \x1b[1m"}


def figures(seconds: float, lookups: float, cpu: float = 0.0) -> dict[str, float]:
    return {
        "pumas_agent_uptime_seconds": seconds,
        'pumas_agent_lookups_total{result="answered"}': lookups,
        'pumas_agent_lookups_total{result="refused"}': lookups,
        "pumas_agent_cpu_seconds_total": cpu,
    }


def test_the_figures_are_those_that_the_agent_writes() -> None:
    """By name and labels; a sum goes over the labels, and not over a family whose name begins the same."""
    text = exposition(
        [
            Metric("a_total", "A.", "counter", [({"x": "1"}, 2), ({"x": 'quoted "y z"'}, 3)]),
            Metric("a_total_b", "B.", samples=[({}, 0.5)]),
        ]
    )

    found = figures_of(text)

    assert found["a_total_b"] == 0.5
    assert (total(found, "a_total"), total(found, "missing")) == (5, 0)


def test_rates_are_over_a_second_and_begin_anew_with_another_agent() -> None:
    """Looks that come sooner, after an event, do not make them jump."""
    rates = Rates()

    assert rates.of(figures(10, 0), now=0) == {}
    assert rates.of(figures(10.3, 50), now=0.3) == {}
    assert rates.of(figures(12, 20, 0.5), now=2) == {"lookups": 20, "cpu": 0.25, "wakeups": 0}
    assert rates.of(figures(12.1, 40), now=2.1)["lookups"] == 20
    assert rates.of(figures(1, 3), now=4) == {}
    assert rates.of(figures(2, 4), now=5)["lookups"] == 2


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_an_age_is_said_in_one_unit(seconds: int, said: str) -> None:
    assert age((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == said


@pytest.mark.parametrize("moment", [None, "", "yesterday"])
def test_what_nobody_knows_has_no_age(moment: str | None) -> None:
    assert age(moment, NOW) == "-"


def test_models_with_the_worst_alert_come_first_then_those_in_the_worst_state() -> None:
    """Then by id; a model that is no bundle is no worse than a valid one is good."""
    view = View(
        status={"alerts": [alert("warning", "w"), alert("error", "e"), alert("error", None)]},
        models=[
            model("b"),
            model("a"),
            model("w"),
            model("file", None),
            model("e"),
            model("d", "degraded"),
            model("i", "invalid"),
        ],
    )

    assert [row.id for row in rows(view)] == ["e", "w", "i", "d", "file", "a", "b"]
    assert [row.alerts for row in rows(view)][:3] == ["c", "c", "-"]


def test_a_filter_wants_all_of_its_words_in_any_case() -> None:
    found = rows(View(models=[model("one"), model("two", "invalid")]))

    assert [row.id for row in matching(found, "INVALID Two")] == ["two"]
    assert matching(found, "invalid one") == []
    assert len(matching(found, "  ")) == 2


def test_text_of_others_is_escaped_and_nothing_is_known_of_no_agent() -> None:
    view = View(status={"alerts": [alert("error", None)], "faults": ["f\n"], "watch_faults": ["w\u202e"]})

    found = wrongs(view)

    assert [(one.about, one.hint) for one in found] == [
        ("the library", r"do \x1b[1m"),
        (r"f\n", ""),
        (r"w\u202e", ""),
    ]
    assert (wrongs(View()), list(summary(View()))) == ([], [])
    assert [words for words, _ in headline(View())] == ["asking the agent"]
    assert next(iter(headline(View(gone="no\x1b agent"))))[0].endswith(r"trying again: no\x1b agent")
