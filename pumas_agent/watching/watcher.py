"""The seam between the agent and whatever tells it that files changed. Owns the protocol, and no implementation."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

MarkDirty = Callable[[str, str], None]
"""`(scope, reason)`: look at that scope soon. Called from any thread; cheap, never blocks, never raises."""

OnMoved = Callable[[str, str], None]
"""`(model id, path)`: the bundle's root was seen to go there. Called from any thread; a hint like any event."""

WatchBackend = Literal["auto", "inotify", "polling"]
"""`auto`: the platform's own events, and polling where they cannot be had. The other two: that one or a fault."""

LIBRARY = "library"
"""The name of the library root in `Watcher.faults()`."""


@dataclass(frozen=True, slots=True)
class WatchCover:
    """What is covered, and what it costs.

    Attributes:
        backend: what delivers the events: `inotify`, `fsevents`, `polling`, or `none` while nothing does.
        roots: how many roots are covered.
        polled: how many of them are compared at intervals.
        poll_cost: the share of one processor that this takes.
        watches: how many watches the kernel holds for us.
        overflows: how often its queue overflowed since the start.
    """

    backend: str
    roots: int
    polled: int
    poll_cost: float
    watches: int
    overflows: int


class Watcher(Protocol):
    """Marks scopes dirty when something under their root may have changed.

    An event is a hint: one that is lost delays the truth until the next periodic look, and never falsifies it. Every
    method may be called from any thread; none raises because of what is on disk.
    """

    def start(self) -> None:
        """Begin to watch what was registered; later registrations are watched at once."""

    def stop(self) -> None:
        """End every thread and watch. A second call does nothing."""

    def watch_library(self, root: Path, scope_of: Callable[[str], str | None]) -> None:
        """Watch the library; `scope_of(path relative to root)` names the scope of an event, None ignores it.

        `scope_of` is called on the event thread: it must not block. The root itself is the empty path.
        """

    def watch_bundle(self, model_id: str, root: Path, beside: Iterable[str] = ()) -> None:
        """Watch an external bundle, whether its root exists yet or not.

        The scope is marked once when its watches stand, because what happened before them was not seen. The same
        again is no news; another root replaces the one before.

        Args:
            model_id: the scope.
            root: of the bundle.
            beside: folders elsewhere that links in the bundle lead to (the blobs of a Hugging Face cache).
        """

    def unwatch_bundle(self, model_id: str) -> None:
        """Stop watching a bundle; one that is not watched is no error."""

    def sweep(self) -> None:
        """Compare what is watched with what stands at the paths now, and repair the difference.

        Finds what events do not tell: a root that was mounted over, a dead or stuck thread, lost events; and tries
        again to watch what could not be watched. Blocks on the filesystem: call it from a thread.
        """

    def now(self) -> int:
        """A point in the order of marks, to be asked about later."""

    def nothing_since(self, point: int, model_id: str, root: str, beside: tuple[str, ...], *, in_library: bool) -> bool:
        """Proof that nothing has happened to a bundle since a point: one system call. For the event loop alone.

        True when the bundle is watched whole, no event waits or is in hand, and it was not marked since. What inotify
        does not see is not covered: stores through an old memory map, writes through a hard link elsewhere.

        Args:
            point: from `now`.
            model_id: whose.
            root: where it was judged; False while another place is watched for the model.
            beside: folders elsewhere that it depends on; False unless these are watched.
            in_library: it lies in the library, which is watched as a whole.
        """

    def faults(self) -> dict[str, str]:
        """Roots that nothing covers: a model id or `LIBRARY`, and why."""

    def polled(self) -> dict[str, str]:
        """Roots that are compared at intervals because events do not tell of everything, and why."""

    def cover(self) -> WatchCover:
        """What is covered, and what it costs."""
