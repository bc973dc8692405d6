"""What comparing a library with the disk found: where record, row, files and digests do not agree."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pumas_agent.contracts.model import Contract


class DifferenceCode(StrEnum):
    """What does not agree. Append-only."""

    RECORD_MISSING = "record_missing"
    RECORD_UNREADABLE = "record_unreadable"
    FIELD_UNREADABLE = "field_unreadable"
    ROW_MISSING = "row_missing"
    ROW_DIFFERS = "row_differs"
    SEARCH_ROW_DIFFERS = "search_row_differs"
    INDEX_DAMAGED = "index_damaged"
    FILE_MISSING = "file_missing"
    FILE_UNREADABLE = "file_unreadable"
    FILE_CHANGED = "file_changed"
    NAME_LEADS_OUT = "name_leads_out"
    SIZE_DIFFERS = "size_differs"
    HASH_DIFFERS = "hash_differs"
    STATE_DIFFERS = "state_differs"
    NOT_ANSWERED = "not_answered"


class Difference(Contract):
    """One thing that does not agree."""

    code: DifferenceCode
    model_id: str | None = Field(description="Null when it is about the index as a whole.")
    message: str
    path: str | None = Field(default=None, description="The file, relative to the model's folder or the bundle's root.")


class VerifyParams(Contract):
    """One model, or everything when null."""

    model_id: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    deep: bool = Field(default=False, description="Read the files as well, and compare their digests.")


class VerifyReport(Contract):
    """What was compared, and what does not agree."""

    ok: bool = Field(description="Nothing differs, and every bundle that was judged is valid.")
    deep: bool
    models: int
    bundles_judged: int
    unhealthy: tuple[str, ...] = Field(description="Ids of the bundles that are not valid now.")
    files: int = Field(description="Files of which existence and size were compared with a record.")
    files_hashed: int
    bytes_hashed: int
    differences: tuple[Difference, ...] = Field(description="By model and path; a thousand at most.")
    more_differences: int
    notes: tuple[str, ...] = Field(description="What could not be compared, and why; for people.")
    duration_ms: float
