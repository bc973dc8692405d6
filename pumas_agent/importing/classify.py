"""What lies at a path that someone wants to import. Owns the kinds and the reasons; looks, and changes nothing.

A diffusers directory is one bundle, however damaged: its components are never offered as models of their own.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pumas_agent.bundles import Look
from pumas_agent.bundles.model_index import MODEL_INDEX
from pumas_agent.contracts.classification import (
    CandidateKind,
    ClassificationReport,
    ImportCandidate,
    PathClassification,
    PathKind,
)
from pumas_agent.contracts.errors import AssetUnresponsive, PathNotAbsolute, PathNotUtf8
from pumas_agent.contracts.metadata import BundleFormat
from pumas_agent.importing.formats import FileFormat, format_of, read_head
from pumas_agent.importing.model_types import family_of, read_config, resolve_type
from pumas_agent.importing.record import DEFAULT_FAMILY, MODEL_TYPE
from pumas_agent.importing.shards import Group, group_files
from pumas_agent.importing.tree import SourceTree, walk_source
from pumas_agent.in_time import in_time

LOOK_S = 20.0
_CANDIDATES = 200
"""As many as a person reads through; the rest is counted."""
_DENOISERS = frozenset({"unet", "transformer", "prior", "decoder"})
_PARTS = frozenset(
    {"vae", "scheduler", "text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "vqvae", "movq"}
)


class Classifier:
    """Says what paths are."""

    def __init__(self, judge: Callable[[Path], Awaitable[Look]]) -> None:
        self._judge = judge

    async def classify(self, paths: Sequence[str]) -> ClassificationReport:
        """One answer for each path, in their order.

        Raises:
            PathNotAbsolute, PathNotUtf8: a path means nothing here.
            AssetUnresponsive: a filesystem does not answer in time.
        """
        return ClassificationReport(classifications=tuple([await self._classify(path) for path in paths]))

    async def _classify(self, given: str) -> PathClassification:
        path = Path(given)
        if not path.is_absolute():
            raise PathNotAbsolute(
                f"not an absolute path: {given!r}", hint="the command line makes paths absolute; a program has to"
            )
        if "\0" in given or any(0xD800 <= ord(char) < 0xE000 for char in given):  # noqa: PLR2004  surrogates
            raise PathNotUtf8(f"the path has bytes that are not UTF-8: {given!a}", hint="rename it")
        try:
            found = await in_time(lambda: _survey(path), LOOK_S, name="classify")
        except TimeoutError:
            raise AssetUnresponsive(
                f"{given} did not answer within {LOOK_S:g} s",
                hint="check the filesystem that holds it: a network or external drive may have gone away",
            ) from None
        if isinstance(found, PathClassification):
            return found
        if found.is_bundle:
            return _bundle(given, await self._judge(path))
        children = [await self._child(path / name) for name in found.bundles]
        return _folder(given, found, children)

    async def _child(self, path: Path) -> ImportCandidate:
        report = (await self._judge(path)).report
        return ImportCandidate(
            path=str(path),
            kind=CandidateKind.EXTERNAL_DIFFUSERS_BUNDLE,
            display_name=path.name,
            model_type=MODEL_TYPE,
            bundle_format=BundleFormat.DIFFUSERS_DIRECTORY,
            pipeline_class=report.pipeline_class,
            component_manifest=report.components,
            findings=report.findings,
        )


@dataclass(frozen=True, slots=True)
class _Unit:
    """Files that are one model."""

    group: Group
    format: FileFormat

    @property
    def top(self) -> str:
        """The folder below the walked one that it lies in; empty when it lies there itself."""
        parts = PurePosixPath(self.group.name).parts
        return parts[0] if len(parts) > 1 else ""


@dataclass(frozen=True, slots=True)
class _Folder:
    """What a look at a folder found."""

    tree: SourceTree
    is_bundle: bool
    bundles: tuple[str, ...]
    """Folders directly below that are bundles."""
    units: tuple[_Unit, ...]
    """Models outside of these."""


def is_bundle_folder(names: set[str]) -> bool:
    """Whether a folder with these names in it is a diffusers directory, be it one that has lost its index."""
    return MODEL_INDEX in names or (bool(names & _DENOISERS) and bool(names & _PARTS))


def _survey(path: Path) -> "PathClassification | _Folder":
    """Blocks on the disk."""
    given = str(path)
    try:
        if not path.exists():
            return _unsupported(given, f"path not found: {given}")
        if path.is_file():
            return _file(path)
        if not path.is_dir():
            return _unsupported(given, "it is neither a file nor a folder")
        tree = walk_source(path)
    except OSError as error:
        return _unsupported(given, f"could not inspect {given}: {error.strerror or error}")
    below: dict[str, set[str]] = {}
    for name in (*tree.folders, *(file.name for file in tree.files), *(name for name, _ in tree.not_copied)):
        pure = PurePosixPath(name)
        below.setdefault("" if str(pure.parent) == "." else str(pure.parent), set()).add(pure.name)
    bundles = tuple(sorted(name for name, inside in below.items() if name and is_bundle_folder(inside)))
    tops = tuple(name for name in bundles if not any(name.startswith(f"{other}/") for other in bundles))
    if is_bundle_folder(below.get("", set())):
        return _Folder(tree, True, (), ())
    outside = [file for file in tree.files if not any(file.name.startswith(f"{top}/") for top in tops)]
    formats = {file.name: format_of(_head(file.path), file.name) for file in outside}
    known = [(file.name, file.size) for file in outside if formats[file.name] is not FileFormat.UNKNOWN]
    units = tuple(_Unit(group, formats[group.files[0]]) for group in group_files(known))
    return _Folder(tree, False, tops, units)


def _head(path: Path) -> bytes:
    try:
        return read_head(path)
    except OSError:
        return b""  # what cannot be read is no model that could be imported


def _file(path: Path) -> PathClassification:
    found = format_of(read_head(path), path.name)
    if found is FileFormat.UNKNOWN:
        return _unsupported(str(path), "file is not a supported model artifact")
    primary = (path, found)
    return PathClassification(
        path=str(path),
        kind=PathKind.SINGLE_FILE,
        suggested_family=family_of(None, primary) or DEFAULT_FAMILY,
        suggested_official_name=path.stem,
        model_type=resolve_type(path.stem, None, primary).model_type,
        size_bytes=path.stat().st_size,
        reasons=(f"a {found} file",),
    )


def _bundle(given: str, look: Look) -> PathClassification:
    report = look.report
    reasons = ["a diffusers directory"]
    if report.findings:
        reasons.append("it is not valid now: see findings")
    return PathClassification(
        path=given,
        kind=PathKind.SINGLE_BUNDLE,
        suggested_family=DEFAULT_FAMILY,
        suggested_official_name=Path(given).name or None,
        model_type=MODEL_TYPE,
        bundle_format=BundleFormat.DIFFUSERS_DIRECTORY,
        pipeline_class=report.pipeline_class,
        component_manifest=report.components,
        findings=report.findings,
        size_bytes=report.size_bytes,
        reasons=tuple(reasons),
    )


def _folder(given: str, found: _Folder, bundles: list[ImportCandidate]) -> PathClassification:
    root = Path(given)
    by_top: dict[str, list[_Unit]] = {}
    for unit in found.units:
        by_top.setdefault(unit.top, []).append(unit)
    single = {top: units[0] for top, units in by_top.items() if top and len(units) == 1}
    children = [*bundles, *(_child_model(root / top, unit) for top, unit in single.items())]
    units = [unit for unit in found.units if unit.top not in single]
    loose = [_loose(root, unit) for unit in units]
    size = found.tree.size
    cut = (f"not looked at to the end: {found.tree.bound}",) if found.tree.bound else ()
    if children:
        if units:
            kind, why = PathKind.AMBIGUOUS, "models lie in it and below it"
        elif len(children) > 1:
            kind, why = PathKind.MULTI_MODEL_CONTAINER, "several models lie below it"
        else:
            kind, why = PathKind.AMBIGUOUS, "one model lies below it: import that folder itself"
        return _several(given, kind, [*children, *loose], why, *cut, size=size)
    if len(units) > 1:
        return _several(given, PathKind.MULTI_MODEL_CONTAINER, loose, "several models lie in it", *cut, size=size)
    if not units and cut:
        return _several(given, PathKind.AMBIGUOUS, [], *cut, size=size)
    if not units:
        return _unsupported(given, "directory does not match a supported bundle or model layout")
    unit = units[0]
    config, primary = read_config(root), (root / unit.group.files[0], unit.format)
    return PathClassification(
        path=given,
        kind=PathKind.SINGLE_MODEL_DIRECTORY,
        suggested_family=family_of(config, primary) or DEFAULT_FAMILY,
        suggested_official_name=root.name or None,
        model_type=resolve_type(root.name, config, primary).model_type,
        size_bytes=size,
        reasons=(f"a folder with one {unit.format} model", *_incomplete(unit), *cut),
    )


def _child_model(path: Path, unit: _Unit) -> ImportCandidate:
    primary = (path.parent / unit.group.files[0], unit.format)
    return ImportCandidate(
        path=str(path),
        kind=CandidateKind.DIRECTORY_MODEL,
        display_name=path.name,
        model_type=resolve_type(path.name, read_config(path), primary).model_type,
        reasons=(f"a folder with one {unit.format} model", *_incomplete(unit)),
    )


def _loose(root: Path, unit: _Unit) -> ImportCandidate:
    path = root / unit.group.files[0]
    name = PurePosixPath(unit.group.name).stem
    return ImportCandidate(
        path=str(path),
        kind=CandidateKind.FILE_MODEL,
        display_name=name,
        model_type=resolve_type(name, None, (path, unit.format)).model_type,
        reasons=(f"a {unit.format} file" if len(unit.group.files) == 1 else f"{len(unit.group.files)} shards",
                 *_incomplete(unit)),
    )  # fmt: skip


def _incomplete(unit: _Unit) -> tuple[str, ...]:
    return () if unit.group.missing is None else (unit.group.missing,)


def _several(
    given: str, kind: PathKind, candidates: list[ImportCandidate], *reasons: str, size: int
) -> PathClassification:
    shown = sorted(candidates, key=lambda candidate: candidate.path)[:_CANDIDATES]
    more = (f"{len(candidates) - len(shown)} more are not shown",) if len(shown) < len(candidates) else ()
    return PathClassification(
        path=given, kind=kind, candidates=tuple(shown), reasons=(*reasons, *more), size_bytes=size
    )


def _unsupported(given: str, reason: str) -> PathClassification:
    return PathClassification(path=given, kind=PathKind.UNSUPPORTED, reasons=(reason,))
