"""What is wrong, told once: alerts, and the log they are lines of."""

from pumas_agent.health.alerts import AlertBook, Condition
from pumas_agent.health.bundles import (
    BUNDLE_CODES,
    bundle_condition,
    changed_condition,
    mass_condition,
    missing_condition,
    moved_condition,
    offline_condition,
    unresponsive_condition,
)
from pumas_agent.health.hook import AlertHook, distrust
from pumas_agent.health.journal import AlertEvent, AlertJournal
from pumas_agent.health.library import LIBRARY, LIBRARY_CODES, config_condition, library_condition
from pumas_agent.health.logs import configure_logs
from pumas_agent.health.notify import Notifier, Watchdog
from pumas_agent.health.priorities import is_journal, with_priority
from pumas_agent.health.watching import WATCH_CODES, lost_condition, watch_conditions

__all__ = [
    "BUNDLE_CODES",
    "LIBRARY",
    "LIBRARY_CODES",
    "WATCH_CODES",
    "AlertBook",
    "AlertEvent",
    "AlertHook",
    "AlertJournal",
    "Condition",
    "Notifier",
    "Watchdog",
    "bundle_condition",
    "changed_condition",
    "config_condition",
    "configure_logs",
    "distrust",
    "is_journal",
    "library_condition",
    "lost_condition",
    "mass_condition",
    "missing_condition",
    "moved_condition",
    "offline_condition",
    "unresponsive_condition",
    "watch_conditions",
    "with_priority",
]
