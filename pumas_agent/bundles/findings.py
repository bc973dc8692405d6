"""Owns the codes of findings, how one is made, and what a person can do about each. Never looks at a disk."""

from dataclasses import dataclass
from enum import StrEnum
from reprlib import Repr

from pumas_agent.contracts.bundles import AssetValidationError

_SHOWN = Repr()
_SHOWN.maxlevel = 2  # whatever is deeper may be deeper than Python can go


class FindingCode(StrEnum):
    """What can be said against a bundle. Append-only; the first nine are the names of the existing Pumas library."""

    PATH_NOT_FOUND = "path_not_found"
    PATH_NOT_DIRECTORY = "path_not_directory"
    MISSING_MODEL_INDEX = "missing_model_index"
    INVALID_MODEL_INDEX_JSON = "invalid_model_index_json"
    MISSING_PIPELINE_CLASS = "missing_pipeline_class"
    UNSUPPORTED_PIPELINE = "unsupported_pipeline"
    MISSING_COMPONENT = "missing_component"
    COMPONENT_UNREADABLE = "component_unreadable"
    PATH_ESCAPE = "path_escape"

    BUNDLE_REPLACED = "bundle_replaced"
    COMPONENT_CLASS_MISMATCH = "component_class_mismatch"
    COMPONENT_CLASS_UNAVAILABLE = "component_class_unavailable"
    CONFIG_DEFAULTS = "config_defaults"
    CUSTOM_CODE = "custom_code"
    DANGLING_SYMLINK = "dangling_symlink"
    FILE_TOO_LARGE = "file_too_large"
    INVALID_COMPONENT_ENTRY = "invalid_component_entry"
    INVALID_CONFIG_JSON = "invalid_config_json"
    INVALID_PIPELINE_CLASS = "invalid_pipeline_class"
    INVALID_SHARD_INDEX = "invalid_shard_index"
    INVALID_TOKENIZER_FILES = "invalid_tokenizer_files"
    INVALID_WEIGHTS_HEADER = "invalid_weights_header"
    MISSING_CONFIG = "missing_config"
    MISSING_SHARD = "missing_shard"
    MISSING_TOKENIZER_FILES = "missing_tokenizer_files"
    MISSING_WEIGHTS = "missing_weights"
    NOT_A_PIPELINE_CLASS = "not_a_pipeline_class"
    PIPELINE_CLASS_UNAVAILABLE = "pipeline_class_unavailable"
    PROMPT_ENCODER_ABSENT = "prompt_encoder_absent"
    QUANTIZED_BACKEND = "quantized_backend"
    REQUIRED_COMPONENT_ABSENT = "required_component_absent"
    REQUIRED_COMPONENT_NULL = "required_component_null"
    TOKENIZER_CONFIG_MISSING = "tokenizer_config_missing"
    TOKENIZER_MERGES_EMPTY = "tokenizer_merges_empty"
    UNET_IN_CHANNELS = "unet_in_channels"
    UNKNOWN_COMPONENT_CLASS = "unknown_component_class"
    UNKNOWN_COMPONENT_LIBRARY = "unknown_component_library"
    UNKNOWN_PIPELINE_CLASS = "unknown_pipeline_class"
    UNSUPPORTED_FILE_TYPE = "unsupported_file_type"
    VARIANT_MISSING = "variant_missing"
    VARIANT_SCAN_CRASH = "variant_scan_crash"
    WEIGHTS_INCOMPLETE = "weights_incomplete"
    WEIGHTS_LFS_POINTER = "weights_lfs_pointer"
    WEIGHTS_ONLY_VARIANT = "weights_only_variant"
    WEIGHTS_SHAPE_MISMATCH = "weights_shape_mismatch"
    WEIGHTS_SIZE_MISMATCH = "weights_size_mismatch"
    WEIGHTS_TRUNCATED = "weights_truncated"

    COMPONENT_IN_ROOT = "component_in_root"
    CONFIG_CLASS_MISMATCH = "config_class_mismatch"
    EXTRA_DIR = "extra_dir"
    INCOMPLETE_DOWNLOAD = "incomplete_download"
    JUNK_FILES = "junk_files"
    PICKLE_WEIGHTS = "pickle_weights"
    SHARD_INDEX_DISAGREES = "shard_index_disagrees"
    STALE_SHARD_INDEX = "stale_shard_index"
    SYMLINK_OUTSIDE_BUNDLE = "symlink_outside_bundle"
    TOKENIZER_JSON_ONLY = "tokenizer_json_only"
    TOKENIZER_NEEDS_SENTENCEPIECE = "tokenizer_needs_sentencepiece"
    UNKNOWN_KEY = "unknown_key"
    UNUSED_CODE = "unused_code"
    UNUSED_TOKENIZER_FILE_DAMAGED = "unused_tokenizer_file_damaged"
    UNUSED_WEIGHTS_DAMAGED = "unused_weights_damaged"
    VARIANT_REQUIRED = "variant_required"
    VERSION_NEWER = "version_newer"


@dataclass(frozen=True, slots=True)
class Problem:
    """What a rule says: a fatal problem makes the bundle not valid, any other is worth knowing."""

    finding: AssetValidationError
    fatal: bool


def fatal(code: FindingCode, message: str, path: str | None = None) -> Problem:
    """A problem with which the bundle does not load, or does not draw what it should.

    Args:
        code: what kind of problem.
        message: names the thing and what is wrong with it, for a person.
        path: relative to the bundle root, None for the root itself.
    """
    return Problem(finding(code, message, path), fatal=True)


def notice(code: FindingCode, message: str, path: str | None = None) -> Problem:
    """Something worth knowing about a bundle that is valid all the same; arguments as `fatal`."""
    return Problem(finding(code, message, path), fatal=False)


def finding(code: FindingCode, message: str, path: str | None = None) -> AssetValidationError:
    """One finding; `path` is relative to the bundle root, None for the root itself."""
    return AssetValidationError(code=code.value, message=escaped(message), path=None if path is None else escaped(path))


def shown(value: object) -> str:
    """A value of any kind, depth and size, in a few words."""
    return _SHOWN.repr(value)


def escaped(text: str) -> str:
    """The text with what UTF-8 cannot hold written as an escape: names on disk are bytes, reports are JSON."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
