"""`deps`: what it asks for, shows, and exits with. The agent is a stand-in on a real socket."""

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

StartAgent = Callable[[Mapping[str, Mapping[str, Any]]], list[dict[str, Any]]]

ID = "diffusion/acme/whole"
ERROR = {
    "code": "unpinned_dependency",
    "scope": "binding",
    "binding_id": "b",
    "field": "python_packages",
    "message": "torch\x1b[31m is missing",
}
BOUND = {
    "binding_id": "b",
    "profile_id": "sdxl",
    "profile_version": 1,
    "profile_hash": "0" * 64,
    "backend_key": None,
    "platform_selector": None,
    "environment_kind": "python-venv",
    "env_id": None,
    "validation_state": "invalid_profile",
    "validation_errors": [ERROR],
    "requirements": [{"kind": "python_package", "name": "diffusers", "exact_pin": "==0.32.0"}],
}
NEEDS: dict[str, Any] = {
    "model_id": ID,
    "platform_key": "linux",
    "backend_key": None,
    "dependency_contract_version": 1,
    "validation_state": "invalid_profile",
    "validation_errors": [],
    "bindings": [BOUND],
}
ISSUE = {
    "model_id": ID,
    "binding_id": "b",
    "profile_id": "sdxl",
    "profile_version": 1,
    "code": "unpinned_dependency",
    "message": "torch is missing",
    "suggestion": "torch==<pin-me>",
}
BINDING = {
    "binding_id": "b",
    "model_id": ID,
    "profile_id": "sdxl",
    "profile_version": 1,
    "binding_kind": "required_core",
    "backend_key": None,
    "platform_selector": None,
    "status": "active",
    "priority": 100,
    "attached_by": "pumas-agent",
    "attached_at": "2026",
}
CHANGE = {"binding": BINDING, "changed": True, "issues": [ISSUE]}
STORED = {
    "profile_id": "sdxl",
    "profile_version": 1,
    "profile_hash": "0" * 64,
    "environment_kind": "python-venv",
    "created": True,
}
PROFILE = {
    "profile_id": "sdxl",
    "profile_version": 1,
    "environment_kind": "python-venv",
    "spec": {"python_packages": []},
}


def test_show_asks_and_shows_packages_and_what_is_wrong(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exits 1 unless resolved; what others wrote is shown without its control characters."""
    received = start_agent({"resolve_model_dependency_requirements": NEEDS})

    exit_code = main(["deps", "show", ID, "--platform", "linux", "--backend", "pytorch"])

    shown = capsys.readouterr().out
    assert exit_code == 1
    assert received == [
        {
            "method": "resolve_model_dependency_requirements",
            "model_id": ID,
            "platform_context": "linux",
            "backend_key": "pytorch",
        }
    ]
    assert "unpinned_dependency: torch\\x1b[31m is missing" in shown
    assert "b: sdxl version 1, invalid_profile" in shown
    assert "diffusers" in shown
    assert "==0.32.0" in shown
    assert "\x1b" not in shown


def test_show_of_what_is_resolved_is_fine(start_agent: StartAgent, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0; with `--json` one object, as it came."""
    answer = NEEDS | {"validation_state": "resolved", "bindings": []}
    start_agent({"resolve_model_dependency_requirements": answer})

    exit_code = main(["deps", "show", ID, "--json"])

    assert exit_code == 0
    assert json.loads(capsys.readouterr().out) == {"schema": "pumas-agent/deps-show/1", **answer}


@pytest.mark.parametrize(("created", "said"), [(True, "stored: sdxl version 1"), (False, "was stored before")])
def test_profile_sends_what_the_file_says(
    start_agent: StartAgent, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, created: bool, said: str
) -> None:
    """Key by key; the hash is told."""
    received = start_agent({"upsert_dependency_profile": STORED | {"created": created}})
    (tmp_path / "p.json").write_text(json.dumps(PROFILE))

    exit_code = main(["deps", "profile", str(tmp_path / "p.json")])

    shown = capsys.readouterr().out
    assert exit_code == 0
    assert received == [{"method": "upsert_dependency_profile", **PROFILE}]
    assert said in shown
    assert f"hash {'0' * 64}" in shown


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot read"),
        ("{", "is not JSON"),
        ("[]", "holds no JSON object"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "profile_id"),
        (json.dumps(PROFILE | {"method": "x"}), "'method', which no profile has"),
        (json.dumps(PROFILE | {"profile_version": "one"}), "profile_version"),
        (" " * 1024 * 1025, "holds no JSON object of at most"),
    ],
    ids=range(8),
)
def test_a_file_that_is_no_profile_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, why: str
) -> None:
    """Exit code 64, before anything is asked."""
    path = tmp_path / "p.json"
    if text is not None:
        path.write_text(text)

    assert main(["deps", "profile", str(path)]) == 64
    assert why in capsys.readouterr().err


