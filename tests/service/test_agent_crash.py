"""An agent that is killed, and the next one: what was reported is there, what was true is true, no litter is left."""

import itertools
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from pumas_agent.client import AgentClient
from pumas_agent.contracts.errors import AgentNotRunning, AgentUnreachable

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent


def _facts(agent: "AgentUnderTest", model_id: str) -> tuple[Any, ...]:
    model = agent.model(model_id)
    assert model is not None
    return model["id"], model["entry_path"], model["validation_state"], model["updatedAt"]


def test_a_killed_agent_is_replaced_and_knows_all(start: "StartAgent", make_bundle: "MakeBundle") -> None:
    """Neither the socket nor the lock of a dead agent is in the way; ids, paths and states are as they were."""
    first = start()
    whole, broken = (first.register(make_bundle(name)) for name in ("whole", "broken"))
    shutil.rmtree(make_bundle("broken") / "vae")
    assert first.refusal(broken) is not None
    first.wait_for("alert.raised", code="bundle_incomplete", model_id=broken)
    first.settled()
    before = [_facts(first, model_id) for model_id in (whole, broken)]
    feed = first.client.call("list_model_library_updates_since")["cursor"]
    since = first.client.call("agent.health")["alerts"][0]["since"]
    first.kill()
    assert first.socket.exists()

    second = start()

    assert [_facts(second, model_id) for model_id in (whole, broken)] == before
    assert second.client.descriptor(whole).entry_path == before[0][1]
    assert second.refusal(broken) is not None
    assert second.wait_for("alert.raised", code="bundle_incomplete", model_id=broken)["since"] == since
    second.settled()
    assert [_facts(second, model_id) for model_id in (whole, broken)] == before
    assert second.client.call("list_model_library_updates_since", cursor=feed) == {
        "cursor": feed,
        "stale_cursor": False,
        "snapshot_required": False,
    }


def test_whatever_moment_it_is_killed_at_nothing_reported_is_lost(
    start: "StartAgent", make_bundle: "MakeBundle", until: Callable[..., Any]
) -> None:
    """Registering and unregistering as fast as it goes: each start finds rows and records that agree, and no litter."""
    bundles = [make_bundle(f"b{number}") for number in range(6)]
    known: dict[str, bool | None] = {}
    reported = 0

    def keep_changing(client: AgentClient, seed: int) -> None:
        nonlocal reported
        with suppress(AgentUnreachable, AgentNotRunning), client:
            for turn in itertools.count(seed):
                bundle = bundles[turn * turn % len(bundles)]
                model_id = f"diffusion/acme/{bundle.name}"
                registered, known[model_id] = known.get(model_id), None  # not known until it is told
                if registered:
                    client.call("unregister_external_model", model_id=model_id)
                else:
                    spec: dict[str, Any] = {"source_path": str(bundle), "family": "acme", "official_name": bundle.name}
                    assert client.call("import_external_diffusers_directory", **spec)["success"]
                known[model_id] = not registered
                reported += 1

    for seed in range(4):
        agent = start()
        rows = {row["id"] for row in agent.client.call("list_models")["models"]}
        assert rows == {str(path.parent.relative_to(agent.library)) for path in agent.library.rglob("metadata.json")}
        assert not [*agent.library.rglob("*.tmp"), *agent.library.rglob("*.removed")]
        assert {model_id for model_id, registered in known.items() if registered} <= rows
        assert not {model_id for model_id, registered in known.items() if registered is False} & rows
        known = {model_id: model_id in rows for model_id in known.keys() | rows}
        changing = threading.Thread(target=keep_changing, args=(AgentClient(agent.socket), seed))
        enough = reported + 10 + seed
        changing.start()
        until(lambda enough=enough: reported >= enough, "some changes")
        agent.kill()
        changing.join()


def test_a_bundle_that_broke_while_no_agent_ran_is_refused_at_once(
    start: "StartAgent", make_bundle: "MakeBundle"
) -> None:
    """The record says valid, the disk does not: the first lookup after the start tells the truth."""
    first = start()
    bundle = make_bundle()
    model_id = first.register(bundle)
    first.stop()
    (bundle / "unet").rename(bundle.parent / "unet")

    second = start()
    refusal = second.refusal(model_id)

    assert refusal is not None
    assert {finding["code"] for finding in refusal.findings} == {"missing_component"}


def test_an_agent_that_is_killed_takes_its_judges_along(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Callable[..., Any]
) -> None:
    """They end when their input does: a crash leaves no process behind."""
    agent.register(make_bundle())
    judges = psutil.Process(agent.pid).children()
    assert judges

    agent.kill()

    until(lambda: not any(judge.is_running() for judge in judges), "no judge is left")


def test_a_judge_that_is_killed_is_replaced(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Callable[..., Any]
) -> None:
    """In the middle of a reconcile: it ends well, the next one too, and no process is left behind."""
    bundles = [make_bundle(f"b{number:02}") for number in range(20)]
    ids = [agent.register(bundle) for bundle in bundles]
    agent.settled()
    killed: list[psutil.Process] = []

    def kill(_stage: str, done: int, _total: int | None, _unit: str) -> None:
        if done and not killed:
            for judge in psutil.Process(agent.pid).children():
                judge.kill()
                killed.append(judge)

    report = agent.client.call("reconcile", on_progress=kill)
    again = agent.client.call("reconcile")

    assert killed
    assert (report["bundles_judged"], report["unhealthy"]) == (len(ids), [])
    assert again["unhealthy"] == []
    until(lambda: not any(judge.is_running() for judge in killed), "they are reaped")
