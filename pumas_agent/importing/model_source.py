"""What someone wants to import, as one look at it finds: its files, its format, and why it is refused.

Owns the refusals that the files alone decide. Opens files to read their first bytes and the config; changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumas_agent.contracts.bundles import AssetValidationError, SecurityTier
from pumas_agent.contracts.errors import ImportFailed
from pumas_agent.importing.classify import is_bundle_folder
from pumas_agent.importing.formats import FileFormat, format_of, read_head, tier_of
from pumas_agent.importing.model_types import read_config
from pumas_agent.importing.shards import group_files
from pumas_agent.importing.tree import SourceFile, SourceTree, walk_source
from pumas_agent.library import PARTIAL_SUFFIXES
from pumas_agent.library.layout import OWN_NAMES

PICKLE_UNACKNOWLEDGED = "pickle_unacknowledged"
PICKLE_TEXT = "Pickle files may contain malicious code. Set security_acknowledged=true to proceed."
NO_MODEL_FILES = "no_model_files"
INCOMPLETE_SHARDS = "incomplete_shards"
NOT_COPYABLE = "not_copyable"
SEVERAL_MODELS = "several_models"
PARTIAL_DOWNLOAD = "partial_download"


class Refused(Exception):
    """The import is refused, with findings. `model_id` names the model in the way, if any."""

    def __init__(self, *findings: AssetValidationError, model_id: str | None = None) -> None:
        self.findings = findings
        self.error = "; ".join(finding.message for finding in findings)
        self.model_id = model_id
        super().__init__(self.error)


def refused(code: str, message: str, *, model_id: str | None = None) -> Refused:
    """A refusal for one reason."""
    return Refused(AssetValidationError(code=code, message=message), model_id=model_id)


def require_acknowledged(tier: SecurityTier, *, acknowledged: bool) -> None:
    """Refuse pickles that nobody has said to trust.

    Raises:
        Refused: it has one.
    """
    if tier is SecurityTier.PICKLE and not acknowledged:
        raise refused(PICKLE_UNACKNOWLEDGED, PICKLE_TEXT)


@dataclass(frozen=True, slots=True)
class ModelSource:
    """What a look at a path to import found."""

    root: Path
    """The folder; of a single file, the one it lies in."""
    files: tuple[SourceFile, ...]
    is_bundle: bool
    size: int
    tier: SecurityTier
    primary: tuple[Path, FileFormat] | None
    config: dict[str, Any] | None


def look_at(path: Path, *, partials: bool = True) -> ModelSource:
    """Look at a file or a folder; blocks on the disk.

    Args:
        path: a file or a folder.
        partials: whether what a download has left unfinished may lie there.

    Raises:
        Refused: it is no model that can be imported.
        ImportFailed: it cannot be read.
    """
    try:
        if path.is_file():
            facts = path.stat()
            tree = SourceTree(path.parent, [SourceFile(path.name, path, facts.st_size, facts.st_mtime_ns)])
            is_bundle = False
        else:
            tree = walk_source(path)
            tree.files = [file for file in tree.files if file.name not in OWN_NAMES]
            is_bundle = is_bundle_folder({name.split("/")[0] for name in (*tree.folders, *_names(tree))})
    except OSError as error:
        raise ImportFailed(f"{path} cannot be read: {error.strerror or error}", hint="check the path") from error
    if tree.bound is not None:
        raise refused(NOT_COPYABLE, f"{path} is no single model: {tree.bound}")
    if tree.not_copied:
        name, why = tree.not_copied[0]
        raise refused(NOT_COPYABLE, f"{name} cannot be imported: it is {why}" if " " in why else f"{name}: {why}")
    if not partials and (unfinished := next((name for name in _names(tree) if name.endswith(PARTIAL_SUFFIXES)), None)):
        raise refused(PARTIAL_DOWNLOAD, f"{unfinished} is a download that is not finished")
    if not is_bundle and (inner := _bundle_below(tree)) is not None:
        raise refused(SEVERAL_MODELS, f"{path} is no single model: a bundle lies below it, in {inner}")
    formats = {file.name: format_of(_read_head(file.path), file.name) for file in tree.files}
    models = [file for file in tree.files if formats[file.name] is not FileFormat.UNKNOWN]
    if not is_bundle:
        _require_whole(models)
    main = min(models, key=lambda file: (-file.size, file.name), default=None)
    tiers = {tier_of(found) for found in formats.values()}
    tier = SecurityTier.PICKLE if SecurityTier.PICKLE in tiers else SecurityTier.SAFE
    return ModelSource(
        root=tree.root,
        files=tuple(tree.files),
        is_bundle=is_bundle,
        size=tree.size,
        tier=tier,
        primary=None if main is None else (main.path, formats[main.name]),
        config=read_config(tree.root) if path.is_dir() else None,
    )


def _bundle_below(tree: SourceTree) -> str | None:
    """The first folder below that is a diffusers directory."""
    below: dict[str, set[str]] = {}
    for name in (*tree.folders, *_names(tree)):
        parent, _, own = name.rpartition("/")
        below.setdefault(parent, set()).add(own)
    return next((folder for folder, names in sorted(below.items()) if folder and is_bundle_folder(names)), None)


def _read_head(path: Path) -> bytes:
    try:
        return read_head(path)
    except OSError as error:
        raise ImportFailed(f"{path} cannot be read: {error.strerror or error}", hint="check its permissions") from error


def _names(tree: SourceTree) -> list[str]:
    return [file.name for file in tree.files]


def _require_whole(models: Sequence[SourceFile]) -> None:
    if not models:
        raise refused(NO_MODEL_FILES, "No model files found in directory")
    for group in group_files((file.name, file.size) for file in models):
        if group.missing is not None:
            raise refused(INCOMPLETE_SHARDS, group.missing)
