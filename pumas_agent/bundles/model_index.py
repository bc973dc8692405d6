"""Owns how model_index.json is read: which pipeline the bundle is, and which components it names.

Never looks at the components themselves.
"""

import errno
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumas_agent.bundles.findings import FindingCode, finding
from pumas_agent.bundles.reading import FileTooLarge, NotRegularFile, read_file
from pumas_agent.contracts.bundles import AssetValidationError

MODEL_INDEX = "model_index.json"
MAX_INDEX_BYTES = 1024 * 1024
MAX_COMPONENTS = 200
"""No pipeline of diffusers has more than a dozen."""

UNSUPPORTED_WORDS = ("img2img", "image2image", "inpaint", "controlnet", "refiner", "audio", "speech", "video")


@dataclass(frozen=True, slots=True)
class ComponentEntry:
    """One component as the index names it."""

    name: str
    source_library: str | None
    class_name: str | None


@dataclass(frozen=True, slots=True)
class ModelIndex:
    """What the index says, as far as it could be read, and what is wrong with it."""

    pipeline_class: str | None = None
    components: tuple[ComponentEntry, ...] = ()
    findings: tuple[AssetValidationError, ...] = ()


def is_supported_pipeline(pipeline_class: str) -> bool:
    """The word test of the existing Pumas library: text-to-image pipelines, told by their name."""
    lowered = pipeline_class.lower()
    return "pipeline" in lowered and not any(word in lowered for word in UNSUPPORTED_WORDS)


def read_model_index(root: Path) -> ModelIndex:
    """Read the index below the root.

    Whatever is there, the answer is an index, with findings where it is not sound.
    """
    content = _read(root / MODEL_INDEX)
    if isinstance(content, AssetValidationError):
        return ModelIndex(findings=(content,))
    try:
        document = _parse(content)
    except ValueError as error:
        return ModelIndex(findings=(_wrong(FindingCode.INVALID_MODEL_INDEX_JSON, f"is not UTF-8 JSON: {error}"),))
    except RecursionError:
        return ModelIndex(findings=(_wrong(FindingCode.INVALID_MODEL_INDEX_JSON, "is nested too deeply"),))
    return _interpret(document if isinstance(document, dict) else {})


def _read(path: Path) -> bytes | AssetValidationError:
    try:
        return read_file(path, MAX_INDEX_BYTES)
    except FileTooLarge:
        return _wrong(FindingCode.FILE_TOO_LARGE, f"has more than {MAX_INDEX_BYTES} bytes")
    except NotRegularFile as error:
        if error.is_directory:
            return _wrong(FindingCode.MISSING_MODEL_INDEX, "is a directory, not a file")
        return _wrong(FindingCode.UNSUPPORTED_FILE_TYPE, "is a pipe, socket or device, not a file")
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return _wrong(FindingCode.COMPONENT_UNREADABLE, f"cannot be read: {error.strerror}")
        return _wrong(
            FindingCode.MISSING_MODEL_INDEX,
            "is a link that leads nowhere" if path.is_symlink() else "is missing",
        )


def _parse(content: bytes) -> Any:
    """The document. Raises ValueError (bad UTF-8, bad JSON, text that no UTF-8 can hold) and RecursionError."""
    document = json.loads(content.decode("utf-8"))
    json.dumps(document, ensure_ascii=False).encode("utf-8")  # "\ud800" is JSON, but names nothing on any disk
    return document


def _interpret(document: dict[str, Any]) -> ModelIndex:
    named = document.get("_class_name")
    pipeline_class = named if isinstance(named, str) and named.strip() else None
    entries = sorted(_entries(document), key=lambda entry: entry.name)
    findings = []
    if pipeline_class is None:
        findings.append(_wrong(FindingCode.MISSING_PIPELINE_CLASS, "names no pipeline in _class_name"))
    if len(entries) > MAX_COMPONENTS:
        what = f"names {len(entries)} components; only the first {MAX_COMPONENTS} were looked at"
        findings.append(_wrong(FindingCode.INVALID_MODEL_INDEX_JSON, what))
    return ModelIndex(pipeline_class, tuple(entries[:MAX_COMPONENTS]), tuple(findings))


def _entries(document: dict[str, Any]) -> Iterable[ComponentEntry]:
    for name, value in document.items():
        if name.startswith("_") or not isinstance(value, list) or all(item is None for item in value):
            continue
        library, class_name, *_ = [*value, None]
        yield ComponentEntry(
            name,
            library if isinstance(library, str) else None,
            class_name if isinstance(class_name, str) else None,
        )


def _wrong(code: FindingCode, what: str) -> AssetValidationError:
    return finding(code, f"{MODEL_INDEX} {what}", MODEL_INDEX)
