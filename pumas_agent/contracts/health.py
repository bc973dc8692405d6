"""Alerts: their codes, severities and the record that becomes one log line a transition."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from pumas_agent.contracts.model import Contract


class AlertCode(StrEnum):
    """What can be wrong for long enough to tell a person. Append-only; match on these, never on text."""

    BUNDLE_MISSING = "bundle_missing"
    BUNDLE_OFFLINE = "bundle_offline"
    BUNDLE_MOVED = "bundle_moved"
    BUNDLE_REPLACED = "bundle_replaced"
    BUNDLE_CHANGED = "bundle_changed"
    BUNDLE_INCOMPLETE = "bundle_incomplete"
    BUNDLE_UNREADABLE = "bundle_unreadable"
    BUNDLE_UNRESPONSIVE = "bundle_unresponsive"
    MASS_DISAPPEARANCE = "mass_disappearance"
    WATCH_LIMIT = "watch_limit"
    WATCH_OVERFLOW = "watch_overflow"
    WATCH_POLLING = "watch_polling"
    WATCH_RESTARTED = "watch_restarted"
    METADATA_CORRUPT = "metadata_corrupt"
    LIBRARY_OFFLINE = "library_offline"
    LIBRARY_UNWRITABLE = "library_unwritable"
    CONFIG_INVALID = "config_invalid"


class Severity(StrEnum):
    """How much it matters; the log level of the line."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


SEVERITIES: dict[AlertCode, Severity] = {
    AlertCode.BUNDLE_MISSING: Severity.ERROR,
    AlertCode.BUNDLE_OFFLINE: Severity.WARNING,
    AlertCode.BUNDLE_MOVED: Severity.ERROR,
    AlertCode.BUNDLE_REPLACED: Severity.ERROR,
    AlertCode.BUNDLE_CHANGED: Severity.INFO,
    AlertCode.BUNDLE_INCOMPLETE: Severity.ERROR,
    AlertCode.BUNDLE_UNREADABLE: Severity.ERROR,
    AlertCode.BUNDLE_UNRESPONSIVE: Severity.WARNING,
    AlertCode.MASS_DISAPPEARANCE: Severity.CRITICAL,
    AlertCode.WATCH_LIMIT: Severity.WARNING,
    AlertCode.WATCH_OVERFLOW: Severity.WARNING,
    AlertCode.WATCH_POLLING: Severity.WARNING,
    AlertCode.WATCH_RESTARTED: Severity.WARNING,
    AlertCode.METADATA_CORRUPT: Severity.ERROR,
    AlertCode.LIBRARY_OFFLINE: Severity.CRITICAL,
    AlertCode.LIBRARY_UNWRITABLE: Severity.ERROR,
    AlertCode.CONFIG_INVALID: Severity.ERROR,
}


class Alert(Contract):
    """One standing condition. `model_id` is null when it is about the library itself, or about a filesystem."""

    code: AlertCode
    severity: Severity
    model_id: str | None
    path: str | None
    since: str
    evidence: dict[str, Any]
    hint: str


def is_healthy(alerts: Iterable[Alert]) -> bool:
    """Nothing stands that somebody has to do something about: an alert of severity `info` only tells."""
    return all(alert.severity is Severity.INFO for alert in alerts)
