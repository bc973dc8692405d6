"""A verdict and what is written because of it: record, row, search row, feed, catalog and alerts say the same."""

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.metadata import AssetValidationState

if TYPE_CHECKING:
    from tests.integration.conftest import HeldJudge, Parts

TINY = "diffusion/acme/tiny"
VALID, DEGRADED, INVALID = AssetValidationState


def lose(bundle: Path, component: str = "unet") -> None:
    (bundle / component).rename(bundle.parent / f"aside-{component}")


def mend(bundle: Path, component: str = "unet") -> None:
    (bundle.parent / f"aside-{component}").rename(bundle / component)


def touch_all(bundle: Path) -> None:
    for file in bundle.rglob("*"):
        os.utime(file, ns=(0, 1_000_000_000))


async def feed(agent: "Parts") -> list[tuple[str, str]]:
    answer = await agent.call("list_model_library_updates_since", cursor="model-library-updates:0", limit=1000)
    return [(event["model_id"], event["change_kind"]) for event in answer.get("events", [])]


async def test_a_bundle_degrades_and_recovers_in_all_places_at_once(agent: "Parts", bundle: Path) -> None:
    """R3, R5, R18, R20, R24, cases validation-005, validation-022, rebuild-006: one event a change, and alerts."""
    await agent.registered(bundle)
    story: list[Any] = []

    for change in (lambda: lose(bundle), lambda: mend(bundle), lambda: bundle.rename(bundle.parent / "moved")):
        change()
        await agent.call("reconcile", model_id=TINY)
        errors = agent.record(TINY)["validation_errors"]
        story.append((await agent.states(TINY), [error["code"] for error in errors or ()], agent.alerts(TINY)))

    assert story == [
        ({DEGRADED}, ["missing_component"], ["bundle_incomplete"]),
        ({VALID}, [], []),
        ({DEGRADED}, ["path_not_found"], ["bundle_missing"]),
    ]
    assert await feed(agent) == [(TINY, "model_added"), *[(TINY, "metadata_modified")] * 3]
    assert "validation_errors" in await agent.row(TINY)


async def test_only_what_a_verdict_may_change_changes(agent: "Parts", bundle: Path) -> None:
    """Reference section 3, "What revalidation changes": the rest of the record is as it was, updated_date moves."""
    await agent.registered(bundle)
    first = agent.record(TINY)
    lose(bundle)

    await agent.parts.refresher.refresh(TINY)
    second = agent.record(TINY)
    await agent.parts.refresher.refresh(TINY)
    third = agent.record(TINY)

    assert {key for key in first if first[key] != second[key]} == {
        "validation_state",
        "validation_errors",
        "updated_date",
    }
    assert second["updated_date"] > first["updated_date"]
    assert third == second


async def test_the_size_follows_the_bundle(agent: "Parts", bundle: Path) -> None:
    """The size of a valid bundle is that of now; of a broken one the last that was valid."""
    await agent.registered(bundle)
    first = agent.record(TINY)["size_bytes"]
    (bundle / "notes.txt").write_bytes(b"x" * 1000)

    await agent.parts.refresher.refresh(TINY)
    second = agent.record(TINY)["size_bytes"]
    lose(bundle)
    await agent.parts.refresher.refresh(TINY)

    assert second == first + 1000
    assert agent.record(TINY)["size_bytes"] == second


async def test_a_bundle_that_was_never_valid_stays_invalid(agent: "Parts", bundle: Path) -> None:
    """R13: no look makes it degraded; a rebuild does not either."""
    lose(bundle)
    await agent.registered(bundle, allow_unhealthy=True)

    await agent.call("reconcile")
    await agent.call("rebuild_model_index")

    assert await agent.states(TINY) == {INVALID}
    assert agent.record(TINY)["import_state"] == "failed"


async def test_an_import_state_that_another_program_left_behind_is_mended(agent: "Parts", bundle: Path) -> None:
    """A record that says failed of a bundle that is valid says ready after the next look."""
    await agent.registered(bundle)
    agent.edit(TINY, import_state="failed")

    await agent.call("reconcile")

    assert agent.record(TINY)["import_state"] == "ready"


@pytest.mark.parametrize(
    ("import_state", "validation_state", "expected"),
    [(None, "valid", DEGRADED), (None, "degraded", INVALID), (None, None, INVALID), ("ready", None, DEGRADED)],
)
async def test_a_record_without_an_import_state_counts_as_its_verdict_says(
    agent: "Parts", bundle: Path, import_state: str | None, validation_state: str | None, expected: AssetValidationState
) -> None:
    """contracts: a null counts as ready when the record says valid, else as failed."""
    await agent.registered(bundle)
    lose(bundle)
    agent.edit(TINY, import_state=import_state, validation_state=validation_state)

    await agent.call("reconcile")

    assert await agent.states(TINY) == {expected}


