"""What is said of a verdict, and when: at once, not before a bundle is quiet, or by whoever knows where it went.

Belongs to the event loop. Decides nothing about the asset itself.
"""

import time
from collections.abc import Callable

from pumas_agent.contracts.errors import AssetUnresponsive
from pumas_agent.contracts.health import AlertCode
from pumas_agent.health import BUNDLE_CODES, AlertBook, bundle_condition, changed_condition, unresponsive_condition
from pumas_agent.upkeep.absences import Absences
from pumas_agent.upkeep.verdict import Verdict

WRITING_MOST_S = 600.0
"""A bundle that is written without end is told of all the same."""


class Announcer:
    """Turns verdicts into alerts."""

    def __init__(self, alerts: AlertBook, absences: Absences, unsettled: Callable[[str], None]) -> None:
        """Make one.

        Args:
            alerts: where it is said.
            absences: told each verdict, and says what is to be said of what is gone.
            unsettled: told of a model that is being written: it has to be looked at again when it may be quiet.
        """
        self._alerts = alerts
        self._absences = absences
        self._unsettled = unsettled
        self._writing: dict[str, float] = {}
        """Since when a bundle has been written, monotonic seconds."""

    def observe(self, verdict: Verdict) -> None:
        """A model was judged."""
        self._absences.observe(verdict)
        if not verdict.writing:
            self._writing.pop(verdict.model_id, None)
        elif time.monotonic() - self._writing.setdefault(verdict.model_id, time.monotonic()) < WRITING_MOST_S:
            self._unsettled(verdict.model_id)
            return  # what stood before stands, and what is found is said when it is quiet
        if self._absences.is_absent(verdict.model_id) or (verdict.report_json is None and not verdict.errors):
            return
        condition = bundle_condition(verdict.entry_path, verdict.errors)
        found = dict([condition]) if condition else {}
        if verdict.changed and not found:
            found[AlertCode.BUNDLE_CHANGED] = changed_condition(verdict.entry_path)
        self._alerts.observe(verdict.model_id, BUNDLE_CODES, found)

    def observe_silence(self, model_id: str, root: str, error: AssetUnresponsive) -> None:
        """Its filesystem does not answer."""
        condition = unresponsive_condition(root, error)
        self._alerts.observe(model_id, BUNDLE_CODES, {AlertCode.BUNDLE_UNRESPONSIVE: condition})
