"""A bundle that is somewhere else, something else, or being written now: what a person or a program says of that."""

from enum import StrEnum

from pydantic import Field

from pumas_agent.contracts.bundles import AssetValidationError
from pumas_agent.contracts.metadata import AssetValidationState
from pumas_agent.contracts.model import Contract


class SameBundle(StrEnum):
    """Whether what is at the new place is the bundle that was registered."""

    PROVEN = "proven"
    OTHER = "other"
    UNKNOWN = "unknown"


class RelocateParams(Contract):
    """Which model, where it is now, and whether to do it or only to say what would be done."""

    model_id: str = Field(min_length=1, max_length=1024)
    new_path: str = Field(min_length=1, description="Absolute path of the bundle's root; links are resolved.")
    apply: bool = Field(default=False, description="Do it; otherwise nothing is written.")
    force: bool = Field(default=False, description="Take what is there although it is not proven to be the same.")


class Accepted(Contract):
    """What a bundle is after somebody accepted what stands at its path."""

    model_id: str
    validation_state: AssetValidationState
    findings: tuple[AssetValidationError, ...]


class HoldParams(Contract):
    """Which bundle is being written."""

    bundle: str = Field(min_length=1, max_length=4096, description="A model id, or the absolute path of a root.")


class Hold(Contract):
    """A bundle that is held: nobody is told that it is incomplete."""

    hold: str = Field(description="What to release it by. Ends with the connection.")
    path: str


class ReleaseParams(Contract):
    """Which hold."""

    hold: str = Field(min_length=1, max_length=64)


class Released(Contract):
    """Whether there was such a hold."""

    released: bool


class Relocation(Contract):
    """The plan, and whether it was carried out. The id and everything attached to it stay."""

    model_id: str
    old_path: str | None
    new_path: str
    same_bundle: SameBundle
    findings: tuple[AssetValidationError, ...] = Field(description="What is wrong with the bundle at the new place.")
    refused: str | None = Field(description="Why it cannot be done; null when it can.")
    applied: bool
