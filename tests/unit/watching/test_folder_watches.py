"""Which folders are watched when what is above them moves at the worst moment."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pumas_agent.watching.folder_watches import FolderWatches
from pumas_agent.watching.kernel import MASK, Inotify

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

PARTS = ("scheduler", "text_encoder", "unet", "unet/deep", "vae")


class Interrupted(Inotify):
    """Does something to the disk before a folder is watched for the first time, and something else after it."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[str, Callable[[], object]] = {}
        self.after: dict[str, Callable[[], object]] = {}

    def add(self, path: str, mask: int = MASK, via: str | None = None) -> int:
        self.before.pop(path, bool)()
        try:
            return super().add(path, mask, via)
        finally:
            self.after.pop(path, bool)()


@pytest.fixture
def inotify() -> Iterator[Interrupted]:
    inotify = Interrupted()
    yield inotify
    inotify.close()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    bundle = tmp_path / "disk" / "bundle"
    for part in PARTS:
        (bundle / part).mkdir(parents=True)
    return bundle


def assert_whole(folders: FolderWatches[str], inotify: Inotify, bundle: Path) -> None:
    expected = {str(bundle), *(str(path) for path in bundle.rglob("*"))}
    assert {path for path in expected if ("owner", path) in folders.users(inotify.add(path))} == expected
    assert len(folders) == len(expected)


@pytest.mark.parametrize("part", PARTS)
def test_a_folder_above_that_is_renamed_and_back_costs_no_folder_its_watch(
    inotify: Interrupted, bundle: Path, part: str
) -> None:
    """No event within the root tells of it, so nothing would ever watch what was missed."""
    folders: FolderWatches[str] = FolderWatches(inotify)
    disk, away = bundle.parent, bundle.parent.with_name("renamed")
    inotify.before[str(bundle / part)] = lambda: disk.rename(away)
    inotify.after[str(bundle / part)] = lambda: away.rename(disk)

    folders.begin("owner", str(bundle), recursive=True)

    assert_whole(folders, inotify, bundle)


def test_a_twin_that_stands_there_for_a_moment_is_not_taken_for_the_root(inotify: Interrupted, bundle: Path) -> None:
    disk, away, twin = bundle.parent, bundle.parent.with_name("renamed"), bundle.parent.with_name("twin")
    (twin / "bundle" / "unet").mkdir(parents=True)

    def exchange() -> None:
        disk.rename(away)
        twin.rename(disk)

    def back() -> None:
        disk.rename(twin)
        away.rename(disk)

    folders: FolderWatches[str] = FolderWatches(inotify)
    inotify.before[str(bundle / "unet")] = exchange
    inotify.after[str(bundle / "unet")] = back

    folders.begin("owner", str(bundle), recursive=True)

    assert_whole(folders, inotify, bundle)


def test_a_folder_that_comes_while_the_root_is_elsewhere_is_not_passed_over(inotify: Interrupted, bundle: Path) -> None:
    """That a folder came was told once. When it cannot be found by the root's path, the root has to be watched anew."""
    folders: FolderWatches[str] = FolderWatches(inotify)
    folders.begin("owner", str(bundle), recursive=True)
    disk, away = bundle.parent, bundle.parent.with_name("renamed")
    (bundle / "new").mkdir()
    disk.rename(away)

    with pytest.raises(OSError, match="No such file"):
        folders.add("owner", str(bundle / "new"))


def test_a_folder_that_comes_below_a_twin_of_the_root_is_not_watched(inotify: Interrupted, bundle: Path) -> None:
    folders: FolderWatches[str] = FolderWatches(inotify)
    folders.begin("owner", str(bundle), recursive=True)
    before = len(folders)
    bundle.parent.rename(bundle.parent.with_name("renamed"))
    (bundle / "new").mkdir(parents=True)

    with pytest.raises(OSError, match="moved"):
        folders.add("owner", str(bundle / "new"))

    assert len(folders) == before
    held = Path(f"/proc/self/fdinfo/{inotify.descriptor}").read_text().count("inotify wd:")
    assert held == before, "the twin stays watched"


def test_a_folder_that_came_and_is_gone_is_passed_over(inotify: Interrupted, bundle: Path) -> None:
    """Its going is an event of its own: the root need not be watched anew for it."""
    folders: FolderWatches[str] = FolderWatches(inotify)
    folders.begin("owner", str(bundle), recursive=True)

    folders.add("owner", str(bundle / "gone"))

    assert_whole(folders, inotify, bundle)


def test_a_root_that_ended_takes_no_more_folders(inotify: Interrupted, bundle: Path) -> None:
    folders: FolderWatches[str] = FolderWatches(inotify)
    folders.begin("owner", str(bundle), recursive=True)
    folders.end("owner")

    folders.add("owner", str(bundle / "unet"))

    assert len(folders) == 0
