"""Verdicts when something else goes wrong: the disk, the record, the root, the library, or another caller."""

import asyncio
import shutil
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pumas_agent.contracts.errors import (
    AssetNotValid,
    AssetUnresponsive,
    LibraryOffline,
    LibraryUnwritable,
    ModelNotFound,
)
from pumas_agent.contracts.metadata import AssetValidationState
from pumas_agent.demo.bundle import write_stable_diffusion_bundle

if TYPE_CHECKING:
    from tests.integration.conftest import HeldJudge, Parts

Until = Callable[[Callable[[], object]], Awaitable[None]]
DiskFull = Callable[[bool], None]
TINY = "diffusion/acme/tiny"
DEADLINE_S = 10.0
VALID, DEGRADED, INVALID = AssetValidationState


def lose(bundle: Path, component: str = "unet") -> None:
    (bundle / component).rename(bundle.parent / f"aside-{component}")


def mend(bundle: Path, component: str = "unet") -> None:
    (bundle.parent / f"aside-{component}").rename(bundle / component)


# --- what is served when the library takes no verdict ----------------------------------------------------------------


async def test_a_worse_verdict_is_served_though_it_cannot_be_written(
    agent: "Parts", bundle: Path, disk_full: DiskFull, until: Until
) -> None:
    """Law 6: the refusal is there at once, get_model says the same, the library's alert stands; later it is written."""
    await agent.registered(bundle)
    disk_full(True)
    lose(bundle)

    with pytest.raises(AssetNotValid) as refusal:
        await agent.resolve(TINY)
    shown = await agent.call("get_model", model_id=TINY)
    await until(agent.alerts)
    stood = agent.alerts()
    on_disk = agent.record(TINY)["validation_state"]
    with pytest.raises(LibraryUnwritable):
        await agent.call("reconcile", model_id=TINY)
    disk_full(False)
    await agent.call("reconcile", model_id=TINY)

    assert (refusal.value.validation_state, on_disk) == (DEGRADED, VALID)
    assert (shown["validation_state"], [error["code"] for error in shown["validation_errors"]]) == (
        DEGRADED,
        ["missing_component"],
    )
    assert (stood, agent.alerts()) == (["library_unwritable"], [])
    assert await agent.states(TINY) == {DEGRADED}


async def test_a_better_verdict_is_served_once_it_is_written(agent: "Parts", bundle: Path, disk_full: DiskFull) -> None:
    """Law 6: the old refusal stands until then, and each lookup tries again."""
    await agent.registered(bundle)
    lose(bundle)
    await agent.call("reconcile")
    mend(bundle)
    disk_full(True)

    with pytest.raises(AssetNotValid) as refusal:
        await agent.resolve(TINY)
    disk_full(False)
    answer = await agent.resolve(TINY)

    assert [finding["code"] for finding in refusal.value.findings] == ["missing_component"]
    assert answer["validation_state"] == VALID
    assert await agent.states(TINY) == {VALID}
    assert agent.alerts() == []


async def test_a_record_that_cannot_be_read_says_nothing_about_the_library(
    agent: "Parts", bundle: Path, tmp_path: Path, disk_full: DiskFull
) -> None:
    """Law 10: it neither clears the library's alert while the disk is full nor keeps it when the disk is not."""
    other = tmp_path / "models" / "other"
    write_stable_diffusion_bundle(other, seed=1)
    await agent.registered(bundle)
    await agent.registered(other)
    agent.library.layout.metadata_path(TINY).write_text("{")
    shutil.rmtree(bundle / "unet")
    lose(other)
    disk_full(True)
    with pytest.raises(LibraryUnwritable):
        await agent.call("reconcile", model_id="diffusion/acme/other")

    await agent.call("reconcile", model_id=TINY)
    full = agent.alerts()
    disk_full(False)
    await agent.call("reconcile", model_id="diffusion/acme/other")

    assert (full, agent.alerts()) == (["library_unwritable"], [])
    assert sorted(agent.alerts(TINY)) == ["bundle_incomplete", "metadata_corrupt"]


