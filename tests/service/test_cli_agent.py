"""The commands against a real agent, and against a library without one: the same answers."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.demo.process import AgentProcess
from pumas_agent.demo.snapshot import snapshot

Run = Callable[..., tuple[int, dict[str, Any]]]
_DEADLINE_S = 60


def _command(folder: Path, *args: str) -> list[str]:
    flags = "--library", str(folder / "library"), "--socket", str(folder / "agent.sock")
    return [sys.executable, "-m", "pumas_agent", *flags, *args]


@pytest.fixture
def bundle(short_tmp: Path) -> Path:
    """A whole bundle."""
    root = short_tmp / "bundles" / "tiny"
    write_stable_diffusion_bundle(root)
    return root


@pytest.fixture
def run(short_tmp: Path) -> Run:
    """Run a command with `--json`; gives its exit code and its object."""

    def run(*args: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [*_command(short_tmp), *args, "--json"], capture_output=True, text=True, check=False, timeout=_DEADLINE_S
        )
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout)

    return run


@pytest.fixture(params=["agent", "alone"])
def owner(request: pytest.FixtureRequest, short_tmp: Path) -> Iterator[str]:
    """Who does the work: a running agent, or the command itself."""
    if request.param == "alone":
        (short_tmp / "library").mkdir()
        yield request.param
        return
    with AgentProcess(short_tmp) as agent:
        agent.wait_for("agent.ready", since=0, within_s=_DEADLINE_S)
        yield request.param


@pytest.mark.usefixtures("owner")
def test_a_bundle_lives_its_life_by_commands(run: Run, bundle: Path) -> None:
    """Register, find, resolve, lose a component, get it back, forget: each step has its answer and its exit code."""
    code, registered = run("register", str(bundle), "--family", "acme", "--tag", "small")
    assert (code, registered["status"]) == (0, "registered")
    model_id = registered["model_id"]

    code, listed = run("list", "--state", "valid", "--tag", "small")
    assert (code, [row["id"] for row in listed["models"]]) == (0, [model_id])
    code, found = run("search", "tiny")
    assert (code, [row["id"] for row in found["models"]]) == (0, [model_id])
    code, shown = run("show", model_id)
    assert (code, shown["validation_errors"], shown["entry_path"]) == (0, [], str(bundle))
    code, given = run("descriptor", model_id)
    assert (code, given["schema"], given["entry_path"]) == (0, "pumas-agent/descriptor/1", str(bundle))

    (bundle / "unet").rename(bundle.parent / "unet")
    before = snapshot(bundle)
    code, refused = run("descriptor", model_id)
    assert (code, refused["error"]["code"]) == (1, "asset_not_valid")
    assert [(item["code"], item["path"]) for item in refused["error"]["data"]["validation_errors"]] == [
        ("missing_component", "unet")
    ]
    code, reconciled = run("reconcile", model_id)
    assert (code, reconciled["unhealthy"]) == (1, [model_id])
    assert snapshot(bundle) == before

    (bundle.parent / "unet").rename(bundle / "unet")
    code, reconciled = run("reconcile")
    assert (code, reconciled["unhealthy"]) == (0, [])
    code, indexed = run("reindex")
    assert (code, indexed["indexed_count"]) == (0, 1)

    before = snapshot(bundle)
    code, forgotten = run("unregister", model_id, "--yes")
    assert (code, forgotten["source_path"]) == (0, str(bundle))
    assert run("list")[1]["totalCount"] == 0
    assert snapshot(bundle) == before


@pytest.mark.usefixtures("owner")
def test_a_broken_bundle_is_refused_and_leaves_nothing(run: Run, bundle: Path) -> None:
    """Exit code 2 with the findings; `--allow-unhealthy` registers it all the same."""
    (bundle / "vae").rename(bundle.parent / "vae")

    code, refused = run("register", str(bundle))

    assert (code, refused["status"]) == (2, "refused")
    assert "missing_component" in {finding["code"] for finding in refused["findings"]}
    assert run("list")[1]["totalCount"] == 0
    code, registered = run("register", str(bundle), "--allow-unhealthy")
    assert (code, registered["status"]) == (0, "registered")
    assert [row["validation_state"] for row in run("list")[1]["models"]] == ["invalid"]


def test_status_tells_whether_an_agent_runs_and_is_well(run: Run, short_tmp: Path, bundle: Path) -> None:
    """3 without an agent, 0 when all is well, 1 with an alert."""
    assert run("status")[0] == 3

    with AgentProcess(short_tmp) as agent:
        agent.wait_for("agent.ready", since=0, within_s=_DEADLINE_S)
        code, healthy = run("status")
        assert (code, healthy["pid"]) == (0, agent.pid)

        run("register", str(bundle))
        (bundle / "unet").rename(bundle.parent / "unet")
        agent.wait_for("alert.raised", since=0, within_s=_DEADLINE_S, code="bundle_incomplete")
        code, unhealthy = run("status")

    assert (code, [alert["code"] for alert in unhealthy["alerts"]]) == (1, ["bundle_incomplete"])


def test_a_second_agent_of_a_library_exits_75(short_tmp: Path) -> None:
    """It names the first one's pid."""
    with AgentProcess(short_tmp) as agent:
        agent.wait_for("agent.ready", since=0, within_s=_DEADLINE_S)
        flags = "--library", str(agent.library), "--socket", str(short_tmp / "other.sock")

        second = subprocess.run(
            [sys.executable, "-m", "pumas_agent", *flags, "run"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_DEADLINE_S,
        )

    assert second.returncode == 75
    assert str(agent.pid) in second.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_greets_on_a_terminal_and_ends_well(short_tmp: Path, number: signal.Signals) -> None:
    """Where the library and the socket are, in two lines for people; a stop that was asked for is no failure."""
    terminal, end = pty.openpty()
    agent = subprocess.Popen(_command(short_tmp, "run"), stdout=end, stderr=end)
    os.close(end)

    shown = ""
    while "Ctrl-C stops" not in shown:
        assert select.select([terminal], [], [], _DEADLINE_S)[0]
        shown += os.read(terminal, 65536).decode()
    agent.send_signal(number)
    exit_code = agent.wait(_DEADLINE_S)
    os.close(terminal)

    assert exit_code == 0
    assert f"library  {short_tmp / 'library'}\r\nsocket   {short_tmp / 'agent.sock'}" in shown
