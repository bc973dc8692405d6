"""What a look at a scope does: metadata files first, then the bundles they name; and what it never does."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.agent.assembly import assemble
from pumas_agent.bundles import Look, look
from pumas_agent.contracts.errors import LibraryOffline
from pumas_agent.contracts.metadata import BundleFormat, ImportState, ModelMetadata, StorageKind
from pumas_agent.contracts.records import ALL_MODELS
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.library import Library
from pumas_agent.reconcile import RECORDS_CHANGED
from pumas_agent.serving.parts import Parts
from pumas_agent.upkeep import AbsencePolicy, NothingProven

A, B, OWNED, FILE = "diffusion/f/a", "diffusion/f/b", "diffusion/f/owned", "llm/f/file"


class Judge:
    """The real one, in a thread; `looks` has every root it looked at."""

    def __init__(self) -> None:
        self.looks: list[Path] = []

    async def judge(self, root: Path, *, urgent: bool = False) -> Look:  # noqa: ARG002  there is no line to wait in
        self.looks.append(root)
        return await asyncio.to_thread(look, root)


@pytest.fixture
def judge() -> Judge:
    return Judge()


@pytest.fixture
def followed() -> list[set[str]]:
    """The models that were there each time the roots were to be followed."""
    return []


@pytest.fixture
async def parts(tmp_path: Path, judge: Judge, followed: list[set[str]]) -> AsyncIterator[Parts]:
    """A library with two external bundles, one of its own, and a file model."""
    library = await asyncio.to_thread(Library.open, tmp_path / "library", "agent")
    for model_id in (A, B):
        write_stable_diffusion_bundle(tmp_path / "models" / model_id[-1])
        await library.write(put(model_id, external(tmp_path / "models" / model_id[-1])))
    await library.write(put(OWNED, ModelMetadata(bundle_format=BundleFormat.DIFFUSERS_DIRECTORY)))
    await library.write(put(FILE, ModelMetadata()))
    write_stable_diffusion_bundle(library.layout.directory(OWNED))
    (library.layout.directory(FILE) / "a.gguf").write_bytes(b"x")

    async def follow() -> None:
        followed.append(library.catalog.ids())

    parts = await assemble(library, judge, NothingProven(), follow=follow, policy=AbsencePolicy())
    await parts.reconciler.run(ALL_MODELS, ("start",))
    judge.looks.clear()
    followed.clear()
    yield parts
    await asyncio.to_thread(library.close)


def external(root: Path) -> ModelMetadata:
    return ModelMetadata(
        storage_kind=StorageKind.EXTERNAL_REFERENCE,
        bundle_format=BundleFormat.DIFFUSERS_DIRECTORY,
        source_path=str(root),
        entry_path=str(root),
        import_state=ImportState.READY,
    )


def put(model_id: str, record: ModelMetadata) -> Any:
    return lambda store: store.create(model_id, record)


def alerts(parts: Parts) -> list[tuple[str, str | None]]:
    return sorted((alert.code.value, alert.model_id) for alert in parts.alerts.standing())


async def test_a_look_at_everything_judges_every_bundle_and_reports(parts: Parts, judge: Judge, tmp_path: Path) -> None:
    """R5, R16, R26: how many there are, what changed, and what is not well; a second one changes nothing."""
    shutil.rmtree(tmp_path / "models" / "b" / "vae")

    first = await parts.reconciler.run(ALL_MODELS, ("schedule",))
    second = await parts.reconciler.run(ALL_MODELS, ("schedule",))

    assert (first.scope, first.models_seen, first.bundles_judged) == ("*", 4, 3)
    assert (first.models_changed, first.unhealthy, first.unreadable) == ((B,), (B,), ())
    assert (second.models_changed, second.unhealthy) == ((), (B,))
    assert parts.reconciler.last_full is second
    assert len(judge.looks) == 6


async def test_a_change_of_records_judges_no_bundle_that_it_does_not_concern(
    parts: Parts, judge: Judge, tmp_path: Path
) -> None:
    """A registration must not have every other bundle judged again; those of the library's own may have changed."""
    record = tmp_path / "library" / B / "metadata.json"
    document = json.loads(record.read_text())
    document["notes"] = "edited"
    record.write_text(json.dumps(document))
    full = parts.reconciler.last_full

    report = await parts.reconciler.run(ALL_MODELS, (RECORDS_CHANGED,))

    assert set(judge.looks) == {tmp_path / "models" / "b", tmp_path / "library" / OWNED}
    assert report.models_changed == (B,)
    assert parts.reconciler.last_full is full


