"""Users other than the agent's own, at its socket and at its library: nothing is told, nothing is left behind."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.demo.snapshot import differences, snapshot

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

Until = Callable[..., Any]
NOBODY = 65534
AS_NOBODY = """
import encodings.idna, os, sys
import pumas_agent.agent, pumas_agent.cli, pumas_agent.client, pumas_agent.cli.progress
os.setgroups([])
os.setgid(NOBODY)
os.setuid(NOBODY)
sys.exit(pumas_agent.cli.main(sys.argv[1:]))
""".replace("NOBODY", str(NOBODY))
"""As root, since the interpreter may be where nobody else can run it; becomes nobody before it does anything."""


def _command(agent: "AgentUnderTest", *args: str, as_nobody: bool = True) -> tuple[int, dict[str, Any]]:
    program = ["-c", AS_NOBODY] if as_nobody else ["-m", "pumas_agent"]
    flags = "--library", str(agent.library), "--socket", str(agent.socket)
    done = subprocess.run(
        [sys.executable, *program, *flags, *args, "--json"],
        env={**os.environ, "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


@pytest.mark.needs_root
def test_another_user_is_refused_at_the_socket(agent: "AgentUnderTest", short_tmp: Path, until: Until) -> None:
    """By the file's mode; and where somebody opened that, by the agent, which says so once and serves on."""
    short_tmp.chmod(0o755)

    by_mode = _command(agent, "status")
    agent.socket.chmod(0o666)
    by_peer = [_command(agent, "status") for _ in range(2)]

    for code, told in (by_mode, *by_peer):
        assert (code, told["error"]["code"]) == (77, "not_permitted"), told
    assert [line["uid"] for line in agent.said("peer.refused")] == [NOBODY]
    until(lambda: agent.client.call("agent.status")["connections"] == 1, "the strangers are gone")
    assert agent.client.call("agent.status")["healthy"]


@pytest.mark.needs_root
def test_a_command_of_another_user_leaves_nothing_in_a_library(
    start: "StartAgent", make_bundle: "MakeBundle", short_tmp: Path
) -> None:
    """No agent runs, the library is somebody else's: exit 77 for a write, in either direction; reads are answered."""
    agent = start()
    model_id = agent.register(make_bundle())
    agent.stop()
    short_tmp.chmod(0o755)
    before = snapshot(agent.library)

    code, refused = _command(agent, "unregister", model_id, "--yes")
    assert (code, refused["error"]["code"]) == (77, "not_permitted"), refused
    code, listed = _command(agent, "list")
    assert (code, listed["totalCount"]) == (0, 1), listed
    assert differences(before, snapshot(agent.library)) == []

    for path in (agent.library, *agent.library.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    before = snapshot(agent.library)
    code, refused = _command(agent, "reindex", as_nobody=False)
    assert (code, refused["error"]["code"]) == (77, "not_permitted"), refused
    assert differences(before, snapshot(agent.library)) == []


@pytest.mark.needs_root
def test_what_a_user_may_not_read_is_a_finding(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", short_tmp: Path
) -> None:
    """A closed folder is no mistake in the command line: it is judged, and the finding says that it cannot be read."""
    bundle = make_bundle()
    short_tmp.chmod(0o755)
    bundle.chmod(0o700)

    code, told = _command(agent, "validate", str(bundle))

    assert code == 1
    assert [finding["code"] for finding in told["findings"]] == ["component_unreadable"]
