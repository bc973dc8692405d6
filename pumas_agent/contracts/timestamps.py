"""The one spelling of a moment that we write: RFC 3339, UTC, offset `+00:00`, microseconds. And how long ago one is."""

import time
from datetime import UTC, datetime, timedelta

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Cannot be set; on Linux it goes on while the machine sleeps."""
_BEGAN_S = time.time() - time.clock_gettime(_CLOCK)


def utc_now() -> str:
    """Now, e.g. `2026-03-08T12:34:56.123456+00:00`."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def utc_from_ns(nanoseconds: int) -> str:
    """A file's time stamp (nanoseconds since 1970) in the same spelling."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="microseconds")


def lived_ns() -> int:
    """Now, in nanoseconds since 1970, by the clock as it was when the process started: nobody can set it since."""
    return round((_BEGAN_S + time.clock_gettime(_CLOCK)) * 1e9)


def days_ago(days: float) -> datetime:
    """The moment before which things are so old that they may go.

    A clock that is set forward while the process runs makes nothing old: not more time has passed than was lived.
    """
    return datetime.fromtimestamp(min(time.time(), lived_ns() / 1e9), UTC) - timedelta(days=days)
