"""What events do not tell, what the reader loses and what the kernel refuses: found, said, and repaired."""

import errno
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pumas_agent.contracts.records import ALL_MODELS
from pumas_agent.watching import WatchdogWatcher, Watcher, heartbeat, lookout, places
from pumas_agent.watching.hub import HubObserver
from pumas_agent.watching.kernel import IN_Q_OVERFLOW, MASK, Inotify, RawEvent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="these are faults of inotify")

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

    def wait(self, *mark: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: any(seen[: len(mark)] == mark for seen in self.seen), DEADLINE_S), (
                f"no {mark} in {self.seen}"
            )


@pytest.fixture
def marks() -> Marks:
    return Marks()


@pytest.fixture
def watcher(marks: Marks) -> Iterator[WatchdogWatcher]:
    watcher = WatchdogWatcher(marks)
    watcher.start()
    yield watcher
    watcher.stop()


def watched(watcher: Watcher, marks: Marks, root: Path, model_id: str = "m") -> Path:
    (root / "unet").mkdir(parents=True)
    watcher.watch_bundle(model_id, root)
    marks.seen.clear()
    return root


def assert_sees(marks: Marks, root: Path, model_id: str = "m") -> None:
    marks.seen.clear()
    (root / "proof").write_text("x")
    marks.wait(model_id, "event")


def refuse_watches(monkeypatch: pytest.MonkeyPatch, refused: Callable[[str], bool], error: int) -> None:
    real = Inotify.add

    def add(inotify: Inotify, path: str, mask: int = MASK, via: str | None = None) -> int:
        if refused(path):
            raise OSError(error, os.strerror(error), path)
        return real(inotify, path, mask, via)

    monkeypatch.setattr(Inotify, "add", add)


def hub_of(watcher: WatchdogWatcher) -> HubObserver:
    assert watcher._backend is not None
    assert watcher._backend.hub is not None
    return watcher._backend.hub


def test_a_sweep_that_finds_nothing_new_marks_nothing(watcher: WatchdogWatcher, marks: Marks, tmp_path: Path) -> None:
    """It runs every few seconds, for ever."""
    watched(watcher, marks, tmp_path / "bundle")
    watcher.watch_bundle("gone", tmp_path / "gone")
    marks.seen.clear()

    watcher.sweep()

    assert marks.seen == []


def test_a_renamed_parent_is_seen_by_the_sweep(watcher: WatchdogWatcher, marks: Marks, tmp_path: Path) -> None:
    """No event tells of it: neither the root nor its folder was touched."""
    root = watched(watcher, marks, tmp_path / "grand" / "parent" / "bundle")

    (tmp_path / "grand").rename(tmp_path / "away")
    watcher.sweep()
    marks.wait("m", "root_missing")
    assert set(watcher.faults()) == {"m"}
    (tmp_path / "away").rename(tmp_path / "grand")

    marks.wait("m", "root_event")
    watcher.sweep()
    assert watcher.faults() == {}
    assert_sees(marks, root)


def test_another_folder_at_the_path_is_seen_by_the_sweep(
    watcher: WatchdogWatcher, marks: Marks, tmp_path: Path
) -> None:
    """A parent swapped for another: the path looks the same, the folder is not."""
    root = watched(watcher, marks, tmp_path / "grand" / "parent" / "bundle")
    (tmp_path / "grand2" / "parent" / "bundle").mkdir(parents=True)

    (tmp_path / "grand").rename(tmp_path / "away")
    (tmp_path / "grand2").rename(tmp_path / "grand")
    watcher.sweep()

    marks.wait("m", "watch_started")
    assert_sees(marks, root)


def test_a_dead_reader_is_replaced_and_everything_is_marked(
    watcher: WatchdogWatcher, marks: Marks, tmp_path: Path
) -> None:
    """Without its reader every root is blind; what happened meanwhile is unknown."""
    root = watched(watcher, marks, tmp_path / "bundle")
    hub = hub_of(watcher)
    hub.stop()
    hub.join()

    watcher.sweep()

    marks.wait(ALL_MODELS, "watch_restarted")
    assert_sees(marks, root)


