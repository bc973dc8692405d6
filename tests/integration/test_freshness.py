"""An answer is true in the moment it is given, whatever happened to the disk the moment before."""

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.metadata import AssetValidationState
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.upkeep import verdict as verdict_module

if TYPE_CHECKING:
    from tests.integration.conftest import HeldJudge, Parts

Until = Callable[[Callable[[], object]], Awaitable[None]]
Change = Callable[[Path], object]
TINY = "diffusion/acme/tiny"
VALID, DEGRADED, INVALID = AssetValidationState


def truncate_the_index(bundle: Path) -> None:
    with (bundle / "model_index.json").open("r+") as file:
        file.truncate(10)


def replace_the_index_unseen(bundle: Path) -> None:
    """Another content of the same size, with the old times put back."""
    index = bundle / "model_index.json"
    before = index.stat()
    other = bundle / "other"
    other.write_text(index.read_text().replace("StableDiffusionPipeline", "StableDiffusionAutoencX"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(index)
    os.utime(index, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap_the_root(bundle: Path) -> None:
    """Another folder with the same name, where a component is missing."""
    other = bundle.with_name("other")
    write_stable_diffusion_bundle(other, seed=1)
    shutil.rmtree(other / "vae")
    bundle.rename(bundle.with_name("before"))
    other.rename(bundle)


def become_a_file(bundle: Path) -> None:
    shutil.rmtree(bundle)
    bundle.write_text("x")


def retarget_a_component(bundle: Path) -> None:
    """The component is a link; it leads to a folder without weights now."""
    outside = bundle.with_name("outside")
    shutil.copytree(bundle / "vae", outside, ignore=shutil.ignore_patterns("*.safetensors"))
    (bundle / "vae").unlink()
    (bundle / "vae").symlink_to(outside)


CHANGES: dict[str, tuple[Change, str]] = {
    "a component is deleted": (lambda bundle: shutil.rmtree(bundle / "unet"), "missing_component"),
    "a component is renamed": (lambda bundle: (bundle / "unet").rename(bundle / "UNET"), "missing_component"),
    "the index is deleted": (lambda bundle: (bundle / "model_index.json").unlink(), "missing_model_index"),
    "the index is cut off": (truncate_the_index, "invalid_model_index_json"),
    "the index is replaced unseen": (replace_the_index_unseen, "unknown_pipeline_class"),
    "a link leads elsewhere": (retarget_a_component, "missing_weights"),
    "the root is deleted": (shutil.rmtree, "path_not_found"),
    "the root is moved": (lambda bundle: bundle.rename(bundle.with_name("moved")), "path_not_found"),
    "the parent is moved": (lambda bundle: bundle.parent.rename(bundle.parents[1] / "moved"), "path_not_found"),
    "the root is another": (swap_the_root, "missing_component"),
    "the root is a file": (become_a_file, "path_not_directory"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("racy", [True, False])
async def test_the_very_next_answer_after_a_change_is_right(
    agent: "Parts", bundle: Path, request: pytest.FixtureRequest, until: Until, *, change: str, racy: bool
) -> None:
    """Law 6, R20, R23: without an event and without a reconcile, both within the clock's tick and long after it."""
    if not racy:
        request.getfixturevalue("calm")
    (bundle / "vae").rename(bundle / "real_vae")
    (bundle / "vae").symlink_to("real_vae")
    do, code = CHANGES[change]
    await agent.registered(bundle)
    await agent.resolve(TINY)

    do(bundle)
    refusal = await agent.refused(TINY)

    assert (refusal.validation_state, [finding["code"] for finding in refusal.findings]) == (DEGRADED, [code])
    await until(lambda: agent.record(TINY)["validation_state"] == "degraded")


@pytest.mark.usefixtures("calm")
async def test_what_has_not_changed_is_not_judged_again(agent: "Parts", bundle: Path, judge: "HeldJudge") -> None:
    """The prepared answer, byte for byte, at once; within the clock's tick each lookup judges."""
    await agent.registered(bundle)
    looks = len(judge.looks)

    answers = {agent.parts.resolver.at_once(TINY) for _ in range(3)}

    assert len(answers) == 1
    assert None not in answers
    assert len(judge.looks) == looks


async def test_within_the_clock_s_tick_each_lookup_judges(agent: "Parts", bundle: Path, judge: "HeldJudge") -> None:
    """A stamp that is as new as the look may not tell the next change."""
    await agent.registered(bundle)
    looks = len(judge.looks)

    assert agent.parts.resolver.at_once(TINY) is None
    await agent.resolve(TINY)
    await agent.resolve(TINY)

    assert len(judge.looks) == looks + 2


@pytest.mark.needs_root
@pytest.mark.usefixtures("calm")
async def test_a_bundle_that_is_closed_to_us_is_refused(agent: "Parts", short_tmp: Path, judge: "HeldJudge") -> None:
    """R20: by chmod 000 on a component or on the root; readable again, it is served again."""
    bundle = short_tmp / "tiny"
    write_stable_diffusion_bundle(bundle)
    await asyncio.to_thread(short_tmp.chmod, 0o755)
    await agent.registered(bundle)
    judge.without_rights = True
    story: list[Any] = [(await agent.resolve(TINY))["validation_state"]]

    for closed in (bundle / "vae", bundle):
        closed.chmod(0o000)
        refusal = await agent.refused(TINY)
        story.append(([finding["code"] for finding in refusal.findings], agent.alerts(TINY)))
        closed.chmod(0o755)
        story.append((await agent.resolve(TINY))["validation_state"])

    assert story == [
        VALID,
        (["component_unreadable"], ["bundle_unreadable"]),
        VALID,
        (["component_unreadable"], ["bundle_unreadable"]),
        VALID,
    ]


@pytest.mark.usefixtures("calm")
async def test_a_root_that_is_a_link_is_judged_where_it_leads_now(agent: "Parts", bundle: Path) -> None:
    """A record of another program may name a link; when it leads elsewhere, the verdict is of there."""
    other = bundle.with_name("other")
    write_stable_diffusion_bundle(other)
    shutil.rmtree(other / "vae")
    link = bundle.with_name("link")
    link.symlink_to(bundle)
    await agent.create("diffusion/f/a", storage_kind="external_reference", entry_path=str(link))
    first = await agent.resolve("diffusion/f/a")

    link.unlink()
    link.symlink_to(other)
    refusal = await agent.refused("diffusion/f/a")

    assert first["entry_path"] == str(link)
    assert [finding["path"] for finding in refusal.findings] == ["vae"]


@pytest.mark.usefixtures("calm")
async def test_a_record_that_names_another_place_is_served_from_there(agent: "Parts", bundle: Path) -> None:
    """A verdict that holds is of no use to an asset that is elsewhere now, before anybody judged it there."""
    other = bundle.with_name("other")
    write_stable_diffusion_bundle(other, seed=1)
    await agent.registered(bundle)
    agent.edit(TINY, source_path=str(other), entry_path=str(other))
    await agent.library.write(lambda store: store.index_one(TINY))

    answer = await agent.resolve(TINY)

    assert answer["entry_path"] == str(other)


@pytest.mark.usefixtures("calm")
async def test_a_bundle_with_more_entries_than_a_quick_look_takes_is_judged_each_time(
    agent: "Parts", bundle: Path, judge: "HeldJudge"
) -> None:
    """Law 9: no long walk on the loop; the answer is right all the same."""
    for number in range(verdict_module.MAX_QUICK_ENTRIES):
        (bundle / f"{number}.txt").touch()
    await agent.registered(bundle)
    looks = len(judge.looks)

    answer = await agent.resolve(TINY)
    shutil.rmtree(bundle / "vae")
    refusal = await agent.refused(TINY)

    assert len(judge.looks) == looks + 2
    assert (answer["validation_state"], refusal.validation_state) == (VALID, DEGRADED)


async def test_a_bundle_that_does_not_hold_still_is_refused_as_settling(
    agent: "Parts", bundle: Path, judge: "HeldJudge", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be promised of what changes at each look; the record keeps its last verdict, and it recovers."""
    await agent.registered(bundle)
    real, number = judge.judge, 0

    async def restless(root: Path, *, urgent: bool = False) -> Any:
        nonlocal number
        number += 1
        seen = await real(root, urgent=urgent)
        (bundle / "scheduler" / f"{number}.part").touch()
        return seen

    monkeypatch.setattr(judge, "judge", restless)
    refusal = await agent.refused(TINY)
    monkeypatch.undo()

    assert (refusal.settling, refusal.findings, refusal.validation_state) == (True, [], DEGRADED)
    assert agent.record(TINY)["validation_state"] == "valid"
    assert (await agent.resolve(TINY))["validation_state"] == VALID


async def test_a_lookup_during_an_older_judgement_does_not_get_its_verdict(
    agent: "Parts", bundle: Path, judge: "HeldJudge", until: Until
) -> None:
    """Law 6: what the judgement saw is not so any more when the question comes."""
    await agent.registered(bundle)
    judge.hold()
    older = asyncio.create_task(agent.parts.refresher.refresh(TINY))
    await until(judge.in_hand.is_set)

    shutil.rmtree(bundle / "unet")
    lookup = asyncio.create_task(agent.refused(TINY))
    judge.go_on.set()
    verdict, refusal = await older, await lookup

    assert verdict.is_valid
    assert refusal.validation_state == DEGRADED


async def test_many_lookups_at_once_share_their_judgements(agent: "Parts", bundle: Path, judge: "HeldJudge") -> None:
    """A crowd costs two looks at most, and everybody is told the same."""
    await agent.registered(bundle)
    looks = len(judge.looks)

    answers = await asyncio.gather(*(agent.resolve(TINY) for _ in range(50)))

    assert len({json.dumps(answer) for answer in answers}) <= 2
    assert len(judge.looks) <= looks + 2
