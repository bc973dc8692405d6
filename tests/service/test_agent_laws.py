"""What a running agent never does: write what has not changed, touch a bundle, lose or repeat a change, grow."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pumas_agent.demo.snapshot import differences, snapshot

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

Until = Callable[..., Any]
MIB = 2**20


def _reconciles(agent: "AgentUnderTest") -> int:
    return len(agent.said("reconcile.finished", scope="*"))


def test_an_idle_agent_writes_nothing(start: "StartAgent", make_bundle: "MakeBundle", until: Until) -> None:
    """Periodic reconciles that find nothing new: no file of the library changes, the feed does not move."""
    agent = start(PUMAS_AGENT_WATCH__FULL_RECONCILE_S="0.2")
    bundles = [make_bundle(f"b{number}") for number in range(3)]
    ids = [agent.register(bundle) for bundle in bundles]
    shutil.rmtree(bundles[0] / "unet")
    until(lambda: agent.state(ids[0]) == "degraded", "one is degraded")
    done = _reconciles(agent)
    until(lambda: _reconciles(agent) >= done + 2, "what was changed has been seen")
    agent.settled()
    before = snapshot(agent.library)
    log_size = (agent.library / "models.db-wal").stat().st_size
    cursor = agent.client.call("list_model_library_updates_since")["cursor"]

    done = _reconciles(agent)
    until(lambda: _reconciles(agent) >= done + 4, "four more reconciles")
    for model_id in ids:
        agent.model(model_id)
        agent.refusal(model_id)
    agent.client.call("list_models")

    assert differences(before, snapshot(agent.library)) == []
    assert (agent.library / "models.db-wal").stat().st_size == log_size
    assert agent.client.call("list_model_library_updates_since")["cursor"] == cursor
    changed = [line for line in agent.said("reconcile.finished", scope="*")[done:] if line["models_changed"]]
    assert changed == []


def test_nothing_of_ours_touches_a_bundle(agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until) -> None:
    """Between any two acts of its owner, a bundle is to the last inode and time what the owner left."""
    root = make_bundle()

    left = snapshot(root)
    model_id = agent.register(root)
    for _ in range(50):
        agent.client.descriptor(model_id)
    agent.client.call("reconcile")
    agent.client.call("reconcile", model_id=model_id)
    agent.client.call("rebuild_model_index")
    assert differences(left, snapshot(root)) == []

    shutil.rmtree(root / "unet")
    left = snapshot(root)
    assert agent.refusal(model_id) is not None
    until(lambda: agent.state(model_id) == "degraded", "the break is recorded")
    agent.client.call("reconcile")
    assert differences(left, snapshot(root)) == []

    make_bundle()
    left = snapshot(root)
    until(lambda: agent.state(model_id) == "valid", "the repair is recorded")
    agent.client.descriptor(model_id)
    agent.client.call("unregister_external_model", model_id=model_id)
    agent.settled()
    agent.stop()
    assert differences(left, snapshot(root)) == []


def test_the_feed_tells_each_change_once_and_in_order(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
) -> None:
    """Added, modified there and back, removed: read by cursor in any page size, the same events in the same order."""
    start = agent.client.call("list_model_library_updates_since")
    assert "events" not in start
    root = make_bundle()
    model_id = agent.register(root)
    agent.settled()
    shutil.rmtree(root / "unet")
    until(lambda: agent.state(model_id) == "degraded", "degraded")
    agent.settled()
    make_bundle()
    until(lambda: agent.state(model_id) == "valid", "valid")
    agent.settled()
    agent.client.call("unregister_external_model", model_id=model_id)
    agent.settled()

    def read(limit: int) -> list[dict[str, Any]]:
        cursor, seen = start["cursor"], []
        while events := (page := agent.client.call("list_model_library_updates_since", cursor=cursor, limit=limit)).get(
            "events"
        ):
            seen += events
            assert page["cursor"] == events[-1]["cursor"]
            cursor = page["cursor"]
        assert page["cursor"] == cursor
        return seen

    told = read(100)
    kinds = [event["change_kind"] for event in told]
    assert kinds == ["model_added", "metadata_modified", "metadata_modified", "model_removed"]
    assert {event["model_id"] for event in told} == {model_id}
    positions = [int(event["cursor"].rpartition(":")[2]) for event in told]
    assert positions == sorted(set(positions))
    assert read(1) == read(3) == told


@pytest.mark.parametrize("cursor", ["model-library-updates:99999999999", "model-library-updates:", "something else"])
def test_a_cursor_that_means_nothing_asks_for_a_snapshot(agent: "AgentUnderTest", cursor: str) -> None:
    """Ahead of the log or no cursor at all: stale, with the current one to go on from."""
    answer = agent.client.call("list_model_library_updates_since", cursor=cursor)

    assert (answer["stale_cursor"], answer["snapshot_required"]) == (True, True)
    assert not agent.client.call("list_model_library_updates_since", cursor=answer["cursor"])["stale_cursor"]


def test_an_agent_does_not_grow(agent: "AgentUnderTest", make_bundle: "MakeBundle") -> None:
    """5,000 lookups and 50 reconciles, each tenth after a change: at most 8 MiB and no file descriptor more."""
    bundles = [make_bundle(f"b{number}") for number in range(5)]
    ids = [agent.register(bundle) for bundle in bundles]
    process = psutil.Process(agent.pid)

    def work(lookups: int, reconciles: int) -> None:
        for number in range(reconciles):
            if number % 10 == 0:
                (bundles[number % 5] / "note").write_text(str(number))
            for lookup in range(lookups // reconciles):
                agent.client.descriptor(ids[lookup % 5 - 1])
            agent.client.call("reconcile")
        agent.settled()

    work(500, 10)
    files, before = process.num_fds(), process.memory_info().rss
    work(5_000, 50)

    grown = process.memory_info().rss - before
    assert grown < 8 * MIB, f"{grown / MIB:.1f} MiB"
    assert process.num_fds() <= files + 2


def test_an_answer_never_outlives_what_it_says(agent: "AgentUnderTest", make_bundle: "MakeBundle") -> None:
    """A hundred breaks and repairs right before a lookup, the events of none awaited: no answer is ever stale."""
    root = make_bundle()
    model_id = agent.register(root)
    aside = root.parent / "aside"
    component = root / "unet"

    for _ in range(50):
        component.rename(aside)
        assert agent.refusal(model_id) is not None
        aside.rename(component)
        assert agent.refusal(model_id) is None

    index = root / "model_index.json"
    whole = index.read_bytes()
    times = index.stat()
    for _ in range(20):  # same size, same mtime: only the ctime tells
        index.write_bytes(b"[" + whole[1:])
        os.utime(index, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert agent.refusal(model_id) is not None
        index.write_bytes(whole)
        os.utime(index, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert agent.refusal(model_id) is None


def test_a_bundle_that_is_written_all_the_time_starves_nobody(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until, steady_writes: Callable[[Path], None]
) -> None:
    """Its lookups are answered in bounded time, at worst with `settling`; others are judged as ever."""
    busy, quiet = make_bundle("busy"), make_bundle("quiet")
    busy_id, quiet_id = agent.register(busy), agent.register(quiet)
    steady_writes(busy / "unet" / "progress.log")

    refusals = [agent.refusal(busy_id) for _ in range(10)]
    shutil.rmtree(quiet / "unet")
    until(lambda: agent.state(quiet_id) == "degraded", "the quiet one is judged")
    shutil.rmtree(busy / "vae")
    until(lambda: agent.state(busy_id) == "degraded", "the busy one is judged all the same")
    refusal = agent.refusal(busy_id)
    report = agent.client.call("reconcile")

    assert all(refused is None or refused.settling for refused in refusals)
    assert refusal is not None
    assert report["unhealthy"] == [busy_id, quiet_id]
    record = json.loads((agent.library / busy_id / "metadata.json").read_text())
    assert [found["code"] for found in record["validation_errors"]] == ["missing_component"]