def test_a_stuck_reader_is_found_by_its_heartbeat(
    marks: Marks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is alive and reads nothing: a file that is touched, and no event of it."""
    monkeypatch.setattr(heartbeat, "PATIENCE_S", 0.2)
    free = threading.Event()
    watcher = WatchdogWatcher(marks, heartbeat=tmp_path)
    watcher.start()
    try:
        root = watched(watcher, marks, tmp_path / "bundle")
        watcher.sweep()
        assert (ALL_MODELS, "watch_restarted") not in marks.seen
        hub = hub_of(watcher)
        monkeypatch.setattr(hub, "_drain", free.wait)
        (root / "file").touch()

        watcher.sweep()

        assert hub_of(watcher) is not hub
        assert (ALL_MODELS, "watch_restarted") in marks.seen
        assert_sees(marks, root)
    finally:
        free.set()
        watcher.stop()


def test_whether_events_come_through_can_be_asked(
    marks: Marks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a sweep and without its lock: no while the reader is stuck or dead, yes before it and after a repair."""
    monkeypatch.setattr(heartbeat, "PATIENCE_S", 0.2)
    free = threading.Event()
    watcher = WatchdogWatcher(marks, heartbeat=tmp_path)
    watcher.start()
    try:
        root = watched(watcher, marks, tmp_path / "bundle")
        assert watcher.reads()
        monkeypatch.setattr(hub_of(watcher), "_drain", free.wait)
        (root / "file").touch()
        with watcher._work:
            asking = threading.Thread(target=lambda: marks("asked", str(watcher.reads())))
            asking.start()
            marks.wait("asked", "False")
        asking.join()

        watcher.sweep()

        assert watcher.reads()
        hub_of(watcher).stop()
        hub_of(watcher).join()
        assert not watcher.reads()
    finally:
        free.set()
        watcher.stop()


def test_what_is_compared_at_intervals_has_no_reader_that_could_be_stuck(marks: Marks, tmp_path: Path) -> None:
    """Polling needs no event."""
    watcher = WatchdogWatcher(marks, backend="polling", heartbeat=tmp_path)
    assert watcher.reads()
    watcher.start()
    try:
        assert watcher.reads()
    finally:
        watcher.stop()


def test_an_overflow_marks_everything(watcher: WatchdogWatcher, marks: Marks, tmp_path: Path) -> None:
    """The kernel says that it dropped events, not which: at once, without waiting for a sweep."""
    root = watched(watcher, marks, tmp_path / "bundle")

    hub_of(watcher)._handle((-1, IN_Q_OVERFLOW, 0, b""))

    marks.wait(ALL_MODELS, "watch_overflow")
    marks.wait("m", "watch_started")
    assert_sees(marks, root)


def test_no_order_of_renames_and_deletions_ends_or_restarts_the_watching(
    watcher: WatchdogWatcher, marks: Marks, tmp_path: Path
) -> None:
    """A subfolder moved out, made again and deleted, then the moved one deleted, ends the stock reader."""
    root = watched(watcher, marks, tmp_path / "bundle")
    other = watched(watcher, marks, tmp_path / "other", "o")

    for number in range(20):
        outside = tmp_path / f"outside{number}"
        (root / "unet").rename(outside)
        (root / "unet").mkdir()
        (root / "unet").rmdir()
        shutil.rmtree(outside)
        (root / "unet").mkdir()

    assert_sees(marks, root / "unet")
    assert_sees(marks, other, "o")
    assert (ALL_MODELS, "watch_restarted") not in marks.seen


def test_an_error_in_the_reader_is_survived_and_repaired(
    watcher: WatchdogWatcher, marks: Marks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the reader did not understand may have been anything: everything is marked and watched anew."""
    root = watched(watcher, marks, tmp_path / "bundle")

    def confused(hub: HubObserver, event: RawEvent) -> None:
        raise KeyError((hub, event))

    with monkeypatch.context() as patch:
        patch.setattr(HubObserver, "_handle_file", confused)
        (root / "file").write_text("x")
        marks.wait(ALL_MODELS, "watch_restarted")
    watcher.sweep()

    assert watcher.faults() == {}
    assert_sees(marks, root)


def test_the_watch_limit_below_a_root_turns_it_to_polling(
    marks: Marks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tree is watched whole or not at all: it is compared instead, says so, and is watched when that can be done."""
    watcher = WatchdogWatcher(marks, poll_interval_s=0.05)
    watcher.start()
    try:
        root = tmp_path / "bundle"
        (root / "unet").mkdir(parents=True)
        with monkeypatch.context() as limit:
            refuse_watches(limit, lambda path: path.endswith("unet"), errno.ENOSPC)
            watcher.watch_bundle("m", root)
            assert "max_user_watches" in watcher.polled()["m"]
            assert watcher.faults() == {}
            assert_sees(marks, root / "unet")
            watcher.sweep()
            assert watcher.cover().polled == 1

        watcher.sweep()

        assert (watcher.polled(), watcher.faults(), watcher.cover().roots) == ({}, {}, 1)
        assert_sees(marks, root / "unet")
    finally:
        watcher.stop()


def test_our_own_limit_of_watches_counts_like_the_kernels(marks: Marks, tmp_path: Path) -> None:
    """What does not fit is compared; what is given back can be used."""
    first, second = tmp_path / "a" / "first", tmp_path / "b" / "second"
    for root in (first, second):
        (root / "unet").mkdir(parents=True)
    fits = len(Path(tmp_path, "a").parents) + 4
    watcher = WatchdogWatcher(marks, poll_interval_s=0.05, max_watches=fits)
    watcher.start()
    try:
        watcher.watch_bundle("first", first)
        watcher.watch_bundle("second", second)
        assert set(watcher.polled()) == {"second"}
        assert "watch.max_watches" in watcher.polled()["second"]
        assert watcher.cover().watches <= fits
        assert_sees(marks, second, "second")

        watcher.unwatch_bundle("first")
        watcher.sweep()

        assert watcher.polled() == {}
    finally:
        watcher.stop()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES])
