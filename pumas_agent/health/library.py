"""Which alert a failure of the library itself amounts to. Pure."""

from pumas_agent.contracts.errors import LibraryOffline, LibraryUnwritable, PumasError
from pumas_agent.contracts.health import AlertCode
from pumas_agent.health.alerts import Condition

LIBRARY = ""
"""Stands for the library itself where alerts name a model."""
LIBRARY_CODES = frozenset({AlertCode.LIBRARY_OFFLINE, AlertCode.LIBRARY_UNWRITABLE})


def library_condition(root: str, error: PumasError | None) -> dict[AlertCode, Condition]:
    """The condition an error amounts to; empty when it says nothing about the library as a whole."""
    if isinstance(error, LibraryOffline):
        return {AlertCode.LIBRARY_OFFLINE: _condition(root, error)}
    if isinstance(error, LibraryUnwritable):
        return {AlertCode.LIBRARY_UNWRITABLE: _condition(root, error)}
    return {}


def config_condition(error: PumasError) -> Condition:
    """A configuration that was read again and refused."""
    return Condition(None, {"reason": error.message}, error.hint or "correct it, and reload again")


def _condition(root: str, error: PumasError) -> Condition:
    # The message may name one model of many; the evidence is what they have in common, so that the alert is said once.
    return Condition(root, {"reason": error.data.get("reason", error.code)}, error.hint or "")
