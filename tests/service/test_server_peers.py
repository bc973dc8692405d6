"""Users other than the agent's own: who is heard, what they may do, and how much."""

import asyncio
import grp
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from structlog.testing import capture_logs

from pumas_agent.contracts.rpc import METHODS
from pumas_agent.serving import Answer, Handler, Limits, PeerPolicy, Request, RpcServer, bind_socket

NOBODY = 65534
GROUP = grp.getgrall()[-1].gr_gid
SPEAK = """
import json, os, socket, sys
path, line, times, groups = json.loads(sys.argv[1])
os.setgroups(groups)
os.setgid(NOBODY)
os.setuid(NOBODY)
connections = [socket.socket(socket.AF_UNIX) for _ in range(times)]
for connection in connections:
    connection.settimeout(5)
    connection.connect(path)
    try:
        connection.sendall(line.encode())
    except OSError:
        pass  # refused already; what it was told can still be read
    print(connection.makefile().readline().strip())
""".replace("NOBODY", str(NOBODY))
"""As root, since the interpreter may be where nobody else can run it; becomes nobody before it connects."""

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users"),
]


def line(method: str) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}) + "\n"


class Heard:
    """What the handlers were asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def __call__(self, _params: Any, request: Request) -> Answer:
        self.requests.append(request)
        return b"{}"


@pytest.fixture
def heard() -> Heard:
    return Heard()


Speak = Callable[[str, int, list[int]], Awaitable[list[dict[str, Any]]]]


@pytest.fixture
async def speak(heard: Heard) -> AsyncIterator[Speak]:
    """Connects some times as nobody with some groups, sends one line each time, and returns what came back."""
    registry = {name: Handler(METHODS[name], heard) for name in METHODS}
    server = RpcServer(registry, PeerPolicy(own_uid=0, group_gid=GROUP), Limits(connections=8))

    def run(path: Path, line: str, times: int, groups: list[int]) -> list[dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-c", SPEAK, json.dumps([str(path), line, times, groups])],
            capture_output=True,
            check=True,
            timeout=20,
        )
        return [json.loads(answer) for answer in done.stdout.splitlines()]

    with TemporaryDirectory() as folder:
        bound = bind_socket(Path(folder, "s"))
        # The filesystem lets everyone through: what is tested is the server's own judgement.
        bound.path.parent.chmod(0o711)
        bound.path.chmod(0o666)
        await server.start(bound)
        yield lambda line, times, groups: asyncio.to_thread(run, bound.path, line, times, groups)
        await server.stop(drain_s=1)


async def test_a_stranger_is_refused_before_a_byte_is_parsed(speak: Speak, heard: Heard) -> None:
    """Even a line that is no JSON is answered with who may not talk; it is logged once, however often it tries."""
    with capture_logs() as logs:
        answers = await speak("no JSON\n", 3, [])

    assert {answer["error"]["data"]["code"] for answer in answers} == {"not_permitted"}
    assert {answer["id"] for answer in answers} == {None}
    assert not heard.requests
    assert [(entry["event"], entry["uid"]) for entry in logs] == [("peer.refused", NOBODY)]


async def test_a_member_of_the_group_may_read(speak: Speak, heard: Heard) -> None:
    """Also through a supplementary group, and handlers see who asked."""
    answers = await speak(line("get_library_status"), 1, [GROUP])

    assert answers[0]["result"] == {}
    assert (heard.requests[0].peer.uid, GROUP in heard.requests[0].peer.groups) == (NOBODY, True)


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("rebuild_model_index", "it changes the library"),
        ("discover_bundles", "it looks, with the agent's rights"),
        ("classify_model_import_paths", "it looks, with the agent's rights"),
    ],
)
async def test_a_member_of_the_group_may_neither_write_nor_have_us_look(
    speak: Speak, heard: Heard, method: str, why: str
) -> None:
    """What a user may not read is not read for them. The refusal names the method and who may."""
    answers = await speak(line(method), 1, [GROUP])

    assert answers[0]["error"]["data"]["code"] == "not_permitted"
    assert method in answers[0]["error"]["message"]
    assert why in answers[0]["error"]["data"]["hint"]
    assert "root" in answers[0]["error"]["data"]["hint"]
    assert not heard.requests


async def test_another_user_leaves_connections_for_the_owner(speak: Speak) -> None:
    """Six of eight are the most that one user other than the agent's own may hold."""
    answers = await speak(line("get_library_status"), 7, [GROUP])

    assert ["result" in answer for answer in answers] == [True] * 6 + [False]
    assert answers[6]["error"]["data"]["code"] == "too_many_connections"