def test_a_root_that_cannot_be_watched_is_polled(
    watcher: WatchdogWatcher, marks: Marks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """The other roots do not notice."""
    refuse_watches(monkeypatch, lambda path: path.endswith("bundle"), error)

    watched(watcher, marks, tmp_path / "bundle")
    other = watched(watcher, marks, tmp_path / "other", "o")
    watcher.sweep()

    assert set(watcher.polled()) == {"m"}
    assert_sees(marks, other, "o")


def test_without_an_inotify_instance_auto_polls(marks: Marks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of instances is a user's, and other programs use them up."""
    no_instances(monkeypatch)
    watcher = WatchdogWatcher(marks, poll_interval_s=0.05)
    watcher.start()
    try:
        root = watched(watcher, marks, tmp_path / "bundle")

        assert watcher.cover().backend == "polling"
        assert_sees(marks, root)
    finally:
        watcher.stop()


def test_without_an_inotify_instance_inotify_is_a_fault_that_heals(
    marks: Marks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asked for inotify alone gets no polling, but is told, and gets inotify when there is some."""
    watcher = WatchdogWatcher(marks, backend="inotify")
    try:
        with monkeypatch.context() as limit:
            no_instances(limit)
            watcher.start()
            root = watched(watcher, marks, tmp_path / "bundle")
            assert watcher.cover().backend == "none"
            assert "instance" in watcher.faults()["m"]

        watcher.sweep()

        assert (watcher.cover().backend, watcher.faults()) == ("inotify", {})
        marks.wait(ALL_MODELS, "watch_restarted")
        assert_sees(marks, root)
    finally:
        watcher.stop()


def no_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(_: Inotify) -> None:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    monkeypatch.setattr(Inotify, "__init__", init)
    monkeypatch.setattr(Inotify, "descriptor", -1, raising=False)


def test_a_mark_that_raises_does_not_end_the_watching(tmp_path: Path) -> None:
    """The thread that delivers events outlives whoever receives them."""
    calls = threading.Semaphore(0)

    def raises(scope: str, reason: str) -> None:
        calls.release()
        raise ValueError((scope, reason))

    watcher = WatchdogWatcher(raises)
    watcher.start()
    try:
        watcher.watch_bundle("m", tmp_path)
        for number in range(3):
            (tmp_path / f"{number}").write_text("x")
            assert calls.acquire(timeout=DEADLINE_S)

        assert watcher._backend is not None
        assert watcher._backend.is_alive
    finally:
        watcher.stop()


def test_stop_ends_every_thread(marks: Marks, tmp_path: Path) -> None:
    """A second stop does nothing, registering then is no error, and a new start watches what is registered."""
    before = set(threading.enumerate())
    watcher: Watcher = WatchdogWatcher(marks)
    watcher.start()
    watched(watcher, marks, tmp_path / "bundle")

    watcher.stop()
    watcher.stop()
    deadline = time.monotonic() + DEADLINE_S
    while set(threading.enumerate()) - before:
        assert time.monotonic() < deadline, threading.enumerate()
        threading.Event().wait(0.005)
    assert (watcher.cover().backend, watcher.cover().roots) == ("none", 0)
    other = watched(watcher, marks, tmp_path / "other", "o")
    watcher.start()

    try:
        assert watcher.cover().roots == 2
        assert_sees(marks, other, "o")
    finally:
        watcher.stop()


def test_threads_may_register_sweep_and_ask_at_once(watcher: WatchdogWatcher, marks: Marks, tmp_path: Path) -> None:
    """Under events, with roots that go and come, nothing deadlocks, raises or stays unwatched."""
    roots = [watched(watcher, marks, tmp_path / f"bundle{number}", f"m{number}") for number in range(4)]
    raised: list[BaseException] = []

    def churn(number: int) -> None:
        try:
            for _ in range(15):
                shutil.rmtree(roots[number])
                (roots[number] / "unet").mkdir(parents=True)
                watcher.unwatch_bundle(f"m{number}")
                watcher.watch_bundle(f"m{number}", roots[number])
                watcher.sweep()
                watcher.faults()
        except BaseException as error:  # noqa: BLE001 - the main thread asserts on it
            raised.append(error)

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    watcher.sweep()

    assert raised == []
    assert watcher.faults() == {}
    for number, root in enumerate(roots):
        assert_sees(marks, root, f"m{number}")


def test_a_filesystem_that_hangs_holds_up_no_other_root(
    watcher: WatchdogWatcher, marks: Marks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 10: its root is at fault and looked at by each sweep; the others are watched; it recovers by itself."""
    free = threading.Event()
    real = places.look

    def look(root: str, beside: tuple[str, ...] = ()) -> places.Sight:
        if root.endswith("hung"):
            assert free.wait(30)
        return real(root, beside)

    monkeypatch.setattr(lookout, "look", look)
    watcher._lookout.courier.patience_s = 0.05
    for name in ("hung", "well"):
        (tmp_path / name).mkdir()
        watcher.watch_bundle(name, tmp_path / name)
    watcher.sweep()
    faults = watcher.faults()
    (tmp_path / "well" / "file").touch()
    marks.wait("well", "event")
    free.set()

    assert set(faults) == {"hung"}
    deadline = time.monotonic() + 10
    while watcher.faults():
        assert time.monotonic() < deadline
        watcher.sweep()