def test_bind_sends_what_was_said_and_warns_of_what_is_not_pinned(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is bound all the same: exit code 0."""
    received = start_agent({"bind_model_dependency": CHANGE})
    options = ["--kind", "k", "--backend", "b", "--platform", "linux,macos", "--priority", "3", "--binding-id", "x"]

    exit_code = main(["deps", "bind", ID, "sdxl", "1", *options])

    shown = capsys.readouterr().out
    assert exit_code == 0
    assert received == [
        {
            "method": "bind_model_dependency",
            "model_id": ID,
            "profile_id": "sdxl",
            "profile_version": 1,
            "binding_kind": "k",
            "backend_key": "b",
            "platform_selector": "linux,macos",
            "priority": 3,
            "binding_id": "x",
        }
    ]
    assert f"bound: {ID} needs sdxl version 1" in shown
    assert "add torch==<pin-me>" in shown


def test_unbind_goes_without_asking_only_when_told(start_agent: StartAgent, capsys: pytest.CaptureFixture[str]) -> None:
    """A script that forgets `--yes` is a usage error, and nothing is asked of the agent."""
    received = start_agent({"unbind_model_dependency": CHANGE | {"issues": []}})

    assert main(["deps", "unbind", ID, "b"]) == 64
    assert received == []
    assert main(["deps", "unbind", ID, "b", "--yes"]) == 0
    assert received == [{"method": "unbind_model_dependency", "model_id": ID, "binding_id": "b"}]
    assert f"unbound: {ID} no longer needs sdxl version 1 by b" in capsys.readouterr().out


@pytest.mark.parametrize(("reply", "exit_code"), [(b"y\n", 0), (b"n\n", 130)])
@pytest.mark.usefixtures("socket_path")
def test_unbind_asks_a_person(start_agent: StartAgent, reply: bytes, exit_code: int) -> None:
    """It says what will happen before it asks; no is no."""
    received = start_agent({"unbind_model_dependency": CHANGE})
    terminal, end = pty.openpty()

    process = subprocess.Popen([sys.executable, "-m", "pumas_agent", "deps", "unbind", ID, "b"], stdin=end, stderr=end)
    os.close(end)
    os.write(terminal, reply)
    process.wait(20)

    shown = os.read(terminal, 4096).decode()
    os.close(terminal)
    assert process.returncode == exit_code
    assert f"{ID} will no longer need the packages of b." in shown
    assert bool(received) == (reply == b"y\n")


@pytest.mark.parametrize(("issues", "exit_code"), [([], 0), ([ISSUE], 1)])
def test_audit_exits_with_1_when_it_found_something(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str], issues: list[dict[str, Any]], exit_code: int
) -> None:
    """And says what, with the line to add."""
    start_agent({"audit_dependency_pin_compliance": {"models": 2, "bindings": 3, "issues": issues}})

    assert main(["deps", "audit"]) == exit_code

    shown = capsys.readouterr().out
    assert f"3 bindings of 2 models; {'1 issue' if issues else '0 issues'}\n" in shown
    assert ("add torch==<pin-me>" in shown) == bool(issues)