async def test_a_library_that_is_back_is_well_whatever_its_records_are(
    agent: "Parts", bundle: Path, tmp_path: Path
) -> None:
    """Law 10: the alert about the library goes, though a verdict still waits for its record to be mended."""
    await agent.registered(bundle)
    agent.library.layout.metadata_path(TINY).write_text("{")
    lose(bundle)
    await agent.call("reconcile")
    agent.root.rename(tmp_path / "unplugged")
    with pytest.raises(LibraryOffline):
        await agent.call("reconcile")
    stood = agent.alerts()

    (tmp_path / "unplugged").rename(agent.root)
    await agent.call("reconcile")

    assert TINY in agent.parts.refresher.records.uncommitted
    assert (stood, agent.alerts()) == (["library_offline"], [])


# --- the record under our hands --------------------------------------------------------------------------------------


async def test_an_edit_made_while_a_bundle_is_judged_is_kept(
    agent: "Parts", bundle: Path, judge: "HeldJudge", until: Until
) -> None:
    """The record is read in the moment it is changed."""
    await agent.registered(bundle)
    lose(bundle)
    judge.hold()
    refresh = asyncio.create_task(agent.parts.refresher.refresh(TINY))
    await until(judge.in_hand.is_set)

    agent.edit(TINY, notes="by hand", x_theirs={"k": [1]})
    judge.go_on.set()
    await refresh

    record = agent.record(TINY)
    assert (record["notes"], record["x_theirs"], record["validation_state"]) == ("by hand", {"k": [1]}, DEGRADED)
    assert (await agent.row(TINY))["notes"] == "by hand"


async def test_a_model_that_is_forgotten_while_it_is_judged_stays_forgotten(
    agent: "Parts", bundle: Path, judge: "HeldJudge", until: Until
) -> None:
    """R16: not found; no record, row, verdict or alert comes back."""
    await agent.registered(bundle)
    lose(bundle)
    judge.hold()
    refresh = asyncio.create_task(agent.parts.refresher.refresh(TINY))
    await until(judge.in_hand.is_set)

    await agent.call("unregister_external_model", model_id=TINY)
    judge.go_on.set()
    with pytest.raises(ModelNotFound):
        await refresh

    assert not (agent.root / "diffusion").exists()
    assert agent.library.catalog.ids() == set()
    assert agent.parts.refresher.verdict(TINY) is None
    assert agent.parts.alerts.standing() == ()


async def test_a_model_that_moves_while_it_is_judged_is_judged_where_it_is(
    agent: "Parts", bundle: Path, tmp_path: Path, judge: "HeldJudge", until: Until
) -> None:
    """The verdict on the old place is not written to the record of the new one."""
    other = tmp_path / "models" / "other"
    write_stable_diffusion_bundle(other)
    lose(bundle)
    await agent.registered(bundle, allow_unhealthy=True)
    judge.hold()
    refresh = asyncio.create_task(agent.parts.refresher.refresh(TINY))
    await until(judge.in_hand.is_set)

    agent.edit(TINY, source_path=str(other), entry_path=str(other))
    await agent.library.write(lambda store: store.index_one(TINY))
    judge.go_on.set()
    verdict = await refresh

    assert (verdict.entry_path, verdict.state) == (str(other), VALID)
    assert judge.looks[-1] == other
    assert await agent.states(TINY) == {VALID}


@pytest.mark.parametrize("damage", ["cut off", "gone"])
async def test_a_record_that_is_lost_costs_no_registration(agent: "Parts", bundle: Path, damage: str) -> None:
    """Laws 4 and 10: served as the index knows it, said, and over once the file is back."""
    await agent.registered(bundle)
    path = agent.library.layout.metadata_path(TINY)
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(whole[:100])

    report = await agent.call("reconcile")
    answer = await agent.resolve(TINY)
    stood = agent.alerts(TINY)
    rebuilt = await agent.call("rebuild_model_index")
    path.write_bytes(whole)
    await agent.call("reconcile")

    assert (report["unreadable"], rebuilt["unreadable"], rebuilt["removed"]) == ([TINY], [TINY], 0)
    assert (answer["entry_path"], stood) == (str(bundle), ["metadata_corrupt"])
    assert agent.alerts(TINY) == []
    assert await agent.states(TINY) == {VALID}


async def test_a_record_that_was_mended_while_nobody_looked_is_well_again(agent: "Parts", bundle: Path) -> None:
    """After a restart: what stood before it and is over is cleared, so that it is new when it comes again."""
    await agent.registered(bundle)
    path = agent.library.layout.metadata_path(TINY)
    whole = path.read_bytes()
    path.write_text("{")
    await agent.call("reconcile")
    path.write_bytes(whole)

    await agent.start()
    await agent.call("reconcile")

    assert await agent.library.write(lambda store: store.alerts()) == {}


