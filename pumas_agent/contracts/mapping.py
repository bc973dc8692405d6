"""Mapping: library files as links in an application's folders. Configuration, plan, result, and the register of links.

Keys of answers keep the names that the existing Pumas library gave them; what was added stands behind those.
"""

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pumas_agent.contracts.model import Contract, is_absent

ANY_VERSION = "*"
"""The version of a configuration that holds for every version of its application."""


# --- configuration ---------------------------------------------------------------------------------------------------


def _below_the_root(text: str) -> str:
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or "\0" in text:
        raise ValueError(f"must be a folder below the application's models folder, and {text!r} is none")
    return path.as_posix()


class MappingRule(Contract):
    """Which models have their files linked into a folder. A filter that is absent or empty lets every model pass."""

    target_dir: Annotated[str, AfterValidator(_below_the_root)]
    model_types: tuple[str, ...] | None = None
    subtypes: tuple[str, ...] | None = None
    families: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = Field(default=None, description="Any of them.")
    exclude_tags: tuple[str, ...] | None = Field(default=None, description="None of them.")


class MappingConfig(Contract):
    """The rules of one application: `<app>_<version>_<variant>.json` in the folder of the setting."""

    app: str = Field(min_length=1)
    version: str = Field(min_length=1, description="One version, or `*` for all.")
    variant: str | None = None
    mappings: tuple[MappingRule, ...]


# --- the register of links -------------------------------------------------------------------------------------------


class LinkType(StrEnum):
    """How a file of the library got into an application's folder."""

    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    COPY = "copy"


class LinkEntry(BaseModel):
    """One link in `link_registry.json`; keys that we do not know are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    model_id: str
    source: str
    target: str
    link_type: LinkType
    created_at: str
    app_id: str
    app_version: str | None = None


# --- preview and apply -----------------------------------------------------------------------------------------------

AppId = Annotated[str, Field(min_length=1, max_length=256)]


class MappingParams(Contract):
    """Which application, which version of it, and where its models folder is."""

    app_id: AppId
    version_tag: Annotated[str, Field(min_length=1, max_length=256)]
    models_path: str = Field(
        min_length=1, max_length=4096, description="Absolute path of the application's models folder."
    )


class Resolution(StrEnum):
    """What is done where something else stands at the target."""

    SKIP = "skip"
    OVERWRITE = "overwrite"
    RENAME = "rename"


class ApplyMappingParams(MappingParams):
    """And what is done about conflicts."""

    on_conflict: Resolution = Field(default=Resolution.SKIP, description="For each conflict not in `resolutions`.")
    resolutions: dict[str, Resolution] = Field(default={}, description="For single conflicts, by `target_path`.")


class SkipReason(StrEnum):
    """Why files of a model that a rule matches are not mapped."""

    EXTERNAL_REFERENCE = "external_reference"
    BUNDLE = "bundle"
    EXCLUDED = "excluded"
    OUTSIDE_LIBRARY = "outside_library"
    METADATA_UNREADABLE = "metadata_unreadable"
    NAME_NOT_UTF8 = "name_not_utf8"


class SkippedModel(Contract):
    """A model, or one file of it, that is not mapped whatever the rules say."""

    model_id: str
    model_name: str
    source_path: str | None = Field(description="The file; null when it is about the whole model.")
    reason: SkipReason


class MappingItem(Contract):
    """One file and its place in the application."""

    model_id: str
    model_name: str
    source_path: str
    target_path: str
    reason: str


class MappingConflict(MappingItem):
    """Something else stands at the place."""

    existing_target: str | None = Field(description="Where the link leads that stands there; null when it is no link.")
    overwrite: str | None = Field(description="What `overwrite` would do; null when it would be refused.")
    rename: str = Field(description="The path that `rename` would take.")


class BrokenLink(Contract):
    """A link of ours that leads nowhere. A model that has this place gets a new link there, else it is removed."""

    target_path: str
    existing_target: str
    reason: str
    model_id: str | None
    source_path: str | None


class MappingPreview(Contract):
    """What applying would do. Nothing was written."""

    success: bool = True
    error: str | None = Field(default=None, exclude_if=is_absent)
    to_create: tuple[MappingItem, ...]
    to_skip_exists: tuple[MappingItem, ...]
    conflicts: tuple[MappingConflict, ...]
    broken_to_remove: tuple[BrokenLink, ...]
    total_actions: int = Field(description="Links to make and broken ones to remove.")
    skipped: tuple[SkippedModel, ...]
    configs: tuple[str, ...] = Field(description="The configurations that hold, the most specific first.")
    warnings: tuple[str, ...]
    errors: tuple[str, ...] = Field(description="Folders of the application in which nothing can be done.")


class ReplacedFile(Contract):
    """What `overwrite` took the place of."""

    target_path: str
    kept_as: str | None = Field(description="Where the file is now; null when it was a link, or had the same bytes.")


class MappingResult(Contract):
    """What applying did."""

    success: bool = Field(description="False when anything stands in `errors`; the rest was done all the same.")
    links_created: int
    links_removed: int = Field(description="Broken links that were removed or replaced.")
    total_links: int = Field(description="Links of this mapping that are there now.")
    links_skipped: int = Field(description="Conflicts that were left as they are.")
    links_renamed: int
    overwrites: int
    replaced: tuple[ReplacedFile, ...]
    skipped: tuple[SkippedModel, ...]
    warnings: tuple[str, ...]
    errors: tuple[str, ...]


# --- links and exclusions --------------------------------------------------------------------------------------------


class LinkStatus(StrEnum):
    """Of all links together."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"


class LinkHealth(Contract):
    """What is left of the links that were made."""

    success: bool = True
    status: LinkStatus
    total_links: int
    healthy_links: int
    broken_links: tuple[str, ...] = Field(description="Targets that lead nowhere, are gone, or are something else now.")
    orphaned_links: tuple[str, ...] = Field(description="Targets that work, of models that the library has not.")
    warnings: tuple[str, ...]
    errors: tuple[str, ...]


class CleanedLinks(Contract):
    """How many broken links were cleaned up. A file, or a link that somebody else made, stays."""

    success: bool = True
    cleaned: int


class ModelLink(Contract):
    """One link of a model."""

    source: str
    target: str
    link_type: LinkType
    app_id: str
    app_version: str | None = Field(exclude_if=is_absent)
    created_at: str


class ModelLinks(Contract):
    """All links of a model, by target."""

    success: bool = True
    links: tuple[ModelLink, ...]


class LinkExclusionParams(Contract):
    """Which model, for which application, and whether it is left out of its mapping from now on."""

    model_id: str = Field(min_length=1, max_length=1024)
    app_id: AppId
    excluded: bool


class LinkExclusionSet(Contract):
    """What holds now."""

    success: bool = True
    model_id: str
    app_id: str
    excluded: bool


class AppParams(Contract):
    """Which application."""

    app_id: AppId


class LinkExclusions(Contract):
    """The models that are left out of an application's mapping."""

    success: bool = True
    excluded_model_ids: tuple[str, ...]
