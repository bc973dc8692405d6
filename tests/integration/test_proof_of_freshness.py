"""The proof that nothing happened: it holds while nothing does, and fails from the moment anything has.

The kernel queues an event before the call that caused it returns, so each assertion stands right behind the change,
without a wait. For every kind of change that inotify sees.
"""

import mmap
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pumas_agent.bundles import look
from pumas_agent.demo.bundles import BundleKind, as_cache_snapshot, write_bundle
from pumas_agent.watching import WatchdogWatcher

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify alone proves anything")

DEADLINE_S = 10.0
Change = Callable[[Path], object]


@pytest.fixture
def watcher() -> Iterator[WatchdogWatcher]:
    watcher = WatchdogWatcher(lambda _scope, _reason: None)
    watcher.start()
    yield watcher
    watcher.stop()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "grand" / "parent" / "bundle"
    (root / "unet" / "deep").mkdir(parents=True)
    for name in ("model_index.json", "unet/config.json", "unet/deep/file"):
        (root / name).write_text("some content")
    (root / "link").symlink_to("unet/config.json")
    (root.parent / "sibling").mkdir()
    return root


class Proof:
    """What is asked after a bundle was found to be well."""

    def __init__(self, watcher: WatchdogWatcher, root: Path, beside: tuple[str, ...] = ()) -> None:
        self._watcher = watcher
        self._root = str(root)
        self._beside = beside
        self.point = watcher.now()

    @property
    def holds(self) -> bool:
        return self._watcher.nothing_since(self.point, "m", self._root, self._beside, in_library=False)

    def settled(self) -> "Proof":
        """A point of which the proof holds: all events until now have been handled."""
        deadline = time.monotonic() + DEADLINE_S
        while not self.holds:
            assert time.monotonic() < deadline, "nothing is ever proven"
            self.point = self._watcher.now()
            threading.Event().wait(0.001)
        return self


def write_in_place(path: Path) -> int:
    """Through a descriptor that stays open; the descriptor."""
    descriptor = os.open(path, os.O_WRONLY)
    os.pwrite(descriptor, b"X", 0)
    return descriptor


def link_elsewhere(link: Path) -> None:
    link.unlink()
    link.symlink_to("nowhere")


def write_by_map(path: Path) -> None:
    """A store through a map has no event; closing the writable descriptor behind it has."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[0] = 88


CHANGES: dict[str, Change] = {
    "a file is created": lambda root: (root / "unet" / "new").touch(),
    "a file is deleted": lambda root: (root / "unet" / "config.json").unlink(),
    "a file is written": lambda root: (root / "unet" / "config.json").write_text("x"),
    "a file is written in place": lambda root: write_in_place(root / "model_index.json"),
    "a file is written through a map": lambda root: write_by_map(root / "model_index.json"),
    "a file is truncated by its path": lambda root: os.truncate(root / "model_index.json", 3),
    "a file is renamed": lambda root: (root / "model_index.json").rename(root / "other"),
    "a file is moved out": lambda root: (root / "model_index.json").rename(root.parent / "other"),
    "a file is replaced": lambda root: (
        shutil.copy(root / "link", root / "new") and (root / "new").replace(root / "link")
    ),
    "a mode changes": lambda root: (root / "unet" / "deep" / "file").chmod(0),
    "times are set": lambda root: os.utime(root / "unet" / "deep" / "file", (1, 1)),
    "an attribute is set": lambda root: os.setxattr(root / "model_index.json", "user.a", b"x"),
    "a link leads elsewhere": lambda root: link_elsewhere(root / "link"),
    "a folder is created": lambda root: (root / "unet" / "new").mkdir(),
    "a folder is deleted": lambda root: shutil.rmtree(root / "unet" / "deep"),
    "a folder is renamed": lambda root: (root / "unet").rename(root / "UNET"),
    "a folder's mode changes": lambda root: (root / "unet").chmod(0o500),
    "the root's mode changes": lambda root: root.chmod(0o500),
    "the root is renamed": lambda root: root.rename(root.parent / "elsewhere"),
    "the root is moved into another folder": lambda root: root.rename(root.parent / "sibling" / "bundle"),
    "the root is deleted": shutil.rmtree,
    "the parent is renamed": lambda root: root.parent.rename(root.parent.with_name("elsewhere")),
    "the grandparent is renamed": lambda root: root.parents[1].rename(root.parents[1].with_name("elsewhere")),
    "the root is exchanged": lambda root: exchange(root, root.parent / "sibling"),
}


def exchange(one: Path, other: Path) -> None:
    """As `renameat2` with RENAME_EXCHANGE does in one step."""
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


@pytest.mark.parametrize("change", CHANGES)
def test_no_proof_outlives_a_change(watcher: WatchdogWatcher, bundle: Path, change: str) -> None:
    """At once after the call returned, and for good: until somebody has looked again."""
    watcher.watch_bundle("m", bundle)
    proof = Proof(watcher, bundle).settled()

    opened = CHANGES[change](bundle)
    at_once = proof.holds
    again = [proof.holds for _ in range(200)]
    if isinstance(opened, int):
        os.close(opened)

    assert not at_once
    assert not any(again)


def test_a_change_in_a_new_folder_is_no_exception(watcher: WatchdogWatcher, bundle: Path) -> None:
    """Also deep in it, and a moment after it was made: before the reader can have watched it."""
    watcher.watch_bundle("m", bundle)
    for number in range(50):
        proof = Proof(watcher, bundle).settled()
        deep = bundle / f"new{number}" / "a" / "b"
        deep.mkdir(parents=True)
        assert not proof.holds
        proof = Proof(watcher, bundle)
        (deep / "file").touch()
        assert not proof.holds


def test_what_happens_elsewhere_leaves_the_proof(watcher: WatchdogWatcher, bundle: Path) -> None:
    """Another bundle's events, and reading this one."""
    other = bundle.parents[1] / "other"
    other.mkdir()
    watcher.watch_bundle("o", other)
    watcher.watch_bundle("m", bundle)
    proof = Proof(watcher, bundle).settled()

    (other / "file").write_text("x")
    (bundle / "model_index.json").read_bytes()
    list(bundle.iterdir())

    until(lambda: proof.holds)


