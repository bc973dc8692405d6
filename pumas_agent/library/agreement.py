"""Where a model's record, its row and its files do not agree. Owns what is compared; changes nothing, opens no payload.

Looks only into the model's own folder: what an external bundle is like is for its judge to say.
"""

import dataclasses
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pumas_agent.contracts.errors import InvalidModelId, MetadataUnreadable
from pumas_agent.contracts.metadata import ModelFile, ModelHashes, ModelMetadata
from pumas_agent.contracts.verification import Difference, DifferenceCode
from pumas_agent.library.catalog import entry_of
from pumas_agent.library.files import read_json
from pumas_agent.library.index import IndexRow
from pumas_agent.library.layout import LibraryLayout
from pumas_agent.library.payload import is_inside
from pumas_agent.library.projection import MODEL_EXTENSIONS, payload_files, project

_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Recorded:
    """A file with the digests that the record has of it. `name` is relative to the model's folder or bundle's root."""

    name: str
    size: int
    digests: dict[str, str]


@dataclass(slots=True)
class ModelCheck:
    """What comparing one model gave.

    Attributes:
        model_id: of the model.
        metadata: its record; None when it cannot be read.
        differences: what does not agree.
        files: how many files were looked for.
        digests: files whose content could be compared.
        notes: what could not be compared, and why.
    """

    model_id: str
    metadata: ModelMetadata | None = None
    differences: list[Difference] = field(default_factory=list)
    files: int = 0
    digests: list[Recorded] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, code: DifferenceCode, message: str, path: str | None = None) -> None:
        """Note a difference."""
        message = message.encode("utf-8", "backslashreplace").decode("utf-8")
        self.differences.append(Difference(code=code, model_id=self.model_id, message=message, path=path))


def compare(layout: LibraryLayout, model_id: str, row: IndexRow | None) -> ModelCheck:
    """Compare a model's record with its row and its files. Blocks on the disk; raises nothing for what is there."""
    check = ModelCheck(model_id)
    try:
        directory = layout.directory(model_id)
        check.metadata, unreadable = ModelMetadata.parse(read_json(layout.metadata_path(model_id)))
    except FileNotFoundError:
        if row is not None and not entry_of(row).needs_no_record:
            check.add(DifferenceCode.RECORD_MISSING, "the index has a row of it, and there is no metadata.json")
        return check
    except (MetadataUnreadable, InvalidModelId) as error:
        check.add(DifferenceCode.RECORD_UNREADABLE, error.message)
        return check
    for problem in unreadable:
        check.add(DifferenceCode.FIELD_UNREADABLE, f"{problem.field}: {problem.message}")
    _compare_row(check, directory, check.metadata, row)
    if check.metadata.is_external:
        check.digests = _recorded_outside(check, check.metadata)
    else:
        _compare_files(check, directory, check.metadata)
    return check


def _compare_row(check: ModelCheck, directory: Path, metadata: ModelMetadata, row: IndexRow | None) -> None:
    if row is None:
        check.add(DifferenceCode.ROW_MISSING, "there is a metadata.json, and the index has no row of it")
        return
    try:
        expected = project(check.model_id, directory, metadata)
    except OSError:
        return  # removed in this moment
    names = (column.name for column in dataclasses.fields(IndexRow))
    columns = [name for name in names if getattr(row, name) != getattr(expected, name)]
    if columns:
        what = f"the row is not what its metadata.json says: {', '.join(columns)}"
        check.add(DifferenceCode.ROW_DIFFERS, what)


def _compare_files(check: ModelCheck, directory: Path, metadata: ModelMetadata) -> None:
    sized = False
    for file in metadata.files or ():
        size = _compare_file(check, directory, file.name, file.size)
        sized = sized or file.size is not None
        if size is not None and (digests := _digests(check, file)):
            check.digests.append(Recorded(file.name, size, digests))
    named = {file.name for file in metadata.files or ()}
    if metadata.match_source != "download_partial":
        for name in dict.fromkeys(metadata.expected_files or ()):
            if name not in named:
                _compare_file(check, directory, name, None)
    if metadata.is_bundle:
        return
    if metadata.size_bytes is not None and not sized:
        _compare_size(check, directory, metadata.size_bytes)
    if metadata.hashes is not None and not check.digests:
        _note_digest(check, directory, metadata.hashes)


