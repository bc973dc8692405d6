"""Dependency requirements of a running agent, and by commands: with an agent and without one."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.demo.process import AgentProcess
from pumas_agent.demo.snapshot import differences, snapshot

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

Run = Callable[..., tuple[int, dict[str, Any]]]
_DEADLINE_S = 60
PROFILE: dict[str, Any] = {
    "profile_id": "tiny",
    "profile_version": 1,
    "environment_kind": "python-venv",
    "spec": {"python_packages": [{"name": "diffusers", "version": "==0.32.0"}]},
}


def pins(descriptor: dict[str, Any]) -> list[str]:
    bindings = descriptor["dependency_resolution"]["bindings"]
    return [package["name"] + package["exact_pin"] for binding in bindings for package in binding["requirements"]]


def test_a_binding_is_in_the_next_descriptor_of_a_running_agent(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", start: "StartAgent"
) -> None:
    """Another client binds; the descriptor that was prepared is not served again, nor after a restart. Law 1 holds."""
    bundle = make_bundle()
    model_id = agent.register(bundle)
    agent.settled()
    files = snapshot(bundle)
    runtime, operator = agent.client, agent.new_client()

    def served() -> dict[str, Any]:
        return runtime.call("resolve_model_execution_descriptor", model_id=model_id)

    before = served()
    operator.call("upsert_dependency_profile", **PROFILE)
    unbound = served()
    change = operator.call("bind_model_dependency", model_id=model_id, profile_id="tiny", profile_version=1)
    bound = served()
    operator.call("upsert_dependency_profile", **PROFILE | {"profile_version": 2, "environment_kind": "container"})
    operator.call("bind_model_dependency", model_id=model_id, profile_id="tiny", profile_version=2)
    newer = served()
    agent.stop()
    again = start(library=agent.library)
    restarted = again.client.call("resolve_model_execution_descriptor", model_id=model_id)
    binding_id = change["binding"]["binding_id"]
    again.client.call("unbind_model_dependency", model_id=model_id, binding_id=binding_id)
    taken_back = again.client.call("resolve_model_execution_descriptor", model_id=model_id)

    assert (pins(before), pins(unbound), pins(bound)) == ([], [], ["diffusers==0.32.0"])
    (of_newer,) = newer["dependency_resolution"]["bindings"]
    assert (of_newer["profile_version"], of_newer["environment_kind"]) == (2, "container")
    assert restarted["dependency_resolution"] == newer["dependency_resolution"]
    assert taken_back["dependency_resolution"] == before["dependency_resolution"]
    assert {given["validation_state"] for given in (before, bound, newer, restarted, taken_back)} == {"valid"}
    assert again.alerts() == set()
    assert differences(files, snapshot(bundle)) == []


def test_a_binding_is_no_change_of_the_bundle(agent: "AgentUnderTest", make_bundle: "MakeBundle") -> None:
    """The record is written by the agent itself: its events lead to no further commit, and the state stays."""
    model_id = agent.register(make_bundle())
    agent.settled()
    agent.client.call("upsert_dependency_profile", **PROFILE)
    agent.client.call("bind_model_dependency", model_id=model_id, profile_id="tiny", profile_version=1)
    record = agent.library / model_id / "metadata.json"
    written, generation = record.stat().st_mtime_ns, agent.client.call("agent.status")["generation"]

    agent.client.call("reconcile")
    agent.settled()

    assert record.stat().st_mtime_ns == written
    assert agent.client.call("agent.status")["generation"] == generation
    assert agent.state(model_id) == "valid"


# --- by commands -----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(short_tmp: Path) -> Run:
    """Run a command with `--json`; gives its exit code and its object."""
    flags = "--library", str(short_tmp / "library"), "--socket", str(short_tmp / "agent.sock")

    def run(*args: str) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "pumas_agent", *flags, *args, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_DEADLINE_S)
        assert done.stdout, done.stderr  # on a busy machine progress is shown there
        return done.returncode, json.loads(done.stdout)

    return run


@pytest.fixture(params=["agent", "alone"])
def owner(request: pytest.FixtureRequest, short_tmp: Path) -> Iterator[str]:
    """Who does the work: a running agent, or the command itself."""
    if request.param == "alone":
        yield request.param
        return
    with AgentProcess(short_tmp) as agent:
        agent.wait_for("agent.ready", since=0, within_s=_DEADLINE_S)
        yield request.param


@pytest.mark.usefixtures("owner")
def test_a_model_is_bound_and_unbound_by_commands(run: Run, short_tmp: Path) -> None:
    """Store, bind, show, audit, unbind: each step has its answer and its exit code, and reading writes nothing."""
    bundle = short_tmp / "bundles" / "tiny"
    write_stable_diffusion_bundle(bundle)
    file = short_tmp / "tiny.json"
    file.write_text(json.dumps(PROFILE))
    _, registered = run("register", str(bundle), "--family", "acme")
    model_id = registered["model_id"]

    stored = run("deps", "profile", str(file))
    again = run("deps", "profile", str(file))
    file.write_text(json.dumps(PROFILE | {"environment_kind": "container"}))
    refused = run("deps", "profile", str(file))
    bound = run("deps", "bind", model_id, "tiny", "1", "--backend", "diffusers", "--platform", "linux,macos")
    binding_id = bound[1]["binding"]["binding_id"]
    shown = run("deps", "show", model_id, "--platform", "linux-x86_64")
    elsewhere = run("deps", "show", model_id, "--platform", "windows")
    descriptor = run("descriptor", model_id)
    run("deps", "bind", model_id, "tiny", "1", "--backend", "pytorch")
    audited = run("deps", "audit")
    unbound = run("deps", "unbind", model_id, binding_id, "--yes")

    assert [(code, said["schema"]) for code, said in (stored, again, refused, bound, unbound)] == [
        (0, "pumas-agent/deps-profile/1"),
        (0, "pumas-agent/deps-profile/1"),
        (2, "pumas-agent/error/1"),
        (0, "pumas-agent/deps-bind/1"),
        (0, "pumas-agent/deps-unbind/1"),
    ]
    assert (stored[1]["created"], again[1]["created"]) == (True, False)
    assert refused[1]["error"]["code"] == "dependency_profile_version_immutable"
    assert (shown[0], shown[1]["validation_state"]) == (0, "resolved")
    assert (elsewhere[0], elsewhere[1]["validation_state"]) == (1, "unknown_profile")
    assert (descriptor[0], pins(descriptor[1])) == (0, ["diffusers==0.32.0"])
    assert audited[0] == 1
    assert [issue["suggestion"] for issue in audited[1]["issues"]] == ["torch==<pin-me>", "torchvision==<pin-me>"]
    assert unbound[1]["binding"]["status"] == "deprecated"
