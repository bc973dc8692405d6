"""Which filesystem holds a path, and what is known of it. Owns the table of mounts; opens nothing below a path."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import psutil

MOUNTINFO = Path("/proc/self/mountinfo")
BY_UUID = Path("/dev/disk/by-uuid")
DEVICES = "/dev"
LOCAL_TYPES = frozenset(
    {
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "tmpfs", "overlay"),
        *("apfs", "hfs", "msdos", "vfat", "exfat", "ntfs3"),
    }
)
"""Types whose `stat` does not wait for a network or a program. What is not named here is not local."""
LAYERED_TYPES = frozenset({"overlay"})
"""Local types whose events do not tell of everything: what changes in a layer below is not seen through them."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the table of mounts."""

    point: str
    """Where it is mounted, absolute."""
    kind: str
    """The type of the filesystem: `ext4`, `nfs4`, `fuse.sshfs`."""
    device: str
    """`major:minor`, or the name that the system has for it where it knows no numbers."""
    source: str
    """What is mounted: a block device, `server:/export`, or a name."""
    root: str = "/"
    """Which folder of the filesystem is mounted: another one than the first for a bind mount."""

    @property
    def is_local(self) -> bool:
        """A `stat` below it is answered by this machine's kernel alone."""
        return self.kind in LOCAL_TYPES


class Mounts:
    """The table of mounts as it was when it was read."""

    def __init__(self, mounts: tuple[Mount, ...]) -> None:
        self.all = mounts
        self._by_point = {mount.point: mount for mount in mounts}  # of several at one point the last is on top
        self._by_device = {mount.device: mount for mount in mounts}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mounts) and self.all == other.all

    __hash__ = None  # type: ignore[assignment]  # compared, never looked up

    def around(self, path: str) -> Mount | None:
        """The mount that holds a path whose links are resolved; the innermost one."""
        while True:
            if (mount := self._by_point.get(path)) is not None:
                return mount
            if path in ("/", ""):
                return None
            path = os.path.dirname(path)  # noqa: PTH120 - asked for each of thousands of roots

    def of_device(self, number: int) -> Mount | None:
        """A mount of the device with that `st_dev`; None for a btrfs subvolume, whose number no mount shows."""
        return self._by_device.get(f"{os.major(number)}:{os.minor(number)}")


def mounts() -> Mounts:
    """Read the table of this process's mount namespace (man 5 proc_pid_mountinfo)."""
    try:
        lines = MOUNTINFO.read_bytes().splitlines()
    except OSError:
        parts = psutil.disk_partitions(all=True)
        return Mounts(tuple(Mount(part.mountpoint, part.fstype, part.device, part.device) for part in parts))
    found = []
    for line in lines:  # id, parent, major:minor, root, mount point, options, …, "-", type, source, …
        fields, _, rest = line.partition(b" - ")
        _, _, device, root, point, *_ = fields.split(b" ")
        kind, source, *_ = rest.split(b" ")
        found.append(Mount(_unescaped(point), kind.decode(), device.decode(), _unescaped(source), _unescaped(root)))
    return Mounts(tuple(found))


def is_local(path: Path) -> bool:
    """True when a `stat` below the path is answered by this machine's kernel alone; False when in doubt."""
    mount = mount_of(path)
    return mount is not None and mount.is_local


def mount_of(path: Path) -> Mount | None:
    """The mount that holds what is at a path; None when nothing is there, or when nobody can tell."""
    try:
        device = path.stat().st_dev
        place = os.path.realpath(path, strict=True)
    except (OSError, ValueError):
        return None
    table = mounts()
    around = table.around(place)
    known = table.of_device(device)
    return around if known is None or (around is not None and around.device == known.device) else known


def uuid_of(mount: Mount) -> str | None:
    """The UUID of the filesystem on a block device, where the system tells it."""
    if not mount.source.startswith(f"{DEVICES}/"):
        return None
    try:
        device = os.path.realpath(mount.source)
        names = [link.name for link in BY_UUID.iterdir() if os.path.realpath(link) == device]
    except OSError:
        return None
    return min(names, default=None)


def _unescaped(field: bytes) -> str:
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field))
