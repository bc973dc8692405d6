"""Which alerts the state of the watching amounts to. Pure."""

from collections.abc import Mapping

from pumas_agent.contracts.health import AlertCode
from pumas_agent.health.alerts import Condition

WATCH_CODES = frozenset({AlertCode.WATCH_LIMIT, AlertCode.WATCH_POLLING})
_SHOWN = 20


def watch_conditions(unwatched: Mapping[str, str], *, limit_reached: bool) -> dict[AlertCode, Condition]:
    """The conditions that roots amount to which are compared at intervals because they cannot be watched.

    Args:
        unwatched: roots by name, with the reason; none for whom events would not tell everything anyway.
        limit_reached: the reason is that no more watches can be had.
    """
    if not unwatched:
        return {}
    evidence = {"roots": dict(sorted(unwatched.items())[:_SHOWN]), "roots_total": len(unwatched)}
    if limit_reached:
        hint = "raise fs.inotify.max_user_watches (sysctl), or watch.max_watches in the configuration"
        return {AlertCode.WATCH_LIMIT: Condition(None, evidence, hint)}
    hint = "let the agent's user read these folders; until then they are compared every watch.poll_interval_s"
    return {AlertCode.WATCH_POLLING: Condition(None, evidence, hint)}


def lost_condition(code: AlertCode, times: int) -> Condition:
    """The condition of events that were lost."""
    hints = {
        AlertCode.WATCH_OVERFLOW: "nothing to do once; if it comes often, raise fs.inotify.max_queued_events (sysctl)",
        AlertCode.WATCH_RESTARTED: "nothing to do once; if it comes often, look for watch.reader_failed in the log",
    }
    return Condition(None, {"times": times}, f"everything is looked at again; {hints[code]}")
