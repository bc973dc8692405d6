"""What each command asks the agent for, shows, and exits with. The agent is a stand-in on a real socket."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from pumas_agent.cli import main
from pumas_agent.cli.program import program
from pumas_agent.contracts.rpc import METHODS

StartAgent = Callable[[Mapping[str, Mapping[str, Any]]], list[dict[str, Any]]]

ID = "diffusion/acme/whole"
ROW: dict[str, Any] = {
    "id": ID,
    "path": "/library/diffusion/acme/whole",
    "cleanedName": "whole",
    "officialName": "Whole",
    "modelType": "diffusion",
    "tags": ["a"],
    "hashes": {},
    "updatedAt": "2026-03-08T12:34:56.123456+00:00",
    "storage_kind": "external_reference",
    "bundle_format": "diffusers_directory",
    "validation_state": "degraded",
    "entry_path": "/bundles/whole",
}
FINDING = {"code": "missing_component", "message": "component unet is missing", "path": "unet"}
DETAILS: dict[str, Any] = ROW | {
    "metadata": {},
    "validation_errors": [FINDING],
    "validation_notices": [],
    "metadata_findings": [{"field": "tags", "message": "tags: no list"}],
    "primary_file": None,
    "validated_at": None,
}
RECONCILED = {
    "scope": "*",
    "models_seen": 2,
    "models_changed": [],
    "bundles_judged": 2,
    "unhealthy": [],
    "unreadable": [],
    "duration_ms": 12.3,
}
STATUS = {
    "healthy": True,
    "alerts": [],
    "pid": 7,
    "version": "0.1.0",
    "started_at": "2026-03-08T12:00:00+00:00",
    "socket": "/run/agent.sock",
    "library_root": "/library",
    "generation": 3,
    "models": 2,
    "bundles": {"valid": 1, "degraded": 1, "invalid": 0},
    "last_reconcile": RECONCILED,
    "last_reconcile_at": "2026-03-08T12:30:00+00:00",
    "queue": 0,
    "watched_roots": 2,
    "polled_roots": 0,
    "poll_cost": 0.0,
    "watches": 30,
    "watch_overflows": 0,
    "watch_backend": "inotify",
    "watch_faults": [],
    "connections": 1,
    "rss_bytes": 50 * 2**20,
    "faults": [],
}
ALERT = {
    "code": "bundle_incomplete",
    "severity": "error",
    "model_id": ID,
    "path": "/bundles/whole",
    "since": "2026-03-08T12:10:00+00:00",
    "evidence": {},
    "hint": "put unet back",
}
REGISTERED = {
    "path": "/bundles/whole",
    "success": True,
    "model_id": ID,
    "status": "registered",
    "error": None,
    "security_tier": "safe",
    "findings": [],
    "model_path": None,
}
UNREGISTERED = {"success": True, "model_id": ID, "source_path": "/bundles/whole", "kept_files": []}


@pytest.mark.parametrize(
    ("args", "method", "answer", "asked"),
    [
        (
            ["list", "--state", "degraded", "--storage", "external_reference", "--tag", "a", "--tag", "b"],
            "list_models",
            {"models": [ROW], "totalCount": 1},
            {"validation_state": "degraded", "storage_kind": "external_reference", "tags": ["a", "b"]},
        ),
        (
            ["list", "--type", "diffusion", "--format", "diffusers_directory", "--limit", "5", "--offset", "5"],
            "list_models",
            {"models": [], "totalCount": 1},
            {"model_type": "diffusion", "bundle_format": "diffusers_directory", "limit": 5, "offset": 5, "tags": []},
        ),
        (
            ["search", "wh", "--limit", "1"],
            "search_models",
            {"models": [ROW], "totalCount": 1, "query": "wh", "queryTimeMs": 1.0},
            {"query": "wh", "limit": 1, "tags": []},
        ),
        (["show", ID], "get_model", DETAILS, {"model_id": ID}),
        (["reconcile"], "reconcile", RECONCILED, {}),
        (["reconcile", ID], "reconcile", RECONCILED | {"scope": ID}, {"model_id": ID}),
        (
            ["reindex"],
            "rebuild_model_index",
            {"success": True, "indexed_count": 2, "changed": 0, "removed": 0, "unreadable": [], "duration_ms": 1.0},
            {},
        ),
        (["status"], "agent.status", STATUS, {}),
        (
            ["register", "/bundles/whole", "--family", "acme", "--name", "Whole", "--repo-id", "acme/whole"],
            "import_external_diffusers_directory",
            REGISTERED,
            {
                "source_path": "/bundles/whole",
                "family": "acme",
                "official_name": "Whole",
                "repo_id": "acme/whole",
                "tags": [],
                "allow_unhealthy": False,
            },
        ),
    ],
)
def test_a_command_is_one_call_and_its_json_the_whole_answer(
    start_agent: StartAgent,
    capsys: pytest.CaptureFixture[str],
    *,
    args: list[str],
    method: str,
    answer: dict[str, Any],
    asked: dict[str, Any],
) -> None:
    """Options become parameters, those not given are left out; the object is the answer with its schema."""
    received = start_agent({method: answer})

    exit_code = main([*args, "--json"])

    out, err = capsys.readouterr()
    assert (exit_code, err) == (0, "")
    assert received == [{"method": method, **asked}]
    METHODS[method].params.model_validate(asked)
    assert json.loads(out) == {"schema": f"pumas-agent/{args[0]}/1", **answer}

    assert main(args) == 0
    assert capsys.readouterr().err == ""


def test_show_says_what_is_wrong(start_agent: StartAgent, capsys: pytest.CaptureFixture[str]) -> None:
    """State, place, each finding, and the fields of metadata.json that cannot be read."""
    start_agent({"get_model": DETAILS})

    main(["show", ID])

    words = " ".join(capsys.readouterr().out.split())
    assert "state degraded" in words
    assert "entry path /bundles/whole" in words
    assert "findings missing_component unet: component unet is missing" in words
    assert "unreadable_field tags: tags: no list" in words
    assert "notices" not in words


def test_status_shows_health_first(start_agent: StartAgent, capsys: pytest.CaptureFixture[str]) -> None:
    """An alert comes before every figure, with its hint, and makes the command exit 1."""
    start_agent({"agent.status": STATUS | {"healthy": False, "alerts": [ALERT]}})

    exit_code = main(["status"])

    lines = capsys.readouterr().out.splitlines()
    assert exit_code == 1
    assert lines[0].split() == ["health", "unhealthy"]
    assert lines[2].split() == ["bundle_incomplete", "error", ID, ALERT["since"]]
    assert lines[3] == "hint: put unet back"
    assert "bundles 1 valid, 1 degraded" in " ".join(" ".join(lines).split())


def test_status_without_an_agent_exits_3(socket_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is opened instead of the agent: the question was about the agent."""
    exit_code = main(["status"])

    assert exit_code == 3
    assert str(socket_path) in capsys.readouterr().err


