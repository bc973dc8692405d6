"""The one spelling of a moment that we write: RFC 3339, UTC, offset `+00:00`, microseconds."""

from datetime import UTC, datetime


def utc_now() -> str:
    """Now, e.g. `2026-03-08T12:34:56.123456+00:00`."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def utc_from_ns(nanoseconds: int) -> str:
    """A file's time stamp (nanoseconds since 1970) in the same spelling."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="microseconds")
