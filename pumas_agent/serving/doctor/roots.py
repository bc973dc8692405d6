"""The filesystems that the library and the bundles are on, and whether every external bundle can be read.

Opens no file below a root: names and permissions are looked at, nothing else.
"""

import errno
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from pumas_agent.contracts.doctor import Check, CheckName
from pumas_agent.mounts import LAYERED_TYPES, Mount, Mounts
from pumas_agent.serving.doctor.patient import Patient, fail, ok, warn

_MOST_ENTRIES = 5_000
"""Of one bundle; what has more is no bundle."""


@dataclass(slots=True)
class FilesystemLook:
    """The roots on one filesystem, looked at one after the other."""

    point: str
    kind: str
    roots: list[tuple[str, str]] = field(default_factory=list)
    _seen: int = 0

    def entries(self) -> Iterator[Check]:
        """What is wrong with a root, and how many are well."""
        well = 0
        for number, (model_id, root) in enumerate(self.roots):
            self._seen = number
            wrong = why_unreadable(root)
            if wrong is None:
                well += 1
            else:
                evidence, fix = wrong
                yield fail(CheckName.ROOTS, f"{model_id}: {evidence}", fix or _explain(model_id), root)
        if well:
            yield ok(CheckName.ROOTS, f"{well} bundle{'' if well == 1 else 's'} can be read", self.point)

    def late(self, seconds: float) -> Check:
        """Said when it did not come back."""
        model_id, root = self.roots[self._seen]
        left = len(self.roots) - self._seen
        evidence = f"{model_id}: {self.kind} at {self.point} did not answer within {seconds:g} s; {left} not looked at"
        return warn(CheckName.ROOTS, evidence, f"look at the filesystem: `findmnt {self.point}`, `dmesg`", root)


def by_filesystem(patient: Patient, table: Mounts) -> list[FilesystemLook]:
    """The roots by the filesystem that they are on as far as their paths tell: nothing is asked of it for that."""
    looks: dict[str, FilesystemLook] = {}
    for model_id, root in sorted(patient.roots.items()):
        mount = table.around(root)
        point, kind = (mount.point, mount.kind) if mount else ("/", "an unknown filesystem")
        looks.setdefault(point, FilesystemLook(point, kind)).roots.append((model_id, root))
    return list(looks.values())


def why_unreadable(root: str) -> tuple[str, str | None] | None:
    """What keeps this process from reading a bundle, and the command that mends it; None when nothing does."""
    try:
        if not os.path.isdir(root):  # noqa: PTH112 - a path as the record has it
            os.stat(root)  # noqa: PTH116
            return "it is no folder", None
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            return f"it cannot be reached: {error.strerror}", f"`namei -l {root}` shows which folder is closed"
        return f"it is not there: {error.strerror}", None
    closed: list[str] = []
    entries = 0

    def note(error: OSError) -> None:
        closed.append(str(error.filename))

    for folder, _folders, names in os.walk(root, onerror=note):
        closed += [path for name in names if _is_closed(path := f"{folder}/{name}")]
        entries += len(names) + 1
        if closed or entries > _MOST_ENTRIES:
            break
    if not closed:
        return None
    return f"{closed[0]} cannot be read", f"let the agent's user (uid {os.geteuid()}) read it: `ls -l {closed[0]}`"


def _is_closed(path: str) -> bool:
    if os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        return False
    return os.path.exists(path)  # noqa: PTH110 - a link that leads nowhere is for the verdict to say


def _explain(model_id: str) -> str:
    return f"`pumas-agent explain {model_id}` says where it was; `pumas-agent relocate {model_id} NEW_PATH`"


def check_filesystems(patient: Patient, table: Mounts) -> Iterator[Check]:
    """Whether events tell of what happens on each, and whether the index may lie where it lies."""
    library = table.around(str(patient.root))
    if library is not None:
        yield _of_library(library, patient)
    counts: dict[Mount | None, int] = defaultdict(int)
    for root in patient.roots.values():
        counts[table.around(root)] += 1
    for mount, count in sorted(counts.items(), key=lambda item: item[0].point if item[0] else ""):
        about = mount.point if mount else None
        kind = mount.kind if mount else "an unknown filesystem"
        yield ok(CheckName.FILESYSTEMS, f"{count} on {kind}, {_watched(mount, patient)}", about)


def _of_library(mount: Mount, patient: Patient) -> Check:
    if mount.is_local:
        evidence = f"the library is on {mount.kind}, {_watched(mount, patient)}"
        return ok(CheckName.FILESYSTEMS, evidence, mount.point)
    evidence = (
        f"the library is on {mount.kind}: SQLite needs locks and shared memory that such a filesystem may not have"
    )
    return warn(CheckName.FILESYSTEMS, evidence, "move the library to a local disk; models may stay", mount.point)


def _watched(mount: Mount | None, patient: Patient) -> str:
    if mount is not None and mount.is_local and mount.kind not in LAYERED_TYPES:
        return "watched by events"
    return f"where events do not tell of everything: compared every {patient.poll_interval_s:g} s"
