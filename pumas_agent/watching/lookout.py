"""Looks at roots, of which each may hang. Owns the courier, the mounts, and which of them do not answer.

A filesystem that does not answer costs one wait a round, however many roots lie on it, and the other roots nothing.
Belongs to one thread at a time.
"""

from collections.abc import Sequence

import structlog

from pumas_agent.mounts import Mount, Mounts, mounts
from pumas_agent.watching.courier import Courier, Silent
from pumas_agent.watching.coverage import Check, differing
from pumas_agent.watching.places import Place, Sight, look
from pumas_agent.watching.polling import print_of

log = structlog.get_logger(__name__)

PATIENCE_S = 1.0
"""How long one look may take before the others have their turn."""
_CHUNK = 250
"""Roots that are checked in one go; one that hangs has its neighbours checked singly."""


class Lookout:
    """Sees what stands at a path, as long as its filesystem answers."""

    def __init__(self) -> None:
        self.courier = Courier(PATIENCE_S)
        self._mounts = Mounts(())
        self._silent: set[str] = set()

    def refresh(self) -> list[str]:
        """Read the table of mounts, and ask the silent ones again; where something was mounted or unmounted since."""
        self._silent.clear()
        before, self._mounts = self._mounts, mounts()
        return [mount.point for mount in {*before.all} ^ {*self._mounts.all}]

    def mount_of(self, path: str) -> Mount | None:
        """The mount around a path, as of the last `refresh`."""
        return self._mounts.around(path)

    def sight_of(self, place: Place) -> Sight | None:
        """What stands there; None when its filesystem does not answer, or did not answer for another root just now."""
        mount = self.mount_of(place.real or place.root)
        if mount is not None and mount.point in self._silent:
            return None
        try:
            return self.courier.ask(place.root, lambda: look(place.root, place.beside))
        except Silent:
            if mount is not None and mount.point != "/":
                self._silent.add(mount.point)
            return None

    def differing(self, checked: Sequence[tuple[Place, list[Check]]]) -> list[Place]:
        """The places of which some check fails, or does not come back in time."""
        found: list[Place] = []
        for at in range(0, len(checked), _CHUNK):
            chunk = checked[at : at + _CHUNK]
            try:
                found += self.courier.ask(f"{at}", lambda chunk=chunk: differing(chunk))  # type: ignore[misc]
            except Silent:
                found += [place for place, _ in chunk]
        return found

    def print_of(self, root: str) -> bytes | None:
        """What a root is compared by; None when its filesystem does not answer."""
        try:
            return self.courier.ask(root, lambda: print_of(root))
        except Silent:
            log.debug("watch.root_silent", root=root)
            return None

    def stop(self) -> None:
        """End the courier's thread."""
        self.courier.stop()
