"""`events` and `metrics`: what is printed. The agent is a stand-in on a real socket."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.cli import main

StartAgent = Callable[[Mapping[str, Mapping[str, Any]]], list[dict[str, Any]]]

FEED = "model-library-updates:"
ALERT: dict[str, Any] = {
    "code": "bundle_missing",
    "severity": "error",
    "model_id": None,
    "path": "/bundles/\x1b[31mred",
    "since": "2026-03-08T12:10:00+00:00",
    "evidence": {},
    "hint": "put it back",
}
HEALTH = {"healthy": False, "alerts": [ALERT], "cursor": "alerts:ab:7"}
UPDATE = {
    "cursor": f"{FEED}41",
    "model_id": "diffusion/acme/whole",
    "change_kind": "metadata_modified",
    "fact_family": "validation",
    "refresh_scope": "summary_and_detail",
}
FEED_ANSWER = {"cursor": f"{FEED}41", "events": [UPDATE], "stale_cursor": False, "snapshot_required": False}
ANSWERS = {"agent.health": HEALTH, "list_model_library_updates_since": FEED_ANSWER}


def test_a_line_says_what_and_about_what_with_controls_escaped(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    received = start_agent(ANSWERS)

    exit_code = main(["events"])

    assert exit_code == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["standing", "error", "bundle_missing", "/bundles/\\x1b[31mred", "2026-03-08T12:10:00+00:00"],
        ["changed", "metadata_modified", "validation", "diffusion/acme/whole"],
    ]
    assert [request.get("cursor") for request in received][1:] == [None, f"{FEED}21"]


def test_each_object_has_a_schema_and_the_position_after_it(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    start_agent(ANSWERS)

    main(["events", "--json"])

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["schema"], line["topic"], line["cursor"]) for line in lines] == [
        ("pumas-agent/event/1", "alerts", "alerts:ab:7"),
        ("pumas-agent/event/1", "models", f"{FEED}41"),
    ]
    assert (lines[0]["transition"], lines[0]["alert"], lines[1]["update"]) == ("standing", ALERT, UPDATE)


@pytest.mark.parametrize("topic", ["alerts", "models"])
def test_one_topic_is_one_question(start_agent: StartAgent, capsys: pytest.CaptureFixture[str], topic: str) -> None:
    received = start_agent(ANSWERS)

    main(["events", "--topic", topic, "--json", "--since", f"{FEED}40"])

    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["topic"] == topic
    assert len(received) == 1


def test_a_position_that_is_lost_is_said(start_agent: StartAgent, capsys: pytest.CaptureFixture[str]) -> None:
    stale = {"cursor": f"{FEED}41", "stale_cursor": True, "snapshot_required": True}
    start_agent({"list_model_library_updates_since": stale})

    main(["events", "--topic", "models", "--since", f"{FEED}999"])

    assert capsys.readouterr().out == "models: events were lost; see `pumas-agent list`\n"


@pytest.mark.parametrize("command", [["events"], ["events", "--follow"], ["metrics"]])
def test_without_an_agent_they_exit_3(
    socket_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    exit_code = main(command)

    assert (exit_code, socket_path.exists()) == (3, False)
    assert "no agent" in capsys.readouterr().err


def test_metrics_are_printed_as_they_are(start_agent: StartAgent, capsys: pytest.CaptureFixture[str]) -> None:
    start_agent({"agent.metrics": {"content_type": "text/plain", "text": "# HELP a A.\na 1\n"}})

    main(["metrics"])

    assert capsys.readouterr().out == "# HELP a A.\na 1\n"
