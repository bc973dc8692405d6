"""Owns the notices on what lies in a bundle and no runtime loads: unfinished downloads, junk, folders, code."""

import stat
from collections.abc import Iterator

from pumas_agent.bundles.bundle import Bundle
from pumas_agent.bundles.entries import custom_component_file
from pumas_agent.bundles.findings import FindingCode, Problem, notice
from pumas_agent.bundles.pipeline import custom_pipeline_files
from pumas_agent.bundles.walk import Stat

_UNFINISHED = (".incomplete", ".part", ".aria2", ".crdownload")
_DOWNLOADS = (".cache", "huggingface", "download")
"""Where huggingface_hub keeps what it is downloading into a folder."""
_JUNK = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX"})
_SHOWN = 5


def downloads_are_finished(bundle: Bundle) -> Iterator[Problem]:
    """A file that a download tool marks as unfinished lies in a component, or where huggingface_hub downloads to."""
    folders = {component.folder for component in bundle.components}
    for path, _ in _entries(bundle):
        parts = tuple(path.split("/"))
        if parts[-1].endswith(_UNFINISHED) and (parts[0] in folders or parts[: len(_DOWNLOADS)] == _DOWNLOADS):
            yield notice(FindingCode.INCOMPLETE_DOWNLOAD, f"{path} is what an unfinished download leaves", path)


def nothing_is_junk(bundle: Bundle) -> Iterator[Problem]:
    """Files that operating systems leave everywhere; said once for all of them."""
    junk = [path for path, _ in _entries(bundle) if _is_junk(path.rpartition("/")[2])]
    if junk:
        more = f" and {len(junk) - _SHOWN} more" if len(junk) > _SHOWN else ""
        what = f"{', '.join(junk[:_SHOWN])}{more}: left by an operating system, and read by nothing"
        yield notice(FindingCode.JUNK_FILES, what)


def folders_are_components(bundle: Bundle) -> Iterator[Problem]:
    """Every folder of the root is one of a component that the index names; hidden ones are not looked at."""
    named = {entry.name for entry in bundle.entries}
    for path, status in _entries(bundle):
        if "/" in path or path.startswith(".") or path in named or _is_junk(path):
            continue
        if isinstance(status, Stat) and stat.S_ISDIR(status.mode):
            yield notice(FindingCode.EXTRA_DIR, f"{path} is a folder that no component of the index uses", path)


def code_is_used(bundle: Bundle) -> Iterator[Problem]:
    """Python files that nothing would run."""
    used = {*custom_pipeline_files(bundle), *(custom_component_file(bundle, entry) for entry in bundle.entries)}
    folders = {"", *(component.folder for component in bundle.components)}
    for path, _ in _entries(bundle):
        if path.endswith(".py") and path not in used and path.rpartition("/")[0] in folders:
            yield notice(FindingCode.UNUSED_CODE, f"{path} is code that no runtime runs", path)


def _entries(bundle: Bundle) -> Iterator[tuple[str, Stat | int]]:
    """Everything below the root, by its path there."""
    base = len(str(bundle.tree.root)) + 1
    return ((path[base:], status) for path, status in bundle.tree.entries[1:])


def _is_junk(name: str) -> bool:
    return name in _JUNK or name.startswith("._") or name.endswith(":Zone.Identifier")


LEFTOVER_RULES = (
    downloads_are_finished,
    nothing_is_junk,
    folders_are_components,
    code_is_used,
)
