"""What is wrong, told once: alerts, and the log they are lines of."""

from pumas_agent.health.alerts import AlertBook, Condition
from pumas_agent.health.bundles import BUNDLE_CODES, bundle_condition, unresponsive_condition
from pumas_agent.health.library import LIBRARY, LIBRARY_CODES, library_condition
from pumas_agent.health.logs import configure_logs

__all__ = [
    "BUNDLE_CODES",
    "LIBRARY",
    "LIBRARY_CODES",
    "AlertBook",
    "Condition",
    "bundle_condition",
    "configure_logs",
    "library_condition",
    "unresponsive_condition",
]
