"""Owns the question which folders outside a bundle it depends on. Reads links, opens no file."""

import os
import stat

from pumas_agent.bundles.walk import Stat, Tree

_MOST_LINKS = 500
_MOST = 64
"""More folders than this are not worth a watch each; the blobs of a Hugging Face cache are one."""


def folders_beside(tree: Tree) -> tuple[str, ...] | None:
    """The folders that links in the bundle lead to, outside its root, sorted.

    None when watching folders cannot tell of every change: a file has several names (hard links), a link leads by way
    of another link, or to too many places.
    """
    root = str(tree.root)
    if len(tree.links) > _MOST_LINKS or not _is_real(root):
        return None
    if any(_has_several_names(status) for _, status in tree.entries):
        return None
    found = set(_of_a_cache(root))
    for link in tree.links:
        folder = _folder_of_target(link)
        if folder is None:
            return None
        found.add(folder)
        found.update(
            os.path.realpath(path)
            for path, status in tree.entries
            if (path == link or path.startswith(link + "/")) and isinstance(status, Stat) and stat.S_ISDIR(status.mode)
        )
    outside = sorted(folder for folder in found if folder != root and not folder.startswith(root + "/"))
    return tuple(outside) if len(outside) <= _MOST else None


def _of_a_cache(root: str) -> list[str]:
    """Of a snapshot in a Hugging Face cache: where its repository keeps files, and which revisions it has."""
    snapshots = os.path.dirname(root)  # noqa: PTH120 - text, as all paths here
    repository = os.path.dirname(snapshots)  # noqa: PTH120
    if os.path.basename(snapshots) != "snapshots" or not os.path.basename(repository).startswith("models--"):  # noqa: PTH119
        return []
    folders = (f"{repository}/{name}" for name in ("blobs", "refs"))
    return [folder for folder in folders if os.path.isdir(folder)]  # noqa: PTH112


def _folder_of_target(link: str) -> str | None:
    """The folder that the target of a link lies in; None when the way there leads through a further link."""
    try:
        target = os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link)))  # noqa: PTH115, PTH118, PTH120
    except OSError:
        return None
    folder = os.path.dirname(target)  # noqa: PTH120 - of text, for each of thousands of links
    return folder if _is_real(target) else None


def _is_real(path: str) -> bool:
    try:
        return os.path.realpath(path) == path
    except ValueError:  # a NUL: no path at all
        return False


def _has_several_names(status: Stat | int) -> bool:
    return isinstance(status, Stat) and stat.S_ISREG(status.mode) and status.nlink > 1