def _note_digest(check: ModelCheck, directory: Path, hashes: ModelHashes) -> None:
    """The digest of the model as a whole is that of its one model file; of which of several, nothing says."""
    whole = _digests(check, ModelFile(name="", sha256=hashes.sha256, blake3=hashes.blake3))
    models = [file for file in payload_files(directory, _DEPTH) if file.name.lower().endswith(MODEL_EXTENSIONS)]
    if whole and len(models) == 1:
        check.digests.append(Recorded(models[0].name, models[0].size, whole))
    elif whole:
        check.notes.append(f"{check.model_id}: its digest is of one file, and it has {len(models)} model files")


def _compare_file(check: ModelCheck, directory: Path, name: str, size: int | None) -> int | None:
    """The size of a file that is there."""
    check.files += 1
    if not is_inside(name):
        check.add(DifferenceCode.NAME_LEADS_OUT, f"the record names the file {name!r}, which is no place in its folder")
        return None
    try:
        found = (directory / name).lstat()
    except (FileNotFoundError, NotADirectoryError):
        check.add(DifferenceCode.FILE_MISSING, f"the record names {name}, and it is not there", name)
        return None
    except OSError as error:
        check.add(DifferenceCode.FILE_UNREADABLE, f"{name} cannot be looked at: {error.strerror}", name)
        return None
    if not stat.S_ISREG(found.st_mode):
        check.add(DifferenceCode.FILE_UNREADABLE, f"{name} is no file of the library's own", name)
        return None
    if size is not None and found.st_size != size:
        what = f"{name} has {found.st_size:,} bytes, and the record says {size:,}"
        check.add(DifferenceCode.SIZE_DIFFERS, what, name)
        return None
    return found.st_size


def _compare_size(check: ModelCheck, directory: Path, recorded: int) -> None:
    """What a size is of is not written down: of everything, of the model files, or of the one that is loaded."""
    files = list(payload_files(directory, _DEPTH))
    models = [file.size for file in files if file.name.lower().endswith(MODEL_EXTENSIONS)]
    total = sum(file.size for file in files)
    if recorded not in {total, sum(models), max(models, default=0)}:
        what = f"its files have {total:,} bytes, {sum(models):,} of them in model files; the record says {recorded:,}"
        check.add(DifferenceCode.SIZE_DIFFERS, what)


def _recorded_outside(check: ModelCheck, metadata: ModelMetadata) -> list[Recorded]:
    recorded = []
    for file in metadata.files or ():
        if not is_inside(file.name):
            what = f"the record names the file {file.name!r}, which is no place in the bundle"
            check.add(DifferenceCode.NAME_LEADS_OUT, what)
        elif digests := _digests(check, file):
            recorded.append(Recorded(file.name, file.size or 0, digests))
    return recorded


def _digests(check: ModelCheck, file: ModelFile) -> dict[str, str]:
    digests = {}
    for algorithm, value in (("sha256", file.sha256), ("blake3", file.blake3)):
        text = (value or "").strip().lower()
        if len(text) == 64 and not set(text) - set("0123456789abcdef"):  # noqa: PLR2004 - both have 256 bits
            digests[algorithm] = text
        elif text:
            check.notes.append(f"{check.model_id}: {algorithm} of {file.name or 'it'} in the record is no digest")
    return digests


def by_place(differences: list[Difference]) -> Iterator[Difference]:
    """In the order of a report: the index as a whole, then by model and path."""
    yield from sorted(differences, key=lambda one: (one.model_id or "", one.path or "", one.code, one.message))
