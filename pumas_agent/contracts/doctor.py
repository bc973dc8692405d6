"""What `doctor` found: one entry a check, with its evidence and the command that mends it."""

from enum import StrEnum

from pydantic import Field

from pumas_agent.contracts.model import Contract


class CheckName(StrEnum):
    """What is examined. Append-only; match on these, never on text."""

    AGENT = "agent"
    LOCK = "lock"
    SOCKET = "socket"
    LIBRARY = "library"
    FREE_SPACE = "free_space"
    INDEX = "index"
    SCHEMA = "schema"
    RECORDS = "records"
    LINK_REGISTRY = "link_registry"
    SCRATCH = "scratch"
    ROOTS = "roots"
    FILESYSTEMS = "filesystems"
    WATCHES = "watches"
    OPEN_FILES = "open_files"
    MEMORY = "memory"
    CLOCK = "clock"
    ALERTS = "alerts"
    VERSIONS = "versions"
    UNIT = "unit"


class CheckState(StrEnum):
    """How it stands."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(Contract):
    """One thing that was examined; a check may have several entries when it is about several things."""

    check: CheckName
    state: CheckState
    about: str | None = Field(description="A path or a model id; null when it is about the whole.")
    evidence: str = Field(description="What was seen, for people.")
    fix: str | None = Field(description="What to do about it, a command where there is one; null when nothing is.")


class DoctorReport(Contract):
    """Every check, in a fixed order."""

    healthy: bool = Field(description="Every check is ok.")
    inside_agent: bool = Field(description="A running agent examined itself; else a command did.")
    pid: int = Field(description="Of the process that examined.")
    library_root: str
    socket: str
    checks: tuple[Check, ...]
    duration_ms: float
