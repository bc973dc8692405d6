"""From a metadata record to its row (docs/reference/on-disk-format.md). Same record and same folder, same row.

Looks at file names and sizes in the model's own folder; never at an external bundle, and never into a file.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.contracts.timestamps import utc_from_ns
from pumas_agent.library.index import IndexRow
from pumas_agent.library.layout import METADATA_NAME, OWN_NAMES

MODEL_EXTENSIONS = (".gguf", ".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".onnx")
"""What a file model's payload may be called."""
PARTIAL_SUFFIXES = (".part", ".incomplete", ".pumas_download", ".crdownload", ".aria2")
"""How the files of downloads end that are not finished: those of Pumas, of the Hugging Face Hub, of browsers."""
PRIMARY_DEPTH = 2
_PARTIAL_DEPTH = 6
NOT_IN_ROW = (
    "model_id", "model_type", "cleaned_name", "official_name", "hashes", "tags", "compatible_apps", "conversion_source",
    "last_lookup_attempt", "license_artifact", "model_card_artifact", "reviewed_at", "reviewed_by", "subtype",
)  # fmt: skip
DERIVED_KEYS = (
    "download_incomplete", "download_has_part_files", "download_missing_expected_files", "primary_format",
    "quantization",
)  # fmt: skip
"""What a row says of a model's files; no record has it."""
_PICKLES = {"pt", "pth", "ckpt", "bin", "pkl"}
_FORMATS = {"gguf", "ggml", "safetensors", "onnx", "pickle"} | _PICKLES
_QUANTIZATION = re.compile(
    r"(?:^|[^a-z0-9])(i?q[1-8](?:_(?:k|0|1|xxs|xs|s|m|nl))*(?:_(?:s|m|l|xl))?|[bf]?f(?:p)?(?:8|16|32)|int[48]|nvfp4|mxfp4)"
    r"(?=$|[^a-z0-9])"
)


@dataclass(frozen=True, slots=True)
class PayloadFile:
    """A file below a model's folder. `name` is relative to it."""

    name: str
    size: int
    mtime_ns: int


def payload_files(directory: Path, depth: int) -> Iterator[PayloadFile]:
    """Regular files of a model, its records excepted, to a depth (1: the folder itself). Links are not followed."""
    pending = [(directory, "", 1)]
    while pending:
        folder, prefix, level = pending.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue  # gone or closed to us: it holds no payload that we could load
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                if level < depth:
                    pending.append((Path(entry.path), f"{name}/", level + 1))
            elif entry.is_file(follow_symlinks=False) and name not in OWN_NAMES:
                try:
                    facts = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # a download that was finished and renamed meanwhile
                yield PayloadFile(name, facts.st_size, facts.st_mtime_ns)


def primary_file(directory: Path) -> Path | None:
    """The file a runtime would load: the largest model file within two levels; the first by name of equal ones."""
    models = [file for file in payload_files(directory, PRIMARY_DEPTH) if file.name.lower().endswith(MODEL_EXTENSIONS)]
    if not models:
        return None
    return directory / min(models, key=lambda file: (-file.size, file.name)).name


def is_partial_download(directory: Path) -> bool:
    """Whether a file model is still being downloaded: nothing in its folder is whole that a runtime could load.

    A download beside a whole model, of another quantisation for one, does not take that away.
    """
    names = [file.name.lower() for file in payload_files(directory, _PARTIAL_DEPTH)]
    return any(name.endswith(PARTIAL_SUFFIXES) for name in names) and not any(
        name.endswith(MODEL_EXTENSIONS) for name in names
    )


def project(model_id: str, directory: Path, metadata: ModelMetadata, *, payload: Path | None = None) -> IndexRow:
    """The row of a model.

    Args:
        model_id: its id.
        directory: its folder.
        metadata: its record.
        payload: where its files lie before they are moved there; null: in its folder.
    """
    document = metadata.to_document()
    payload = directory if payload is None else payload
    files = () if metadata.is_external else tuple(payload_files(payload, _PARTIAL_DEPTH))
    facts = {key: value for key, value in document.items() if key not in NOT_IN_ROW}
    if not facts["validation_errors"]:
        del facts["validation_errors"]
    facts |= _payload_facts(metadata, files)
    if metadata.is_bundle and not metadata.is_external:
        facts["entry_path"] = str(directory)  # whatever is stored: the library may have been moved
    segments = model_id.split("/")
    return IndexRow(
        id=model_id,
        path=str(directory),
        cleaned_name=metadata.cleaned_name or segments[-1],
        official_name=metadata.official_name or model_id,
        model_type=metadata.model_type or segments[0],
        tags_json=_compact(metadata.tags or []),
        hashes_json=_compact(
            metadata.hashes.model_dump(exclude_none=True, include={"sha256", "blake3"}) if metadata.hashes else {}
        ),
        metadata_json=json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False),
        updated_at=metadata.updated_date or _newest(payload, files),
    )


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _newest(directory: Path, files: Iterable[PayloadFile]) -> str:
    stamps = [file.mtime_ns for file in files if file.name.count("/") < PRIMARY_DEPTH]
    return utc_from_ns(max([*stamps, (directory / METADATA_NAME).stat().st_mtime_ns]))


def _payload_facts(metadata: ModelMetadata, files: tuple[PayloadFile, ...]) -> dict[str, Any]:
    present = {file.name for file in files}
    parts = any(name.endswith(".part") for name in present)
    missing = set() if metadata.is_external else set(metadata.expected_files or ()) - present
    usable = metadata.match_source == "download_partial" and any(name.lower().endswith(".gguf") for name in present)
    return {
        "download_incomplete": (parts or bool(missing)) and not usable,
        "download_has_part_files": parts,
        "download_missing_expected_files": len(missing),
        "primary_format": _primary_format(metadata, files),
        "quantization": _quantization(metadata, files),
    }


def _primary_format(metadata: ModelMetadata, files: tuple[PayloadFile, ...]) -> str | None:
    conversion = metadata.conversion_source or {}
    names = [f".{conversion.get(key)}" for key in ("target_format", "source_format") if conversion.get(key)]
    names += [file.name for file in sorted(metadata.files or (), key=lambda file: -(file.size or 0))]
    names += [file.name for file in sorted(files, key=lambda file: (-file.size, file.name))]
    names += metadata.expected_files or []
    names += [f".{tag}" for tag in metadata.tags or []]
    for name in names:
        suffix = PurePosixPath(f"x{name}").suffix.lower().removeprefix(".")
        if suffix in _FORMATS:
            return "pickle" if suffix in _PICKLES else suffix
    return None


def _quantization(metadata: ModelMetadata, files: tuple[PayloadFile, ...]) -> str | None:
    conversion = metadata.conversion_source or {}
    names = [conversion.get("target_quant"), metadata.selected_artifact_quant, metadata.official_name]
    names += [
        file.name for file in sorted(files, key=lambda file: (file.name.endswith(".part"), -file.size, file.name))
    ]
    for name in names:
        if isinstance(name, str) and (match := _QUANTIZATION.search(name.lower())):
            return match[1].upper()
    return None
