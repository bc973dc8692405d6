"""`map` and `links`: what they ask for, show, and exit with. The agent is a stand-in on a real socket."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.cli import main
from pumas_agent.cli.map import RESOLUTIONS
from pumas_agent.contracts.mapping import LinkHealth, MappingPreview, MappingResult, Resolution
from pumas_agent.contracts.rpc import METHODS

StartAgent = Callable[[Mapping[str, Mapping[str, Any]]], list[dict[str, Any]]]

ID = "diffusion/sdxl/base"
ITEM = {
    "model_id": ID,
    "model_name": "Base",
    "source_path": "/library/diffusion/sdxl/base/b.safetensors",
    "target_path": "/app/models/checkpoints/b.safetensors",
    "reason": "New link",
}
CONFLICT = ITEM | {
    "reason": "Regular file exists",
    "existing_target": None,
    "overwrite": "the file is kept as b.safetensors.replaced-1",
    "rename": "/app/models/checkpoints/b_1.safetensors",
}
PLAN: dict[str, Any] = {
    "success": True,
    "to_create": [ITEM],
    "to_skip_exists": [],
    "conflicts": [],
    "broken_to_remove": [],
    "total_actions": 1,
    "skipped": [
        {"model_id": "diffusion/acme/ext", "model_name": "Ext", "source_path": None, "reason": "external_reference"}
    ],
    "configs": ["comfyui_any.json"],
    "warnings": [],
    "errors": [],
}
DONE: dict[str, Any] = {
    "success": True,
    "links_created": 1,
    "links_removed": 0,
    "total_links": 1,
    "links_skipped": 0,
    "links_renamed": 0,
    "overwrites": 0,
    "replaced": [],
    "skipped": PLAN["skipped"],
    "warnings": [],
    "errors": [],
}
HEALTH: dict[str, Any] = {
    "success": True,
    "status": "healthy",
    "total_links": 2,
    "healthy_links": 2,
    "broken_links": [],
    "orphaned_links": [],
    "warnings": [],
    "errors": [],
}
ASKED = {"app_id": "comfyui", "version_tag": "0.6.0", "models_path": "/app/models"}
WORDS = ["comfyui", "0.6.0", "/app/models"]


def test_the_answers_of_the_stand_in_are_those_of_the_contract() -> None:
    """Else these tests would say nothing."""
    MappingPreview.model_validate(PLAN | {"conflicts": [CONFLICT]})
    MappingResult.model_validate(DONE)
    LinkHealth.model_validate(HEALTH)


def test_the_resolutions_are_those_of_the_contract() -> None:
    """They are spelt out in the command line so that its start stays quick."""
    assert [*RESOLUTIONS] == [*Resolution]


@pytest.mark.parametrize(
    ("args", "schema", "method", "answer", "asked"),
    [
        (
            ["map", "exclude", "comfyui", ID],
            "map-exclude",
            "set_model_link_exclusion",
            {"success": True, "model_id": ID, "app_id": "comfyui", "excluded": True},
            {"app_id": "comfyui", "model_id": ID, "excluded": True},
        ),
        (
            ["map", "exclude", "comfyui", ID, "--undo"],
            "map-exclude",
            "set_model_link_exclusion",
            {"success": True, "model_id": ID, "app_id": "comfyui", "excluded": False},
            {"app_id": "comfyui", "model_id": ID, "excluded": False},
        ),
        (
            ["map", "excluded", "comfyui"],
            "map-excluded",
            "get_link_exclusions",
            {"success": True, "excluded_model_ids": [ID]},
            {"app_id": "comfyui"},
        ),
        (
            ["links", "list", ID],
            "links-list",
            "get_links_for_model",
            {
                "success": True,
                "links": [
                    {"source": "/s", "target": "/t", "link_type": "symlink", "app_id": "comfyui", "created_at": "now"}
                ],
            },
            {"model_id": ID},
        ),
        (["links", "health"], "links-health", "get_link_health", HEALTH, {}),
    ],
)
def test_a_command_is_one_call_and_its_json_the_whole_answer(
    start_agent: StartAgent,
    capsys: pytest.CaptureFixture[str],
    *,
    args: list[str],
    schema: str,
    method: str,
    answer: dict[str, Any],
    asked: dict[str, Any],
) -> None:
    """With its schema; and without `--json` it says something."""
    received = start_agent({method: answer})

    assert main([*args, "--json"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == ({"schema": f"pumas-agent/{schema}/1", **answer}, "")
    assert received == [{"method": method, **asked}]
    METHODS[method].params.model_validate(asked)

    assert main(args) == 0
    out, err = capsys.readouterr()
    assert (bool(out), err) == (True, "")


def test_a_preview_shows_each_line_and_asks_for_nothing_to_be_done(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    """R12: what is skipped is shown with the reason."""
    received = start_agent({"preview_model_mapping": PLAN})

    exit_code = main(["map", "preview", *WORDS])

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert exit_code == 0
    assert received == [{"method": "preview_model_mapping", **ASKED}]
    assert lines == [
        "/app/models by comfyui_any.json",
        f"link {ITEM['target_path']} -> {ITEM['source_path']}",
        "skipped external_reference: diffusion/acme/ext",
    ]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"conflicts": [CONFLICT]}, "Regular file exists (overwrite: the file is kept as b.safetensors.replaced-1;"),
        ({"conflicts": [CONFLICT | {"overwrite": None}]}, "(overwrite: not possible; rename: /app/"),
        ({"errors": ["/app/models/loras is a link"]}, "/app/models/loras is a link"),
    ],
)
def test_a_preview_exits_1_when_something_stands_in_the_way(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str], *, found: dict[str, Any], said: str
) -> None:
    """And says what each resolution would do."""
    start_agent({"preview_model_mapping": PLAN | found})

    assert main(["map", "preview", *WORDS]) == 1
    assert said in capsys.readouterr().out


def test_several_folders_are_mapped_one_after_the_other(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each as the person means it; one that is named twice is asked for once."""
    received = start_agent({"preview_model_mapping": PLAN})
    monkeypatch.chdir(tmp_path)

    main(["map", "preview", "comfyui", "1", "a", "/b", "./a", "--json"])

    answer = json.loads(capsys.readouterr().out)
    assert [plan["models_path"] for plan in answer["mappings"]] == [str(tmp_path / "a"), "/b"]
    assert [request["models_path"] for request in received] == [str(tmp_path / "a"), "/b"]


