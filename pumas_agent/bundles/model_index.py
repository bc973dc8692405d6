"""Owns how model_index.json is read: the JSON in it, and the name of the pipeline. Never judges what it says."""

import errno
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumas_agent.bundles.findings import FindingCode, Problem, fatal
from pumas_agent.bundles.reading import FileTooLarge, NotRegularFile, read_file

MODEL_INDEX = "model_index.json"
MAX_INDEX_BYTES = 1024 * 1024
CLASS_NAME = "_class_name"


@dataclass(frozen=True, slots=True)
class ModelIndex:
    """What the index says, or the one problem for which it says nothing."""

    document: Any = None
    problem: Problem | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """The document; nothing when it is no JSON object."""
        return self.document if isinstance(self.document, dict) else {}

    @property
    def pipeline_class(self) -> str | None:
        """The class that `_class_name` names; of the form `[module, class]` its second part."""
        named = self.fields.get(CLASS_NAME)
        if isinstance(named, list) and len(named) == 2:  # noqa: PLR2004 - the form of custom code: [module, class]
            named = named[1]
        return named if isinstance(named, str) and named.strip() else None


def read_model_index(root: Path) -> ModelIndex:
    """Read the index below the root; whatever is there, the answer is an index."""
    try:
        content = read_file(root / MODEL_INDEX, MAX_INDEX_BYTES)
    except (OSError, NotRegularFile, FileTooLarge) as error:
        return _wrong(*_why_unreadable(root, error))
    try:
        return ModelIndex(json.loads(content.decode("utf-8")))
    except ValueError as error:
        return _wrong(FindingCode.INVALID_MODEL_INDEX_JSON, f"is not UTF-8 JSON: {error}")
    except RecursionError:
        return _wrong(FindingCode.INVALID_MODEL_INDEX_JSON, "is nested too deeply")


def _why_unreadable(root: Path, error: OSError | NotRegularFile | FileTooLarge) -> tuple[FindingCode, str]:
    if isinstance(error, FileTooLarge):
        return FindingCode.FILE_TOO_LARGE, f"has more than {MAX_INDEX_BYTES:,} bytes"
    if isinstance(error, NotRegularFile):
        if error.is_directory:
            return FindingCode.MISSING_MODEL_INDEX, "is a directory, not a file"
        return FindingCode.UNSUPPORTED_FILE_TYPE, "is a pipe, socket or device, not a file"
    if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return FindingCode.COMPONENT_UNREADABLE, f"cannot be read: {error.strerror}"
    link = (root / MODEL_INDEX).is_symlink()
    return FindingCode.MISSING_MODEL_INDEX, "is a link that leads nowhere" if link else "is missing"


def _wrong(code: FindingCode, what: str) -> ModelIndex:
    return ModelIndex(problem=fatal(code, f"{MODEL_INDEX} {what}", MODEL_INDEX))
