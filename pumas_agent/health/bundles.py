"""Which alert the findings of a bundle amount to. Pure."""

import errno
import os
from typing import Any

from pumas_agent.contracts.bundles import AssetValidationError
from pumas_agent.contracts.errors import AssetUnresponsive
from pumas_agent.contracts.health import AlertCode
from pumas_agent.health.alerts import Condition

BUNDLE_CODES = frozenset(
    {
        AlertCode.BUNDLE_MISSING,
        AlertCode.BUNDLE_MOVED,
        AlertCode.BUNDLE_REPLACED,
        AlertCode.BUNDLE_CHANGED,
        AlertCode.BUNDLE_INCOMPLETE,
        AlertCode.BUNDLE_UNREADABLE,
        AlertCode.BUNDLE_UNRESPONSIVE,
    }
)
_SHOWN = 20
_NO_RIGHT = (os.strerror(errno.EACCES), os.strerror(errno.EPERM))


def bundle_condition(path: str, findings: tuple[AssetValidationError, ...]) -> tuple[AlertCode, Condition] | None:
    """The condition that a bundle's findings amount to; None when there are none."""
    if not findings:
        return None
    codes = {finding.code for finding in findings}
    evidence = _evidence(findings)
    if codes & {"path_not_found", "path_not_directory"}:
        return AlertCode.BUNDLE_MISSING, missing_condition(path, findings, ())
    if "bundle_replaced" in codes:
        hint = "put the registered bundle back, or `pumas-agent accept` the one that is there now"
        return AlertCode.BUNDLE_REPLACED, Condition(path, evidence, hint)
    if codes <= {"component_unreadable"}:
        return AlertCode.BUNDLE_UNREADABLE, Condition(path, evidence, _unreadable_hint(findings))
    hint = "restore what the findings name, or download the bundle again; it recovers by itself"
    return AlertCode.BUNDLE_INCOMPLETE, Condition(path, evidence, hint)


def _unreadable_hint(findings: tuple[AssetValidationError, ...]) -> str:
    """Findings end with what the system said, and only one of its reasons is about rights."""
    if any(finding.message.endswith(_NO_RIGHT) for finding in findings):
        return "let the agent's user read these paths (chmod, chown or an ACL)"
    return "the filesystem answers with an error: look at it with findmnt and dmesg, and mount it anew"


def changed_condition(path: str) -> Condition:
    """The condition of a bundle of the same kind with other contents: judged as it is, and said once."""
    return Condition(path, {}, "nothing to do when it was meant; it is judged as it is")


def _evidence(findings: tuple[AssetValidationError, ...]) -> dict[str, Any]:
    return {
        "findings": [finding.model_dump() for finding in findings[:_SHOWN]],
        "findings_total": len(findings),
    }


def missing_condition(path: str, findings: tuple[AssetValidationError, ...], candidates: tuple[str, ...]) -> Condition:
    """The condition of a bundle that is not at its path, and was proven to be at no one other."""
    evidence = _evidence(findings)
    hint = "put the bundle back at this path, or unregister it; it stays registered and recovers by itself"
    if candidates:
        evidence["candidates"] = list(candidates[:_SHOWN])
        hint = "several folders hold the same bundle: say which one it is with `pumas-agent relocate`"
    return Condition(path, evidence, hint)


def moved_condition(path: str, moved_to: str) -> Condition:
    """The condition of a bundle that was proven to be somewhere else."""
    hint = f"it is at {moved_to}: `pumas-agent relocate` makes that its place; or put it back"
    return Condition(path, {"moved_to": moved_to}, hint)


def offline_condition(point: str, models: list[str]) -> Condition:
    """The condition of a filesystem that is not mounted, with the bundles that it took along."""
    hint = "connect or mount the filesystem that was here; its bundles are back when it is"
    return Condition(point, {"models": models[:_SHOWN], "models_total": len(models)}, hint)


def mass_condition(models: list[str], total: int) -> Condition:
    """The condition of a library of which a great part vanished together."""
    evidence = {"models": models[:_SHOWN], "models_total": len(models), "registered": total}
    hint = (
        "find out what happened to these folders; nothing is done by itself until they are back, are somewhere else for"
        " good (`pumas-agent relocate --all OLD NEW`), or `pumas-agent thaw`"
    )
    return Condition(None, evidence, hint)


def unresponsive_condition(path: str, error: AssetUnresponsive) -> Condition:
    """The condition of a bundle whose filesystem did not answer in time."""
    return Condition(path, {"reason": error.message}, error.hint or "check the filesystem that holds it")