# --- one asset's trouble is not another's ----------------------------------------------------------------------------


async def test_a_root_that_does_not_answer_is_not_served_from_before(
    agent: "Parts", bundle: Path, tmp_path: Path, judge: "HeldJudge"
) -> None:
    """Laws 6 and 10: asset_unresponsive for that one, the others are served; it recovers by itself."""
    other = tmp_path / "models" / "other"
    write_stable_diffusion_bundle(other, seed=1)
    await agent.registered(bundle)
    await agent.registered(other)
    judge.faults[bundle] = AssetUnresponsive(f"{bundle} does not answer")

    report = await agent.call("reconcile")
    known = agent.parts.refresher.verdict(TINY)
    with pytest.raises(AssetUnresponsive):
        await agent.resolve(TINY)
    served = await agent.resolve("diffusion/acme/other")
    del judge.faults[bundle]

    assert known is None
    assert (report["unhealthy"], report["bundles_judged"]) == ([TINY], 2)
    assert served["entry_path"] == str(other)
    assert (await agent.resolve(TINY))["validation_state"] == VALID


async def test_a_library_that_is_gone_changes_nothing_that_is_served(
    agent: "Parts", bundle: Path, tmp_path: Path
) -> None:
    """Law 4: no row is dropped on that ground; a worse verdict is served, nothing is written into its place."""
    await agent.registered(bundle)
    agent.root.rename(tmp_path / "unplugged")
    agent.root.mkdir()

    with pytest.raises(LibraryOffline):
        await agent.call("reconcile")
    answer = await agent.resolve(TINY)
    lose(bundle)
    with pytest.raises(AssetNotValid):
        await agent.resolve(TINY)
    stood, in_its_place = agent.alerts(), list(agent.root.iterdir())
    agent.root.rmdir()
    (tmp_path / "unplugged").rename(agent.root)
    await agent.call("reconcile")

    assert (answer["entry_path"], stood, in_its_place) == (str(bundle), ["library_offline"], [])
    assert agent.alerts() == []
    assert await agent.states(TINY) == {DEGRADED}


async def test_a_worse_verdict_waits_for_no_commit(agent: "Parts", bundle: Path, until: Until) -> None:
    """Law 6: it is served at once, also while the library takes its time; then it is written."""
    await agent.registered(bundle)
    free = threading.Event()
    slow = asyncio.create_task(agent.library.write(lambda _: free.wait(DEADLINE_S)))
    lose(bundle)

    with pytest.raises(AssetNotValid):
        await agent.resolve(TINY)
    before = agent.record(TINY)["validation_state"]
    free.set()
    await slow

    assert before == VALID
    await until(lambda: agent.record(TINY)["validation_state"] == DEGRADED)


async def test_a_filesystem_that_does_not_answer_is_an_alert(agent: "Parts", bundle: Path) -> None:
    """Nothing is known of the bundle, so nothing is served of it; the first answer ends it."""
    await agent.registered(bundle)
    agent.judge.faults[bundle] = AssetUnresponsive("no answer", hint="look at the mount")

    report = await agent.call("reconcile", model_id=TINY)
    with pytest.raises(AssetUnresponsive):
        await agent.resolve(TINY)
    stood = agent.alerts(TINY)
    agent.judge.faults.clear()
    await agent.resolve(TINY)

    assert (report["unhealthy"], stood, agent.alerts(TINY)) == ([TINY], ["bundle_unresponsive"], [])


async def test_a_repair_is_not_overtaken_by_the_commit_of_the_break(agent: "Parts", bundle: Path) -> None:
    """Laws 2 and 6: valid is served once the record says so, and a worse verdict that waited does not undo it."""
    await agent.registered(bundle)
    free = threading.Event()
    slow = asyncio.create_task(agent.library.write(lambda _: free.wait(DEADLINE_S)))
    lose(bundle)
    with pytest.raises(AssetNotValid):
        await agent.resolve(TINY)

    mend(bundle)
    answer = asyncio.create_task(agent.resolve(TINY))
    early, _ = await asyncio.wait({answer}, timeout=0.2)
    free.set()
    await slow

    assert not early
    assert (await answer)["validation_state"] == VALID
    assert await agent.states(TINY) == {VALID}
