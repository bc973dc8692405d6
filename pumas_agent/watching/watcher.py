"""The seam between the agent and whatever tells it that files changed. Owns the protocol, and no implementation."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

MarkDirty = Callable[[str, str], None]
"""`(scope, reason)`: look at that scope soon. Called from any thread; cheap, never blocks, never raises."""

WatchBackend = Literal["auto", "inotify", "polling"]
"""`auto`: the platform's own events, and polling where they cannot be had. The other two: that one or a fault."""

LIBRARY = "library"
"""The name of the library root in `Watcher.faults()`."""


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

    def watch_bundle(self, model_id: str, root: Path) -> None:
        """Watch an external bundle, whether its root exists yet or not.

        The scope is marked once when its watches stand, because what happened before them was not seen. The same
        root again is no news; another root replaces the one before.
        """

    def unwatch_bundle(self, model_id: str) -> None:
        """Stop watching a bundle; one that is not watched is no error."""

    def sweep(self) -> None:
        """Compare what is watched with what stands at the paths now, and repair the difference.

        Finds what events do not tell: a root renamed by way of its parent, swapped or mounted over; a dead thread.
        Roots that events do not cover are marked each time. Blocks on the filesystem: call it from a thread.
        """

    def faults(self) -> dict[str, str]:
        """What events do not cover: a model id or `LIBRARY`, and why."""

    @property
    def roots(self) -> int:
        """How many roots events cover now."""

    @property
    def backend(self) -> str:
        """What delivers the events: `inotify`, `fsevents`, `polling`, or `none` while nothing does."""
