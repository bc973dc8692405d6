"""Bundle roots on a real filesystem: what marks, what does not, and that a root may go and come."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pumas_agent.watching import WatchdogWatcher

DEADLINE_S = 10.0


class Marks:
    """What was marked, with a wait for a condition on it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.seen: list[tuple[str, str]] = []

    def __call__(self, scope: str, reason: str) -> None:
        with self._changed:
            self.seen.append((scope, reason))
            self._changed.notify_all()

    def scopes(self) -> set[str]:
        return {scope for scope, _ in self.seen}

    def clear(self) -> None:
        with self._changed:
            self.seen.clear()

    def wait(self, scope: str, reason: str | None = None) -> None:
        def there() -> bool:
            return any(mark[0] == scope and reason in (None, mark[1]) for mark in self.seen)

        with self._changed:
            assert self._changed.wait_for(there, DEADLINE_S), f"no mark of {scope} ({reason}) in {self.seen}"


@pytest.fixture
def marks() -> Marks:
    return Marks()


@pytest.fixture
def watcher(marks: Marks) -> Iterator[WatchdogWatcher]:
    watcher = WatchdogWatcher(marks)
    watcher.start()
    yield watcher
    watcher.stop()


@pytest.fixture
def sentinel(watcher: WatchdogWatcher, marks: Marks, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], None]:
    """Write in another bundle and wait for its mark: whatever happened before has then been delivered."""
    root = tmp_path_factory.mktemp("sentinel")
    watcher.watch_bundle("sentinel", root)

    def write_and_wait() -> None:
        (root / "file").write_text("x")
        marks.wait("sentinel")

    return write_and_wait


def make_bundle(root: Path) -> Path:
    (root / "unet").mkdir(parents=True)
    (root / "model_index.json").write_text("{}")
    (root / "unet" / "weights").write_bytes(b"x" * 10)
    return root


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        threading.Event().wait(0.005)


