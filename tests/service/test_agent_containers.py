"""A runtime in a mount namespace, as a container has one: it opens what the descriptor names, and it is that file."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.client import AgentClient
from pumas_agent.contracts.errors import InvalidParams, PathNotMapped
from pumas_agent.demo.snapshot import differences, snapshot

if TYPE_CHECKING:
    from tests.service.conftest import MakeBundle, StartAgent

Until = Callable[..., Any]
TINY = "diffusion/acme/tiny"
UNSHARED = ("unshare", "--mount", "--propagation", "private")
RUNTIME = """
import hashlib, json, os, pathlib, sys
from pumas_agent.client import AgentClient
from pumas_agent.contracts.errors import PumasError
with AgentClient() as agent:
    try:
        root = pathlib.Path(agent.descriptor(sys.argv[1]).entry_path)
        told = {"entry_path": str(root), "files": {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in root.rglob("*") if path.is_file()
        }}
    except PumasError as error:
        told = {"code": error.code, **error.data}
print(json.dumps({"host": os.path.exists(sys.argv[2]), **told}))
"""
"""Finds the agent and its view by the environment alone, as a program in a container does."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces of Linux")


@pytest.fixture
def container() -> Callable[..., dict[str, Any]]:
    """Runs the runtime where the models are at another place than on the host, and not at that one."""
    models, sockets = Path("/opt/pumas-test-models"), Path("/opt/pumas-test-run")
    script = f"""set -e
        mount -t tmpfs none /opt
        mkdir {models} {sockets}
        mount --bind -o ro "$1" {models}
        mount --bind "$2" {sockets}
        mount -t tmpfs none "$1"
        shift 2
        exec "$@" """

    def run(model_id: str, bundles: Path, socket: Path, *within: str, **environ: str) -> dict[str, Any]:
        runtime = sys.executable, "-c", RUNTIME, model_id, str(bundles / "tiny")
        done = subprocess.run(
            [*UNSHARED, "sh", "-c", script, "sh", str(bundles), str(socket.parent), *within, *runtime],
            env={
                **os.environ,
                "PUMAS_AGENT_SOCKET": str(sockets / socket.name),
                "PUMAS_AGENT_PATHS_AS": "container",
                **environ,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    return run


def _rules(bundles: Path) -> str:
    return json.dumps({str(bundles): "/opt/pumas-test-models"})


@pytest.fixture
def served(short_tmp: Path) -> Path:
    """The folder of the socket alone: it is what a container is given."""
    folder = short_tmp / "run"
    folder.mkdir(0o700)
    return folder / "agent.sock"


@pytest.mark.needs_root
@pytest.mark.needs_tool("unshare", "mount")
def test_a_runtime_in_a_mount_namespace_opens_the_files_of_the_host(
    start: "StartAgent", make_bundle: "MakeBundle", served: Path, container: Callable[..., dict[str, Any]]
) -> None:
    """By the path in its descriptor, all of them and the right ones; on the host the path is the host's."""
    bundle = make_bundle()
    agent = start(socket=served, PUMAS_AGENT_PATHS__MAP=_rules(bundle.parent))
    model_id = agent.register(bundle)
    before = snapshot(bundle)

    inside = container(model_id, bundle.parent, served)

    assert inside["host"] is False, "the host's path leads nowhere in there"
    assert inside["entry_path"] == "/opt/pumas-test-models/tiny"
    assert inside["files"] == {name: facts[-1] for name, facts in before.items() if facts[-1]}
    assert not Path(inside["entry_path"]).exists(), "and that of the container nowhere out here"
    assert agent.client.descriptor(model_id).entry_path == str(bundle)
    assert Path(agent.client.descriptor(model_id).entry_path, "model_index.json").is_file()
    assert differences(before, snapshot(bundle)) == []


@pytest.mark.needs_root
@pytest.mark.needs_tool("unshare", "mount")
def test_a_runtime_that_sees_nothing_of_a_bundle_is_told_no_path(
    start: "StartAgent",
    make_bundle: "MakeBundle",
    served: Path,
    short_tmp: Path,
    container: Callable[..., dict[str, Any]],
) -> None:
    """Until somebody adds a rule and lets the agent read it, which needs no restart."""
    bundle = make_bundle()
    config = short_tmp / "config.toml"
    config.write_text("")
    agent = start(socket=served, PUMAS_AGENT_CONFIG=str(config))
    model_id = agent.register(bundle)
    refused = container(model_id, bundle.parent, served)
    config.write_text(f'[paths.map]\n"{bundle.parent}" = "/opt/pumas-test-models"\n')

    agent.process.send_signal(signal.SIGHUP)
    line = agent.wait_for("config.reloaded")

    assert (refused["code"], refused["path"]) == ("path_not_mapped", str(bundle))
    assert (line["changed"], line["restart_needed"]) == (["paths.map"], [])
    assert container(model_id, bundle.parent, served)["entry_path"] == "/opt/pumas-test-models/tiny"


@pytest.mark.needs_root
@pytest.mark.needs_tool("unshare", "mount", "socat")
def test_the_kernel_says_who_somebody_in_a_user_namespace_is_outside(
    start: "StartAgent", make_bundle: "MakeBundle", served: Path, container: Callable[..., dict[str, Any]]
) -> None:
    """Root of a namespace that the agent's user made is that user; whom the agent's namespace has no number for is not.

    A rootless container is of the first kind, a container with numbers of its own of the second.
    """
    bundle = make_bundle()
    agent = start(socket=served, PUMAS_AGENT_PATHS__MAP=_rules(bundle.parent))
    model_id = agent.register(bundle)
    for path in (bundle.parent.parent, served.parent, served):
        path.chmod(0o777)

    as_owner = container(model_id, bundle.parent, served, "unshare", "--user", "--map-root-user")
    as_nobody = _call_as(served, 65534)

    assert as_owner["entry_path"] == "/opt/pumas-test-models/tiny"
    assert as_nobody["error"]["data"]["code"] == "not_permitted"
    assert [line["uid"] for line in agent.said("peer.refused")] == [65534]


def _call_as(socket: Path, uid: int) -> dict[str, Any]:
    """What root of a user namespace that another user made is told."""
    script = f"""
import json, os, socket, subprocess
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
code = "socat -t 5 - UNIX-CONNECT:{socket} </dev/null"
print(subprocess.run(["unshare", "--user", "--map-root-user", "sh", "-c", "id -u >&2; " + code],
                     capture_output=True, text=True, check=True).stdout)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_client_says_whose_paths_it_wants(
    start: "StartAgent", make_bundle: "MakeBundle", monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an argument, which wins over the environment; without either it is told the host's."""
    bundle = make_bundle()
    agent = start(PUMAS_AGENT_PATHS__MAP=json.dumps({str(bundle.parent): "/models"}))
    agent.register(bundle)

    def told(**given: str) -> str:
        with AgentClient(agent.socket, **given) as client:  # type: ignore[arg-type]
            return client.descriptor(TINY).entry_path

    assert (told(), told(paths_as="container")) == (str(bundle), "/models/tiny")
    monkeypatch.setenv("PUMAS_AGENT_PATHS_AS", "container")
    assert (told(), told(paths_as="host")) == ("/models/tiny", str(bundle))
    monkeypatch.setenv("PUMAS_AGENT_PATHS_AS", "docker")
    with pytest.raises(InvalidParams, match="not of 'docker'") as error:
        AgentClient(agent.socket)
    assert "PUMAS_AGENT_PATHS_AS" in (error.value.hint or "")


def test_the_command_says_it_too(start: "StartAgent", make_bundle: "MakeBundle") -> None:
    """With an agent and without one, by the same rules."""
    bundle = make_bundle()
    environ = {"PUMAS_AGENT_PATHS__MAP": json.dumps({str(bundle.parent): "/models"})}
    agent = start(**environ)
    agent.register(bundle)
    flags = "--library", str(agent.library), "--socket", str(agent.socket)

    def told(*args: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-m", "pumas_agent", *flags, "descriptor", TINY, "--json", *args],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, json.loads(done.stdout)

    for _ in ("with", "without"):
        assert told("--paths-as", "container")[1]["entry_path"] == "/models/tiny"
        assert told()[1]["entry_path"] == str(bundle)
        if agent.process.poll() is None:
            agent.stop()


async def test_the_asyncio_client_says_it_too(start: "StartAgent", make_bundle: "MakeBundle") -> None:
    """And the error has its own class."""
    from pumas_agent.client import AsyncAgentClient  # noqa: PLC0415

    agent = start()
    agent.register(make_bundle())

    async with AsyncAgentClient(agent.socket, paths_as="container") as client:
        with pytest.raises(PathNotMapped):
            await client.descriptor(TINY)