async def test_a_record_without_any_path_is_invalid(agent: "Parts", bundle: Path) -> None:
    """Case descriptor-006: missing_entry_path, whatever it was before; with a path it is well again, and at once."""
    await agent.registered(bundle)
    agent.edit(TINY, entry_path=None, source_path=None)
    await agent.call("reconcile")
    without = await agent.states(TINY), [e["code"] for e in agent.record(TINY)["validation_errors"]]

    agent.edit(TINY, entry_path=str(bundle))
    await agent.library.write(lambda store: store.index_one(TINY))
    answer = await agent.resolve(TINY)

    assert without == ({INVALID}, ["missing_entry_path"])
    assert answer["entry_path"] == str(bundle)
    assert await agent.states(TINY) == {VALID}


async def test_a_record_with_a_source_path_alone_is_judged_there(agent: "Parts", bundle: Path) -> None:
    """Reference section 3: only a record with neither path lacks an entry path."""
    await agent.registered(bundle)
    agent.edit(TINY, entry_path=None)

    await agent.call("reconcile")

    assert await agent.states(TINY) == {VALID}
    assert (await agent.resolve(TINY))["entry_path"] == str(bundle)


async def test_a_bundle_of_the_library_is_judged_where_it_lies(agent: "Parts", bundle: Path) -> None:
    """Case descriptor-002: its folder is its entry path, whatever is stored; a second look writes nothing."""
    fields = {"bundle_format": "diffusers_directory", "storage_kind": "library_owned", "entry_path": "/elsewhere"}
    folder = await agent.create("diffusion/f/owned", **fields)
    await agent.call("reconcile")
    empty = await agent.states("diffusion/f/owned")
    shutil.copytree(bundle, folder, dirs_exist_ok=True)

    await agent.call("reconcile")
    written = await agent.written()
    await agent.call("reconcile")
    answer = await agent.resolve("diffusion/f/owned")
    unchanged = await agent.written() == written
    shutil.rmtree(folder / "vae")
    await agent.call("reconcile", model_id="diffusion/f/owned")

    assert (empty, answer["entry_path"], unchanged) == ({INVALID}, str(folder), True)
    assert await agent.states("diffusion/f/owned") == {DEGRADED}
    assert agent.record("diffusion/f/owned")["entry_path"] == "/elsewhere"


@pytest.mark.parametrize("healthy", [True, False])
async def test_what_is_known_already_is_not_written(agent: "Parts", bundle: Path, healthy: bool) -> None:
    """Law 8, R19: no byte, no transaction, no event; not by a look, not by a lookup, not after a restart."""
    if not healthy:
        lose(bundle)
    await agent.registered(bundle, allow_unhealthy=True)
    await agent.call("reconcile")
    before = await agent.written()

    await agent.call("reconcile")
    await agent.call("reconcile", model_id=TINY)
    await agent.states(TINY)
    await agent.start()
    report = await agent.call("reconcile")

    assert await agent.written() == before
    assert report["models_changed"] == []


@pytest.mark.usefixtures("calm")
async def test_a_touched_bundle_is_judged_once_and_nothing_is_written(
    agent: "Parts", bundle: Path, judge: "HeldJudge"
) -> None:
    """R19: the same bytes are the same verdict; only the signature is another one."""
    await agent.registered(bundle)
    await agent.resolve(TINY)
    before = await agent.written()
    looks = len(judge.looks)

    touch_all(bundle)
    await agent.resolve(TINY)
    await agent.resolve(TINY)

    assert len(judge.looks) == looks + 1
    assert await agent.written() == before


# --- restart, reindex ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("healthy", [True, False])
async def test_a_rebuild_and_a_restart_change_no_id_path_or_state(agent: "Parts", bundle: Path, healthy: bool) -> None:
    """R9, R16, R23: the same rows, byte for byte, from the metadata files alone."""
    await agent.registered(bundle)
    if not healthy:
        lose(bundle)
    await agent.call("reconcile")
    before = list(await agent.library.read(lambda index: list(index.rows())))

    await agent.call("rebuild_model_index")
    await agent.start()
    await agent.call("reconcile")

    assert await agent.library.read(lambda index: list(index.rows())) == before
    assert await agent.states(TINY) == {VALID if healthy else DEGRADED}


async def test_a_rebuild_finds_what_drifted(agent: "Parts", bundle: Path) -> None:
    """R16, R23, cases rebuild-006 and rebuild-007: reindexing judges each external bundle."""
    await agent.registered(bundle)
    shutil.rmtree(bundle)

    report = await agent.call("rebuild_model_index")

    assert (report["indexed_count"], report["removed"]) == (1, 0)
    assert await agent.states(TINY) == {DEGRADED}
    assert json.loads(agent.library.layout.metadata_path(TINY).read_text())["entry_path"] == str(bundle)