@pytest.mark.parametrize("found", [{"unhealthy": [ID]}, {"unreadable": [ID]}])
def test_reconcile_exits_1_when_something_is_unhealthy(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str], found: dict[str, Any]
) -> None:
    """Scripts learn from the exit code that there is something to read."""
    start_agent({"reconcile": RECONCILED | found})

    exit_code = main(["reconcile"])

    assert exit_code == 1
    assert ID in capsys.readouterr().out


def test_a_refused_registration_prints_each_finding(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2; why, on stderr; with JSON the result itself, which says `refused`."""
    refused = REGISTERED | {"success": False, "model_id": None, "status": "refused", "error": "not whole"}
    start_agent({"import_external_diffusers_directory": refused | {"findings": [FINDING]}})

    exit_code = main(["register", "/bundles/whole"])
    out, err = capsys.readouterr()
    json_code = main(["register", "/bundles/whole", "--json"])

    assert (exit_code, out) == (2, "")
    assert "error: /bundles/whole was refused: not whole" in err
    assert "missing_component unet: component unet is missing" in err
    assert "--allow-unhealthy" in err
    assert json_code == 2
    assert json.loads(capsys.readouterr().out)["status"] == "refused"


def test_a_registration_in_the_way_of_another_is_named(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is wrong with the bundle then, so nothing is said about registering an unhealthy one."""
    refused = REGISTERED | {"success": False, "status": "refused", "error": "is already registered", "findings": []}
    start_agent({"import_external_diffusers_directory": refused})

    exit_code = main(["register", "/bundles/whole"])

    assert exit_code == 2
    assert capsys.readouterr().err.endswith(f"is already registered\nhint: in the way: {ID}\n")


@pytest.mark.parametrize(
    ("typed", "sent", "name"),
    [("whole", "whole", "whole"), ("./link", "link", "link"), ("~/whole/", "whole", "whole"), (".", "", "home")],
)
def test_register_sends_the_path_the_person_means(
    start_agent: StartAgent,
    socket_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    typed: str,
    sent: str,
    name: str,
) -> None:
    """Relative paths and `~` are resolved here, links are kept; the name is the folder's and is said."""
    home = socket_path.parent / "home"
    (home / "whole").mkdir(parents=True)
    (home / "link").symlink_to("whole")
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    received = start_agent({"import_external_diffusers_directory": REGISTERED})

    main(["register", typed])

    assert (received[0]["source_path"], received[0]["official_name"]) == (str(home / sent), name)
    words = " ".join(capsys.readouterr().out.split())
    assert f"family imported name {name}" in words


def test_unregister_asks_and_without_a_terminal_wants_yes(
    start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script that did not say `--yes` changes nothing: usage error. With it, the answer says which files stay."""
    received = start_agent({"get_model": DETAILS, "unregister_external_model": UNREGISTERED})
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr("sys.stdin", nobody)

        refused = main(["unregister", ID])
        done = main(["unregister", ID, "--yes"])

    out, err = capsys.readouterr()
    assert (refused, done) == (64, 0)
    assert "--yes" in err
    assert out == f"unregistered {ID}; files under /bundles/whole stay\n"
    assert [request["method"] for request in received] == ["get_model", "get_model", "unregister_external_model"]


@pytest.mark.parametrize(("reply", "exit_code"), [(b"y\n", 0), (b"n\n", 130)])
def test_unregister_does_what_the_person_at_the_terminal_says(
    start_agent: StartAgent, reply: bytes, exit_code: int
) -> None:
    """It says what will happen before it asks; no is no."""
    received = start_agent({"get_model": DETAILS, "unregister_external_model": UNREGISTERED})
    terminal, end = pty.openpty()

    process = subprocess.Popen([sys.executable, "-m", "pumas_agent", "unregister", ID], stdin=end, stderr=end)
    os.close(end)
    os.write(terminal, reply)
    process.wait(20)

    shown = os.read(terminal, 4096).decode()
    os.close(terminal)
    assert process.returncode == exit_code
    assert f"{ID} leaves the library; files under /bundles/whole stay." in shown
    assert ("unregister_external_model" in {request["method"] for request in received}) == (reply == b"y\n")


def test_unregister_refuses_what_the_library_owns(start_agent: StartAgent, capsys: pytest.CaptureFixture[str]) -> None:
    """Such a model is never even asked about."""
    received = start_agent({"get_model": DETAILS | {"storage_kind": "library_owned"}})

    exit_code = main(["unregister", ID, "--yes"])

    assert exit_code == 2
    assert "belong to the library" in capsys.readouterr().err
    assert len(received) == 1


def test_an_unknown_id_is_answered_with_the_nearest(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hint of the error is what the person needs next."""
    data = {"code": "model_not_found", "hint": f"did you mean {ID}?"}
    start_agent({"get_model": {"rpc_error": {"code": -32002, "message": "no model whol", "data": data}}})

    exit_code = main(["show", "whol"])

    assert exit_code == 2
    assert capsys.readouterr().err == f"error: no model whol\nhint: did you mean {ID}?\n"


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_a_table_that_fits(start_agent: StartAgent, environ: dict[str, str], *, coloured: bool) -> None:
    """On a real terminal of 80 columns; colours unless NO_COLOR is set."""
    start_agent({"list_models": {"models": [ROW], "totalCount": 9}})
    terminal, end = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "80", **environ}
    if coloured:
        environ.pop("NO_COLOR", None)

    subprocess.run([sys.executable, "-m", "pumas_agent", "list"], stdout=end, env=environ, check=True)

    os.close(end)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert ("\x1b[33mdegraded" in shown) == coloured
    assert "1 of 9 models; --offset 1 shows more" in shown
    assert "UPDATED" not in shown


def test_a_list_of_commands_fits_on_a_screen() -> None:
    """Of 80 columns: what a command is for is not cut off. A command with a long help says it in a `short_help`."""

    def cut(group: click.Group) -> list[str]:
        room = 80 - 2 - 6 - max(map(len, group.commands))
        parts = [name for part in group.commands.values() if isinstance(part, click.Group) for name in cut(part)]
        short = {name: part.get_short_help_str(room) for name, part in group.commands.items()}
        return [name for name, text in short.items() if text.endswith("...")] + parts

    assert cut(program) == []
