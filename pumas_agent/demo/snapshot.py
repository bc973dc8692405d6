"""Every fact about a folder that a careless program could change, to show that none did.

Reads only. The time of the last access is left out: whoever reads changes it, this module too.
"""

import hashlib
import os
import stat
from pathlib import Path

Facts = tuple[int, int, int, int, int, int, int, str]
Snapshot = dict[str, Facts]


def snapshot(root: Path) -> Snapshot:
    """Inode, mode, owner, size, mtime and ctime of the root and all under it, with the digest of each file."""
    paths = [root, *(Path(folder, name) for folder, folders, files in os.walk(root) for name in (*folders, *files))]
    return {str(path.relative_to(root)): _facts(path) for path in paths}


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """The paths that came, went or changed."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def _facts(path: Path) -> Facts:
    info = path.lstat()
    content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(info.st_mode) else ""
    return (
        info.st_ino,
        info.st_mode,
        info.st_uid,
        info.st_gid,
        info.st_size,
        info.st_mtime_ns,
        info.st_ctime_ns,
        content,
    )
