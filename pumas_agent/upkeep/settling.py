"""Is a bundle being written right now? Owns the signs of that, and the holds by which a downloader says so itself.

A bundle that is being written is not broken: nobody is told until it is quiet. Signs are stable sizes and times, or the
lack of them; that a file was closed is none (copies and downloads close files that are not whole).
"""

import itertools
import stat
from collections.abc import Callable

from pumas_agent.bundles import StatSignature

_PARTIAL = (".incomplete", ".part", ".partial", ".crdownload", ".aria2", ".download", ".pumas_download")
"""What download tools call a file that is not whole yet."""
_PARTIAL_NS = 60 * 1_000_000_000
"""A partial file that was not written for so long is left over."""
_GROWING_NS = 10 * 1_000_000_000


def is_being_written(before: StatSignature | None, now: StatSignature, *now_ns: int) -> bool:
    """Files came or grew since the last look, or a partial one was written a moment ago.

    A file that says it was written much later than now was not: the clock was set back. A little later is the clock of
    another machine.

    Args:
        before: of the last look at the same root; None when there was none, and only names tell.
        now: of this look.
        now_ns: nanoseconds since 1970, by the wall clock, and by others that files may have been stamped by: by one of
            them a file that is being written is young.
    """
    known = dict(before.entries) if before is not None else None
    record = f"{now.root}/metadata.json"  # ours, with its backup, in the folder of a bundle that the library owns
    for path, status in now.entries:
        if isinstance(status, int) or not stat.S_ISREG(status.mode) or path.startswith(record):
            continue
        age_ns = min(abs(clock_ns - status.ctime_ns) for clock_ns in now_ns)
        if path.endswith(_PARTIAL) and age_ns < _PARTIAL_NS:
            return True
        if known is not None and age_ns < _GROWING_NS:
            was = known.get(path)
            if was is None or isinstance(was, int) or status.size > was.size:
                return True
    return False


class Holds:
    """Bundles that somebody says are being written. Belongs to the event loop.

    Args:
        released: told of a root that nobody holds any more.
    """

    def __init__(self, released: Callable[[str], None]) -> None:
        self._released = released
        self._held: dict[str, str] = {}
        self._numbers = itertools.count(1)

    def hold(self, root: str) -> str:
        """Hold the bundle at a root; what to release it by."""
        hold = f"hold-{next(self._numbers)}"
        self._held[hold] = root
        return hold

    def release(self, hold: str) -> bool:
        """Release it; False when there is no such hold any more."""
        root = self._held.pop(hold, None)
        if root is not None and not self.is_held(root):
            self._released(root)
        return root is not None

    def is_held(self, root: str) -> bool:
        """Somebody says that the bundle there is being written."""
        return root in self._held.values()