async def test_no_more_than_a_few_bundles_are_asked_for_at_a_time(
    parts: Parts, judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 9: what a look at everything asks of the loop at once does not grow with the library."""
    for number in range(40):
        await parts.library.write(put(f"diffusion/many/{number}", external(tmp_path / "models" / "a")))
    asked, most = 0, 0
    real = judge.judge

    async def counting(root: Path, *, urgent: bool = False) -> Look:
        nonlocal asked, most
        asked += 1
        most = max(most, asked)
        try:
            return await real(root, urgent=urgent)
        finally:
            asked -= 1

    monkeypatch.setattr(judge, "judge", counting)

    report = await parts.reconciler.run(ALL_MODELS, ("schedule",))

    assert report.bundles_judged == 43
    assert most == 16


async def test_a_look_at_one_model_looks_at_that_one(parts: Parts, judge: Judge, tmp_path: Path) -> None:
    """R26: others may be as broken as they like."""
    for name in ("a", "b"):
        shutil.rmtree(tmp_path / "models" / name)

    report = await parts.reconciler.run(A, ("event",))

    entry = parts.library.catalog.get(B)
    assert (report.scope, report.models_seen, report.bundles_judged) == (A, 1, 1)
    assert (report.models_changed, report.unhealthy) == ((A,), (A,))
    assert judge.looks == [tmp_path / "models" / "a"]
    assert entry is not None
    assert entry.validation_state == "valid"


async def test_an_edit_of_a_record_is_seen_and_named(parts: Parts) -> None:
    """The row follows the file (law 2), whatever the bundle says."""
    path = parts.library.layout.metadata_path(A)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"notes": "by hand"}))

    report = await parts.reconciler.run(ALL_MODELS, ("event",))

    row = await parts.library.read(lambda index: index.row(A))
    assert report.models_changed == (A,)
    assert row is not None
    assert json.loads(row.metadata_json)["notes"] == "by hand"


async def test_roots_are_followed_before_they_are_judged(
    parts: Parts, judge: Judge, followed: list[set[str]], tmp_path: Path
) -> None:
    """What happens after the judgement of a new model is seen."""
    write_stable_diffusion_bundle(tmp_path / "models" / "c")
    folder = parts.library.layout.directory("diffusion/f/c")
    folder.mkdir()
    (folder / "metadata.json").write_text(json.dumps(external(tmp_path / "models" / "c").to_document()))
    looks_when_followed: list[int] = []
    judge_now = parts.reconciler._follow

    async def follow() -> None:
        looks_when_followed.append(len(judge.looks))
        await judge_now()

    parts.reconciler._follow = follow
    await parts.reconciler.run(ALL_MODELS, ("event",))

    assert followed == [{A, B, OWNED, FILE, "diffusion/f/c"}]
    assert looks_when_followed == [0]


async def test_an_external_reference_is_only_ever_judged(parts: Parts, tmp_path: Path) -> None:
    """R5, R17: not adopted, staged, moved, merged or removed, whatever its record looks like."""
    before = {}
    for number, (model_id, odd) in enumerate(
        {
            A: {"family": "Another", "model_type": "llm", "official_name": "Renamed", "repo_id": "acme/tiny"},
            B: {"repo_id": "acme/tiny", "expected_files": ["x.gguf"], "match_source": "download_partial"},
        }.items()
    ):
        path = parts.library.layout.metadata_path(model_id)
        path.write_text(json.dumps(json.loads(path.read_text()) | odd))
        (path.parent / f"{number}.gguf.part").write_bytes(b"x")
        before[model_id] = (path.stat().st_ino, json.loads(path.read_text())["family"])

    for scope in (ALL_MODELS, A, B):
        await parts.reconciler.run(scope, ("event",))
    await parts.reconciler.rebuild()

    paths = {model_id: parts.library.layout.metadata_path(model_id) for model_id in before}
    assert {key: (path.stat().st_ino, json.loads(path.read_text())["family"]) for key, path in paths.items()} == before
    assert parts.library.catalog.ids() == {A, B, OWNED, FILE}
    assert sorted(path.name for path in tmp_path.joinpath("models").iterdir()) == ["a", "b"]


async def test_nothing_that_can_be_seen_of_an_external_model_drops_it(parts: Parts, tmp_path: Path) -> None:
    """Law 4: its bundle, its record, its whole registry folder gone: degraded or said, and registered."""
    shutil.rmtree(tmp_path / "models")
    shutil.rmtree(parts.library.layout.directory(B))

    report = await parts.reconciler.run(ALL_MODELS, ("event",))

    assert {A, B} <= parts.library.catalog.ids()
    assert (report.unhealthy, report.unreadable) == ((A, B), (B,))
    assert alerts(parts) == [("bundle_missing", A), ("bundle_missing", B), ("metadata_corrupt", B)]


async def test_a_model_of_the_library_that_is_gone_takes_its_alerts_with_it(parts: Parts) -> None:
    """Case rebuild-009: its folder is its files; nothing is left to say about it."""
    shutil.rmtree(parts.library.layout.directory(OWNED) / "vae")
    await parts.reconciler.run(OWNED, ("event",))
    stood = alerts(parts)
    shutil.rmtree(parts.library.layout.directory(OWNED))

    report = await parts.reconciler.run(ALL_MODELS, ("event",))

    assert stood == [("bundle_incomplete", OWNED)]
    assert report.models_changed == (OWNED,)
    assert alerts(parts) == []
    assert parts.refresher.verdict(OWNED) is None


async def test_a_library_that_is_offline_is_said_and_nothing_is_concluded(parts: Parts, tmp_path: Path) -> None:
    """Law 4: an empty folder in its place; every model stays, and the alert goes with the first good look."""
    root = parts.library.layout.root
    root.rename(tmp_path / "unplugged")
    root.mkdir()

    for scope in (ALL_MODELS, A):
        with pytest.raises(LibraryOffline):
            await parts.reconciler.run(scope, ("event",))
    with pytest.raises(LibraryOffline):
        await parts.reconciler.rebuild()
    stood, models = alerts(parts), parts.library.catalog.ids()
    left = list(os.scandir(root))
    root.rmdir()
    (tmp_path / "unplugged").rename(root)
    report = await parts.reconciler.run(ALL_MODELS, ("retry",))

    assert (stood, models, left) == ([("library_offline", None)], {A, B, OWNED, FILE}, [])
    assert alerts(parts) == []
    assert report.models_changed == ()


async def test_a_look_tells_how_far_it_is(parts: Parts) -> None:
    """From the metadata to the last bundle."""
    told: list[tuple[str, int, int | None, str]] = []

    await parts.reconciler.run(ALL_MODELS, ("asked",), lambda *step: told.append(step))
    whole = told[:]
    told.clear()
    await parts.reconciler.rebuild(lambda *step: told.append(step))

    assert whole[0] == ("reading metadata", 0, None, "models")
    assert [step[1:] for step in whole[1:]] == [(done, 3, "bundles") for done in (1, 2, 3)]
    assert told[0][0] == "rebuilding the index"
    assert told[-1] == ("judging", 3, 3, "bundles")


async def test_whoever_asks_sees_that_it_is_looking(parts: Parts) -> None:
    """`indexing` of the library's state, for a look and for a rebuild, and no longer than that."""
    seen: list[bool] = []

    await parts.reconciler.run(ALL_MODELS, ("asked",), lambda *_: seen.append(parts.reconciler.running))
    await parts.reconciler.rebuild(lambda *_: seen.append(parts.reconciler.running))

    assert set(seen) == {True}
    assert not parts.reconciler.running


async def test_a_file_model_that_was_looked_up_follows_its_folder(parts: Parts, judge: Judge) -> None:
    """R7: no bundle is judged for it."""
    folder = parts.library.layout.directory(FILE)
    await parts.refresher.current(FILE)
    (folder / "b.gguf").write_bytes(b"xx")

    report = await parts.reconciler.run(FILE, ("event",))

    verdict = parts.refresher.verdict(FILE)
    assert verdict is not None
    assert verdict.entry_path == str(folder / "b.gguf")
    assert (report.bundles_judged, judge.looks) == (0, [])
