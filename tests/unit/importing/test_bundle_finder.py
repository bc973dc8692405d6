"""What is said about bundles that are found, and how long a caller waits for it."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.bundles import Look, look
from pumas_agent.bundles.discovery import Search, find_bundles
from pumas_agent.cli.register import DEFAULT_FAMILY as DEFAULT_OF_REGISTER
from pumas_agent.contracts.discovery import BundleHealth, DiscoveredBundle, DiscoveryReport
from pumas_agent.contracts.errors import AssetUnresponsive, PathNotAbsolute
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.importing import BundleFinder, discovery
from pumas_agent.importing.record import DEFAULT_FAMILY
from pumas_agent.library import Catalog

REPOSITORY = "models--Acme--Tiny"


class Judge:
    """Looks at real bundles, but those in `silent` do not answer, in `busy` are being written, in `slow` never end."""

    def __init__(self) -> None:
        self.silent: set[Path] = set()
        self.busy: set[Path] = set()
        self.slow: set[Path] = set()

    async def __call__(self, root: Path) -> Look:
        if root in self.silent:
            raise AssetUnresponsive(f"{root} did not answer")
        if root in self.slow:
            await asyncio.Event().wait()
        seen = look(root)
        if root not in self.busy:
            return seen
        return Look(
            seen.report,
            signature=None,
            racy=True,
            local=True,
            beside=(),
            mount=None,
            inode=None,
            judged_at=seen.judged_at,
        )


@pytest.fixture
def judge() -> Judge:
    return Judge()


def _finder(tmp_path: Path, judge: Judge) -> BundleFinder:
    return BundleFinder(Catalog(), tmp_path / "library", judge, [tmp_path])


async def _find(finder: BundleFinder, *folders: Path) -> DiscoveryReport:
    return await finder.find([str(folder) for folder in folders] or None, lambda *_: None)


def _by_name(report: DiscoveryReport) -> dict[str, DiscoveredBundle]:
    return {bundle.official_name: bundle for bundle in report.bundles}


def _write(root: Path, **index: Any) -> Path:
    write_stable_diffusion_bundle(root)
    path = root / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | index))
    return root


async def test_each_bundle_has_its_health(tmp_path: Path, judge: Judge) -> None:
    """`unsupported` is a whole bundle of another task; `unjudged` one of which nothing can be said now."""
    _write(tmp_path / "whole")
    (_write(tmp_path / "broken") / "unet").rename(tmp_path / "unet")
    _write(tmp_path / "inpaint", _class_name="StableDiffusionInpaintPipeline")
    judge.silent = {_write(tmp_path / "silent")}
    judge.busy = {_write(tmp_path / "busy")}

    found = _by_name(await _find(_finder(tmp_path, judge)))

    assert {name: bundle.health for name, bundle in found.items()} == {
        "whole": BundleHealth.VALID,
        "broken": BundleHealth.INVALID,
        "inpaint": BundleHealth.UNSUPPORTED,
        "silent": BundleHealth.UNJUDGED,
        "busy": BundleHealth.UNJUDGED,
    }
    assert {name: bundle.first_finding.code for name, bundle in found.items() if bundle.first_finding} == {
        "broken": "missing_component",
        "inpaint": "unsupported_pipeline",
        "silent": "asset_unresponsive",
        "busy": "bundle_settling",
    }


async def test_a_snapshot_is_named_after_its_repository(tmp_path: Path, judge: Judge) -> None:
    """Owner as family, repository as name; what lies elsewhere is `imported` under its folder's name."""
    _write(tmp_path / REPOSITORY / "snapshots" / "a1")
    _write(tmp_path / REPOSITORY / "snapshots" / "b2" / "turbo")
    _write(tmp_path / "models--gpt2" / "snapshots" / "c3")
    _write(tmp_path / "My Model")

    report = await _find(_finder(tmp_path, judge))

    assert {bundle.model_id: (bundle.family, bundle.official_name, bundle.repo_id) for bundle in report.bundles} == {
        "diffusion/acme/tiny": ("Acme", "Tiny", "Acme/Tiny"),
        "diffusion/acme/tiny_turbo": ("Acme", "Tiny turbo", "Acme/Tiny"),
        "diffusion/imported/gpt2": ("imported", "gpt2", "gpt2"),
        "diffusion/imported/my_model": ("imported", "My Model", None),
    }
    assert DEFAULT_FAMILY == DEFAULT_OF_REGISTER


