"""A real agent: its feed is pruned, it explains who would notice a change, and a verification ends with its caller."""

import hashlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pumas_agent.demo.snapshot import differences, snapshot

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

SIZE = 256 * 2**20


def test_the_feed_is_pruned_at_the_start(start: "StartAgent", make_bundle: "MakeBundle") -> None:
    """By the settings; a client that was away for longer is told to load everything anew."""
    first = start()
    cursor = first.client.call("list_model_library_updates_since")["cursor"]
    for name in ("one", "two", "three"):
        first.register(make_bundle(name))
    first.settled()
    first.stop()

    agent = start(PUMAS_AGENT_FEED__KEEP_EVENTS="1")

    assert agent.wait_for("feed.pruned")["events"] >= 2
    feed = agent.client.call("list_model_library_updates_since", cursor=cursor)
    assert feed["snapshot_required"]
    newest = agent.client.call("model_library_selector_snapshot")["cursor"]
    assert agent.client.call("list_model_library_updates_since", cursor=newest)["stale_cursor"] is False


def test_a_start_with_nothing_to_prune_says_and_writes_nothing(start: "StartAgent", make_bundle: "MakeBundle") -> None:
    """Law 8."""
    first = start()
    first.register(make_bundle())
    first.settled()
    first.stop()
    before = _events(first.library)

    agent = start()
    agent.wait_for("reconcile.finished")
    agent.settled()

    assert agent.said("feed.pruned") == []
    assert _events(agent.library) == before


def test_explain_tells_who_would_notice(start: "StartAgent", make_bundle: "MakeBundle") -> None:
    """Events where there are some; polling, and why, where not."""
    agent = start()
    model_id = agent.register(make_bundle())
    agent.settled()
    assert agent.client.call("explain_model", model_id=model_id)["watching"] == {"by": "events", "why": None}
    agent.stop()

    polling = start(PUMAS_AGENT_WATCH__BACKEND="polling")
    polling.settled()

    watching = polling.client.call("explain_model", model_id=model_id)["watching"]
    assert (watching["by"], "polling" in watching["why"]) == ("polling", True)


def test_a_verification_tells_its_progress_and_ends_with_its_caller(
    agent: "AgentUnderTest", until: Callable[..., Any]
) -> None:
    """The file is not read to its end when the connection is gone; others are answered meanwhile."""
    folder = agent.library / "llm" / "f" / "large"
    folder.mkdir(parents=True)
    with (folder / "model.gguf").open("wb") as file:
        file.truncate(SIZE)
    digest = hashlib.sha256(bytes(1)).hexdigest()
    record = {"files": [{"name": "model.gguf", "size": SIZE, "sha256": digest}]}
    (folder / "metadata.json").write_text(json.dumps(record))
    agent.client.call("reconcile")

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(agent.socket))
        request = {"jsonrpc": "2.0", "id": 1, "method": "verify", "params": {"deep": True}}
        connection.sendall(json.dumps(request).encode() + b"\n")
        lines = connection.makefile("rb")
        told = _first_hashing(lines)
        lines.close()
    assert told["params"]["total"] == SIZE

    until(lambda: _readers(agent.pid, folder / "model.gguf") == 0, "nobody reads the file any more")
    assert agent.client.call("list_models")["totalCount"] == 1
    report = agent.client.call("verify", model_id="llm/f/large", deep=True)
    assert [one["code"] for one in report["differences"]] == ["hash_differs"]
    assert report["bytes_hashed"] == SIZE


def test_the_commands_answer_the_same_with_and_without_an_agent(start: "StartAgent", make_bundle: "MakeBundle") -> None:
    """Reads open the library read-only when no agent runs, and leave no trace in it."""
    agent = start()
    model_id = agent.register(make_bundle())
    agent.settled()
    commands = (
        ["explain", model_id],
        ["verify"],
        ["verify", model_id, "--deep"],
        ["list", "--selector"],
        ["search", "*"],
    )

    with_agent = [_run(agent, *command) for command in commands]
    agent.stop()
    before = snapshot(agent.library)
    without = [_run(agent, *command) for command in commands]

    for told in (*with_agent, *without):
        for fleeting in ("duration_ms", "judged_at", "watching", "queryTimeMs"):
            told.pop(fleeting, None)
    assert with_agent == without
    assert differences(before, snapshot(agent.library)) == []


def _run(agent: "AgentUnderTest", *command: str) -> dict[str, Any]:
    flags = "--library", str(agent.library), "--socket", str(agent.socket)
    done = subprocess.run(
        [sys.executable, "-m", "pumas_agent", *flags, *command, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def _first_hashing(lines: Any) -> dict[str, Any]:
    for line in lines:
        message = json.loads(line)
        if message.get("params", {}).get("stage") == "hashing":
            return dict(message)
    raise AssertionError("no progress of hashing was told")


def _readers(pid: int, path: Path) -> int:
    """How many descriptors of a process lead to a file."""
    count = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            count += os.readlink(descriptor) == str(path)  # noqa: PTH115 - a name, whether it leads somewhere or not
    return count


def _events(library: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(library / "models.db")) as connection:
        return list(connection.execute("SELECT * FROM model_library_update_events ORDER BY event_id"))