CHANGES: dict[str, Callable[[Path], object]] = {
    "create": lambda root: (root / "new").write_text("x"),
    "create_folder": lambda root: (root / "unet" / "deep").mkdir(),
    "modify": lambda root: (root / "unet" / "weights").write_bytes(b"y" * 10),
    "truncate": lambda root: os.truncate(root / "unet" / "weights", 3),
    "rename": lambda root: (root / "unet").rename(root / "vae"),
    "delete": lambda root: (root / "model_index.json").unlink(),
    "chmod": lambda root: (root / "model_index.json").chmod(0o600),
    "chmod_folder": lambda root: (root / "unet").chmod(0o700),
    "link": lambda root: (root / "link").symlink_to("model_index.json"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_below_the_root_marks(watcher: WatchdogWatcher, marks: Marks, tmp_path: Path, change: str) -> None:
    """Every way to change a file or folder marks the bundle within a second."""
    root = make_bundle(tmp_path / "bundle")
    watcher.watch_bundle("m", root)
    marks.clear()

    began = time.monotonic()
    CHANGES[change](root)
    marks.wait("m", "event")

    assert time.monotonic() - began < 1.0


def test_reading_marks_nothing(
    watcher: WatchdogWatcher, marks: Marks, sentinel: Callable[[], None], tmp_path: Path
) -> None:
    """Opening, reading and listing wakes nobody: judging a bundle must not make it dirty."""
    root = make_bundle(tmp_path / "bundle")
    watcher.watch_bundle("m", root)
    marks.clear()

    for _ in range(200):
        for file in root.rglob("*"):
            if file.is_file():
                file.read_bytes()
    sentinel()

    assert marks.scopes() == {"sentinel"}


def test_a_root_renamed_away_and_back_marks_both_times(watcher: WatchdogWatcher, marks: Marks, tmp_path: Path) -> None:
    """The folder the root lies in tells; what happens inside afterwards is seen again."""
    root = make_bundle(tmp_path / "bundle")
    watcher.watch_bundle("m", root)
    marks.clear()

    root.rename(tmp_path / "away")
    marks.wait("m", "root_event")
    wait_until(lambda: "m" in watcher.faults())
    marks.clear()
    (tmp_path / "away").rename(root)
    marks.wait("m", "watch_started")
    assert watcher.faults() == {}
    marks.clear()
    (root / "unet" / "new").write_text("x")

    marks.wait("m", "event")


def test_a_root_moved_to_another_folder_marks(
    watcher: WatchdogWatcher, marks: Marks, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A move out of the watched folder marks as well as one within it."""
    root = make_bundle(tmp_path / "bundle")
    watcher.watch_bundle("m", root)
    marks.clear()

    root.rename(tmp_path_factory.mktemp("elsewhere") / "bundle")

    marks.wait("m", "root_event")
    wait_until(lambda: "m" in watcher.faults())


def test_a_root_deleted_and_made_again_is_watched_again(watcher: WatchdogWatcher, marks: Marks, tmp_path: Path) -> None:
    """Also when nobody noticed the moment between, and also when its inode number comes back."""
    root = make_bundle(tmp_path / "bundle")
    watcher.watch_bundle("m", root)

    for round_ in range(5):
        marks.clear()
        shutil.rmtree(root)
        make_bundle(root)
        marks.wait("m", "watch_started")
        wait_until(lambda: not watcher.faults())
        marks.clear()
        (root / "unet" / f"new{round_}").write_text("x")
        marks.wait("m", "event")


def test_a_missing_root_is_a_fault_until_it_comes(watcher: WatchdogWatcher, marks: Marks, tmp_path: Path) -> None:
    """The nearest folder that exists is watched, however far up it is: every step of the way is followed."""
    root = tmp_path / "not" / "yet" / "bundle"

    watcher.watch_bundle("m", root)
    assert watcher.faults() == {"m": f"{root}: the folder does not exist"}
    assert watcher.cover().roots == 0
    make_bundle(root)

    wait_until(lambda: not watcher.faults())
    marks.wait("m", "watch_started")
    assert watcher.cover().roots == 1


def test_bundles_that_share_a_folder_mark_apart(
    watcher: WatchdogWatcher, marks: Marks, sentinel: Callable[[], None], tmp_path: Path
) -> None:
    """One folder above two roots is watched once, and its events go to the root they name."""
    roots = {name: make_bundle(tmp_path / name) for name in ("a", "b")}  # both before the folder above is watched
    for name, root in roots.items():
        watcher.watch_bundle(name, root)
    marks.clear()

    (tmp_path / "stranger").mkdir()
    (tmp_path / "a").rename(tmp_path / "a2")
    marks.wait("a", "root_event")
    sentinel()
    assert "b" not in marks.scopes()
    watcher.unwatch_bundle("a")
    marks.clear()
    (tmp_path / "b").rename(tmp_path / "b2")

    marks.wait("b", "root_event")


def test_two_models_may_have_one_root(watcher: WatchdogWatcher, marks: Marks, tmp_path: Path) -> None:
    """Both are marked, and unwatching one leaves the other."""
    root = make_bundle(tmp_path / "bundle")
    watcher.watch_bundle("a", root)
    watcher.watch_bundle("b", root)
    marks.clear()

    (root / "one").write_text("x")
    marks.wait("a")
    marks.wait("b")
    watcher.unwatch_bundle("a")
    marks.clear()
    (root / "two").write_text("x")
    marks.wait("b")

    assert marks.scopes() == {"b"}


def test_a_bundle_that_is_unwatched_marks_no_more(
    watcher: WatchdogWatcher, marks: Marks, sentinel: Callable[[], None], tmp_path: Path
) -> None:
    """Neither by its files nor by its root; a second time is no error."""
    root = make_bundle(tmp_path / "bundle")
    watcher.watch_bundle("m", root)
    watcher.unwatch_bundle("m")
    watcher.unwatch_bundle("m")
    marks.clear()

    (root / "new").write_text("x")
    shutil.rmtree(root)
    sentinel()

    assert marks.scopes() == {"sentinel"}
    assert (watcher.cover().roots, watcher.faults()) == (1, {})


def test_the_same_root_again_is_no_news(watcher: WatchdogWatcher, marks: Marks, tmp_path: Path) -> None:
    """Registering what is registered marks nothing: a reconcile may do so without waking itself."""
    root = make_bundle(tmp_path / "bundle")
    watcher.watch_bundle("m", root)
    marks.clear()

    watcher.watch_bundle("m", root)

    assert marks.seen == []


def test_another_root_replaces_the_one_before(
    watcher: WatchdogWatcher, marks: Marks, sentinel: Callable[[], None], tmp_path: Path
) -> None:
    """After a relocation the old place is nobody's."""
    old, new = make_bundle(tmp_path / "old"), make_bundle(tmp_path / "new")
    watcher.watch_bundle("m", old)
    watcher.watch_bundle("m", new)
    marks.clear()

    (old / "file").write_text("x")
    sentinel()
    assert marks.scopes() == {"sentinel"}
    (new / "file").write_text("x")

    marks.wait("m", "event")


def test_a_linked_root_is_watched_where_it_leads(watcher: WatchdogWatcher, marks: Marks, tmp_path: Path) -> None:
    """A root behind a link sees its direct children too."""
    make_bundle(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    watcher.watch_bundle("m", tmp_path / "link")
    marks.clear()

    (tmp_path / "real" / "new").write_text("x")

    marks.wait("m", "event")


def test_polling_sees_the_same_in_its_own_time(marks: Marks, tmp_path: Path) -> None:
    """Where there are no events a root is compared with itself at intervals."""
    root = make_bundle(tmp_path / "bundle")
    watcher = WatchdogWatcher(marks, backend="polling", poll_interval_s=0.05)
    watcher.start()
    try:
        watcher.watch_bundle("m", root)
        marks.clear()

        (root / "new").write_text("x")
        marks.wait("m", "event")
        marks.clear()
        shutil.rmtree(root)
        marks.wait("m")
        wait_until(lambda: "m" in watcher.faults())
        make_bundle(root)
        wait_until(lambda: not watcher.faults())

        assert watcher.cover().backend == "polling"
    finally:
        watcher.stop()