async def test_the_size_is_that_of_the_files_behind_links_each_once(tmp_path: Path, judge: Judge) -> None:
    """All files of a cache are links into its blobs."""
    plain = _write(tmp_path / "plain")
    size = sum(path.stat().st_size for path in plain.rglob("*") if path.is_file())
    for path in [path for path in plain.rglob("*") if path.is_file()]:
        linked = tmp_path / "linked" / path.relative_to(plain)
        linked.parent.mkdir(parents=True, exist_ok=True)
        linked.symlink_to(path)
    (tmp_path / "linked" / "unet" / "again").symlink_to(plain / "vae" / "config.json")

    found = _by_name(await _find(_finder(tmp_path, judge)))

    assert {name: bundle.size_bytes for name, bundle in found.items()} == {"plain": size, "linked": size}


async def test_a_bundle_that_two_folders_lead_to_is_told_once(tmp_path: Path, judge: Judge) -> None:
    """In the order of the folders."""
    _write(tmp_path / "a" / "first")
    _write(tmp_path / "b" / "second")

    report = await _find(_finder(tmp_path, judge), tmp_path / "b", tmp_path, tmp_path / "b" / "second")

    assert [bundle.official_name for bundle in report.bundles] == ["second", "first"]
    assert report.searched == (str(tmp_path / "b"), str(tmp_path), str(tmp_path / "b" / "second"))


async def test_a_relative_path_is_refused(tmp_path: Path, judge: Judge) -> None:
    """The agent has no working directory that a caller could know."""
    with pytest.raises(PathNotAbsolute):
        await _find(_finder(tmp_path, judge), Path("models"))


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """A folder `dead` whose filesystem does not answer until the end of the test; every search that began."""
    began: list[Path] = []
    answers = threading.Event()

    def find(folder: Path, **bounds: Any) -> Search:
        began.append(folder)
        if folder.name == "dead":
            answers.wait()
        return find_bundles(folder, **bounds)

    monkeypatch.setattr(discovery, "find_bundles", find)
    monkeypatch.setattr(discovery, "SEARCH_S", 0.2)
    monkeypatch.setattr(discovery, "_GRACE_S", 0.1)
    yield began
    answers.set()
    for thread in threading.enumerate():
        if thread.name == "find-bundles":
            thread.join()


async def test_a_filesystem_that_hangs_is_told_and_asked_once(
    tmp_path: Path, judge: Judge, hanging: list[Path]
) -> None:
    """The other folders are searched all the same; no further thread is given to the one that hangs."""
    _write(tmp_path / "alive" / "sdxl")
    finder = _finder(tmp_path, judge)
    dead = tmp_path / "dead"

    reports = [await _find(finder, dead, tmp_path / "alive") for _ in range(3)]

    assert hanging.count(dead) == 1
    for report in reports:
        assert [bundle.official_name for bundle in report.bundles] == ["sdxl"]
        assert [(left.path, left.reason) for left in report.not_searched] == [
            (str(dead), "its filesystem did not answer in time")
        ]
        assert report.truncated


async def test_what_there_was_no_time_to_judge_is_told_all_the_same(
    tmp_path: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found, with its names, and `unjudged`."""
    judge.slow = {_write(tmp_path / "sdxl")}
    monkeypatch.setattr(discovery, "JUDGE_S", 0.05)

    report = await _find(_finder(tmp_path, judge))

    assert [(bundle.official_name, bundle.health) for bundle in report.bundles] == [("sdxl", BundleHealth.UNJUDGED)]
    assert report.truncated
