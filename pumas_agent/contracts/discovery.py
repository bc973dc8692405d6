"""Bundles that were found below folders: what is asked for, and what is said about each."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pumas_agent.contracts.bundles import AssetValidationError
from pumas_agent.contracts.model import Contract

FolderPath = Annotated[str, Field(min_length=1, max_length=4096)]


class DiscoverParams(Contract):
    """Where to look."""

    paths: Annotated[tuple[FolderPath, ...], Field(max_length=32)] | None = Field(
        default=None, description="Absolute paths of folders; null: the folders of `bundles.search_roots`."
    )


class BundleHealth(StrEnum):
    """What a look at a found bundle says. Not the state of a model: most of these are in no library."""

    VALID = "valid"
    UNSUPPORTED = "unsupported"
    """Whole, but a pipeline of another task than text-to-image."""
    INVALID = "invalid"
    UNJUDGED = "unjudged"
    """There was no time, it was being written, or its filesystem did not answer."""


class DiscoveredBundle(Contract):
    """One bundle: what it is, and under which names it would be registered."""

    path: str = Field(description="The canonical root.")
    family: str = Field(description="The owner of the repository, for a bundle in a Hugging Face cache.")
    official_name: str = Field(description="The name of the repository or, outside of a cache, of the folder.")
    repo_id: str | None = Field(description="`owner/name`, for a bundle in a Hugging Face cache.")
    revision: str | None = Field(description="The commit of the snapshot it lies in, likewise.")
    is_main: bool | None = Field(description="Whether the repository's `main` is that revision, likewise.")
    model_id: str = Field(description="The id that it has or, with these names, would get.")
    registered: bool = Field(description="It is the model of that id.")
    id_taken: bool = Field(description="Another bundle is the model of that id.")
    health: BundleHealth
    pipeline_class: str | None
    task: str | None
    size_bytes: int = Field(ge=0, description="Sum of its regular files, those behind links included.")
    findings: int = Field(ge=0, description="How many; `validate` lists them.")
    first_finding: AssetValidationError | None


class NotSearched(Contract):
    """A folder that was not looked into."""

    path: str
    reason: str


class DiscoveryReport(Contract):
    """What was found, the preferred snapshot of each repository first."""

    searched: tuple[str, ...] = Field(description="Canonical paths of the folders asked for that could be read.")
    bundles: tuple[DiscoveredBundle, ...]
    not_searched: tuple[NotSearched, ...] = Field(description="Folders that were not looked into, the first 50.")
    truncated: bool = Field(description="A bound was met: there may be more bundles, or some were not judged.")