def test_nothing_is_proven_of_a_root_that_is_not_there(watcher: WatchdogWatcher, bundle: Path) -> None:
    """Nor of a bundle that nobody asked to watch, or that is compared at intervals."""
    watcher.watch_bundle("m", bundle.with_name("gone"))
    assert not Proof(watcher, bundle).holds
    watcher.unwatch_bundle("m")
    assert not Proof(watcher, bundle).holds

    polling = WatchdogWatcher(lambda _scope, _reason: None, backend="polling")
    polling.start()
    try:
        polling.watch_bundle("m", bundle)
        assert not Proof(polling, bundle).holds
    finally:
        polling.stop()


def test_the_watch_of_an_old_place_proves_nothing_of_the_new_one(watcher: WatchdogWatcher, bundle: Path) -> None:
    """Between a relocation and the watch of the new root, a lookup may judge there already."""
    new = bundle.with_name("new")
    watcher.watch_bundle("m", bundle)
    Proof(watcher, bundle).settled()
    shutil.copytree(bundle, new, symlinks=True)

    assert not Proof(watcher, new).holds
    watcher.watch_bundle("m", new)
    Proof(watcher, new).settled()

    assert not Proof(watcher, bundle).holds


def test_the_blobs_of_a_cache_belong_to_the_snapshot(watcher: WatchdogWatcher, tmp_path: Path) -> None:
    """A verdict names the folders that its links lead to; nothing is proven before these are watched, all after."""
    write_bundle(BundleKind.STABLE_DIFFUSION, tmp_path / "whole")
    snapshot = as_cache_snapshot(tmp_path / "whole", tmp_path / "cache", repo_id="org/tiny")
    blobs = snapshot.parents[1] / "blobs"
    seen = look(snapshot)
    assert seen.beside == (str(blobs), str(blobs.with_name("refs")))
    watcher.watch_bundle("m", snapshot)
    assert not Proof(watcher, snapshot, seen.beside).holds
    watcher.watch_bundle("m", snapshot, seen.beside)
    proof = Proof(watcher, snapshot, seen.beside).settled()

    os.truncate(next(blobs.iterdir()), 1)

    assert not proof.holds
    assert not any(proof.holds for _ in range(200))


@pytest.mark.parametrize("how", ["a hard link", "a link by way of a link", "a root behind a link"])
def test_what_watching_cannot_tell_is_never_proven(tmp_path: Path, how: str) -> None:
    """Writes by another name, and links that are changed somewhere on the way, have no event here."""
    write_bundle(BundleKind.STABLE_DIFFUSION, tmp_path / "bundle")
    root = tmp_path / "bundle"
    index = root / "model_index.json"
    if how == "a hard link":
        os.link(index, tmp_path / "other name")
    elif how == "a link by way of a link":
        index.rename(tmp_path / "index")
        (tmp_path / "hop").symlink_to("index")
        index.symlink_to(tmp_path / "hop")
    else:
        (tmp_path / "link").symlink_to("bundle")
        root = tmp_path / "link"

    seen = look(root)

    assert seen.report.is_valid
    assert seen.beside is None


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.001)
