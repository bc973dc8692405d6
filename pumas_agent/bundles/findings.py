"""Owns the codes of findings and how one is made. Never looks at a disk."""

from enum import StrEnum

from pumas_agent.contracts.bundles import AssetValidationError


class FindingCode(StrEnum):
    """What can be wrong with a bundle. Append-only; the first nine are the names of the existing Pumas library."""

    PATH_NOT_FOUND = "path_not_found"
    PATH_NOT_DIRECTORY = "path_not_directory"
    MISSING_MODEL_INDEX = "missing_model_index"
    INVALID_MODEL_INDEX_JSON = "invalid_model_index_json"
    MISSING_PIPELINE_CLASS = "missing_pipeline_class"
    UNSUPPORTED_PIPELINE = "unsupported_pipeline"
    MISSING_COMPONENT = "missing_component"
    COMPONENT_UNREADABLE = "component_unreadable"
    PATH_ESCAPE = "path_escape"
    FILE_TOO_LARGE = "file_too_large"
    UNSUPPORTED_FILE_TYPE = "unsupported_file_type"


def finding(code: FindingCode, message: str, path: str | None = None) -> AssetValidationError:
    """One finding; `path` is relative to the bundle root, None for the root itself."""
    return AssetValidationError(code=code.value, message=escaped(message), path=None if path is None else escaped(path))


def escaped(text: str) -> str:
    """The text with what UTF-8 cannot hold written as an escape: names on disk are bytes, reports are JSON."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
