"""Owns the question whether a path lies on a filesystem of this machine. Never opens anything below the path."""

import os
import re
from pathlib import Path

import psutil

MOUNTINFO = Path("/proc/self/mountinfo")
LOCAL_TYPES = frozenset(
    {
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "tmpfs", "overlay"),
        *("apfs", "hfs", "msdos", "vfat", "exfat", "ntfs3"),
    }
)
"""Types whose `stat` does not wait for a network or a program. What is not named here is not local."""


def is_local(path: Path) -> bool:
    """True when a `stat` below the path is answered by this machine's kernel alone; False when in doubt."""
    try:
        device = path.stat().st_dev
        place = os.path.realpath(path, strict=True)
    except (OSError, ValueError):
        return False
    try:
        lines = MOUNTINFO.read_bytes().splitlines()
    except OSError:
        return _type_by_place({part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}, place)
    by_device: dict[tuple[int, int], str] = {}
    by_place: dict[str, str] = {}
    for line in lines:  # man 5 proc_pid_mountinfo: id, parent, major:minor, root, mount point, …, "-", type, …
        fields, _, rest = line.partition(b" - ")
        _, _, number, _, mount_point, *_ = fields.split(b" ")
        major, _, minor = number.partition(b":")
        kind = rest.split(b" ", 1)[0].decode()
        by_device[int(major), int(minor)] = kind
        by_place[_unescaped(mount_point)] = kind
    known = by_device.get((os.major(device), os.minor(device)))
    # A btrfs subvolume has a device number of its own that no mount shows.
    return known in LOCAL_TYPES if known is not None else _type_by_place(by_place, place)


def _type_by_place(types: dict[str, str], place: str) -> bool:
    around = [point for point in types if place == point or place.startswith(point.rstrip("/") + "/")]
    return bool(around) and types[max(around, key=len)] in LOCAL_TYPES


def _unescaped(field: bytes) -> str:
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field))
