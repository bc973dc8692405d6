"""Which alert the findings of a bundle amount to. Pure."""

from pumas_agent.contracts.bundles import AssetValidationError
from pumas_agent.contracts.errors import AssetUnresponsive
from pumas_agent.contracts.health import AlertCode
from pumas_agent.health.alerts import Condition

BUNDLE_CODES = frozenset(
    {
        AlertCode.BUNDLE_MISSING,
        AlertCode.BUNDLE_INCOMPLETE,
        AlertCode.BUNDLE_UNREADABLE,
        AlertCode.BUNDLE_UNRESPONSIVE,
    }
)
_SHOWN = 20


def bundle_condition(path: str, findings: tuple[AssetValidationError, ...]) -> tuple[AlertCode, Condition] | None:
    """The condition that a bundle's findings amount to; None when there are none."""
    if not findings:
        return None
    codes = {finding.code for finding in findings}
    evidence = {
        "findings": [finding.model_dump() for finding in findings[:_SHOWN]],
        "findings_total": len(findings),
    }
    if codes & {"path_not_found", "path_not_directory"}:
        hint = "put the bundle back at this path, or unregister it; it stays registered and recovers by itself"
        return AlertCode.BUNDLE_MISSING, Condition(path, evidence, hint)
    if codes <= {"component_unreadable"}:
        hint = "let the agent's user read these paths (chmod, chown or an ACL)"
        return AlertCode.BUNDLE_UNREADABLE, Condition(path, evidence, hint)
    hint = "restore what the findings name, or download the bundle again; it recovers by itself"
    return AlertCode.BUNDLE_INCOMPLETE, Condition(path, evidence, hint)


def unresponsive_condition(path: str, error: AssetUnresponsive) -> Condition:
    """The condition of a bundle whose filesystem did not answer in time."""
    return Condition(path, {"reason": error.message}, error.hint or "check the filesystem that holds it")