def test_apply_shows_the_plan_and_without_a_terminal_wants_yes(
    start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script that did not say `--yes` changes nothing: usage error."""
    received = start_agent({"preview_model_mapping": PLAN, "apply_model_mapping": DONE})
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr("sys.stdin", nobody)

        refused = main(["map", "apply", *WORDS])
        asked_for = [request["method"] for request in received]
        done = main(["map", "apply", *WORDS, "--yes", "--on-conflict", "rename"])

    out, err = capsys.readouterr()
    assert (refused, done, asked_for) == (64, 0, ["preview_model_mapping"])
    assert "--yes" in err
    assert received[-1] == {"method": "apply_model_mapping", **ASKED, "on_conflict": "rename"}
    assert out.endswith("/app/models: 1 links made, 0 broken removed, 0 conflicts left, 1 links in all\n")


@pytest.mark.parametrize(("reply", "exit_code"), [(b"y\n", 0), (b"n\n", 130)])
def test_apply_does_what_the_person_at_the_terminal_says(start_agent: StartAgent, reply: bytes, exit_code: int) -> None:
    """No is no."""
    received = start_agent({"preview_model_mapping": PLAN, "apply_model_mapping": DONE})
    terminal, end = pty.openpty()

    process = subprocess.Popen([sys.executable, "-m", "pumas_agent", "map", "apply", *WORDS], stdin=end, stderr=end)
    os.close(end)
    os.write(terminal, reply)
    process.wait(20)

    shown = os.read(terminal, 4096).decode()
    os.close(terminal)
    assert process.returncode == exit_code
    assert "Make these links (conflicts: skip)?" in shown
    assert ("apply_model_mapping" in {request["method"] for request in received}) == (reply == b"y\n")


def test_apply_does_not_ask_when_there_is_nothing_to_do(
    start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conflicts that are skipped are nothing to do; resolving them is."""
    idle = PLAN | {"to_create": [], "total_actions": 0, "conflicts": [CONFLICT]}
    start_agent({"preview_model_mapping": idle, "apply_model_mapping": DONE | {"links_skipped": 1}})
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr("sys.stdin", nobody)

        assert main(["map", "apply", *WORDS]) == 1
        assert main(["map", "apply", *WORDS, "--on-conflict", "overwrite"]) == 64


@pytest.mark.parametrize(
    ("result", "exit_code"),
    [({"links_skipped": 1}, 1), ({"success": False, "errors": ["/app/x: No space left on device"]}, 2)],
)
def test_apply_exits_by_what_was_left_undone(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str], *, result: dict[str, Any], exit_code: int
) -> None:
    """Errors go to stderr; the JSON has all of it."""
    start_agent({"preview_model_mapping": PLAN, "apply_model_mapping": DONE | result})

    assert main(["map", "apply", *WORDS, "--yes"]) == exit_code
    assert ("No space left" in capsys.readouterr().err) == (exit_code == 2)
    assert main(["map", "apply", *WORDS, "--yes", "--json"]) == exit_code
    assert json.loads(capsys.readouterr().out)["mappings"] == [{"models_path": "/app/models", **DONE, **result}]


def test_links_health_exits_1_when_one_does_not_work(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    """And names it."""
    start_agent({"get_link_health": HEALTH | {"status": "degraded", "healthy_links": 1, "broken_links": ["/app/x"]}})

    assert main(["links", "health"]) == 1
    assert "broken  /app/x" in capsys.readouterr().out


def test_links_clean_asks_when_something_is_broken(
    start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal it wants `--yes`."""
    broken = HEALTH | {"status": "degraded", "healthy_links": 1, "broken_links": ["/app/x"]}
    received = start_agent({"get_link_health": broken, "clean_broken_links": {"success": True, "cleaned": 1}})
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr("sys.stdin", nobody)

        assert main(["links", "clean"]) == 64
        assert main(["links", "clean", "--yes"]) == 0

    assert capsys.readouterr().out == "cleaned 1\n"
    assert [request["method"] for request in received] == ["get_link_health", "get_link_health", "clean_broken_links"]
