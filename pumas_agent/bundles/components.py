"""Owns what stands at each component's place: there, missing, unreadable, or outside the bundle.

Never looks at what a component contains.
"""

import errno
import os
from pathlib import Path, PurePosixPath

from pumas_agent.bundles.findings import FindingCode, finding
from pumas_agent.bundles.model_index import MODEL_INDEX, ComponentEntry
from pumas_agent.contracts.bundles import AssetValidationError, BundleComponent, ComponentState

_CODES = {
    ComponentState.MISSING: FindingCode.MISSING_COMPONENT,
    ComponentState.UNREADABLE: FindingCode.COMPONENT_UNREADABLE,
    ComponentState.PATH_ESCAPE: FindingCode.PATH_ESCAPE,
}
_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def judge_component(root: Path, entry: ComponentEntry) -> tuple[BundleComponent, AssetValidationError | None]:
    """The component's line of the manifest, and what is wrong with its place. `root` is canonical."""
    state, why = _place(root, entry.name)
    component = BundleComponent(
        name=entry.name,
        relative_path=entry.name,
        source_library=entry.source_library,
        class_name=entry.class_name,
        state=state,
    )
    if state is ComponentState.PRESENT:
        return component, None
    return component, finding(_CODES[state], f"component {entry.name!r} {why}", entry.name)


def _place(root: Path, name: str) -> tuple[ComponentState, str]:
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        return ComponentState.PATH_ESCAPE, "is named by a path that leads out of the bundle"
    path = root / name
    try:
        real = Path(os.path.realpath(path, strict=True))
    except ValueError:
        return ComponentState.MISSING, "has a NUL in its name, which no folder can have"
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return ComponentState.MISSING, _why_missing(path)
        return ComponentState.UNREADABLE, f"cannot be read: {error.strerror}"
    return _resolved_place(root, real)


def _resolved_place(root: Path, real: Path) -> tuple[ComponentState, str]:
    if not real.is_relative_to(root) and not _is_cache_blob(root, real):
        return ComponentState.PATH_ESCAPE, f"is a link that leads out of the bundle, to {real}"
    if not os.access(real, os.R_OK | os.X_OK if real.is_dir() else os.R_OK):
        return ComponentState.UNREADABLE, "cannot be read: Permission denied"
    return ComponentState.PRESENT, ""


def _why_missing(path: Path) -> str:
    try:
        target = path.readlink()
    except OSError:
        return f"is missing: {MODEL_INDEX} names it, and the bundle has nothing of that name"
    return f"is missing: there is only a link that leads nowhere, to {target}"


def _is_cache_blob(root: Path, real: Path) -> bool:
    """True for a blob of the Hugging Face cache that the bundle itself lies in.

    The layout is `models--<org>--<name>/snapshots/<revision>/…`, whose files are links into `models--…/blobs`.
    """
    for folder in root.parents:
        if folder.name == "snapshots" and folder.parent.name.startswith("models--"):
            return real.is_relative_to(os.path.realpath(folder.parent / "blobs"))
    return False
