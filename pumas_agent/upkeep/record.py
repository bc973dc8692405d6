"""What a verdict changes in a record. Pure.

Owns which fields revalidation may touch, and no others.
"""

from pumas_agent.bundles import FindingCode, Look
from pumas_agent.contracts.bundles import AssetValidationError
from pumas_agent.contracts.metadata import AssetValidationState, ImportState, ModelMetadata
from pumas_agent.contracts.timestamps import utc_now

NO_ENTRY_PATH = AssetValidationError(
    code="missing_entry_path", message="the record names no absolute entry path or source path"
)

DOWNLOAD_INCOMPLETE = AssetValidationError(code="download_incomplete", message="its download is not finished")


def judged_record(record: ModelMetadata, root: str | None, look: Look | None) -> ModelMetadata:
    """The record with the verdict on `root` in it; the same record when it says that already, or names another root.

    Changes only what revalidation may change: state, errors, pipeline class, size, import state and our own facts
    (docs/reference/on-disk-format.md).
    """
    if record.is_external and record.external_root != root:
        return record
    ready = record.effective_import_state is ImportState.READY
    if look is None:
        changes: dict[str, object] = {
            "validation_state": AssetValidationState.INVALID,
            "validation_errors": [NO_ENTRY_PATH],
        }
    elif look.report.is_valid:
        changes = {
            "validation_state": AssetValidationState.VALID,
            "validation_errors": None,
            "pipeline_class": look.report.pipeline_class,
            "import_state": ImportState.READY,
        }
    else:
        is_replaced = any(finding.code == FindingCode.BUNDLE_REPLACED for finding in look.report.findings)
        changes = {
            "validation_state": AssetValidationState.DEGRADED if ready else AssetValidationState.INVALID,
            "validation_errors": list(look.report.findings),
            # That of the registered one, until somebody accepts the other; a bundle that is gone is what it was.
            "pipeline_class": (not is_replaced and look.report.pipeline_class) or record.pipeline_class,
            "import_state": ImportState.READY if ready else ImportState.FAILED,
        }
    judged = record.with_values(changes)
    # The library's own bundle shares its folder with its record: to write down what that amounts to would change it.
    if look is not None and look.report.is_valid and record.is_external:
        judged = judged.with_values({"size_bytes": look.report.size_bytes})
        known = record.agent
        found = {"identity": look.report.identity, "mount": look.mount, "inode": look.inode}
        if known != (facts := known.model_copy(update=found)):
            judged = judged.with_agent(facts)
    if judged.to_document() == record.to_document():
        return record
    return judged.with_values({"updated_date": utc_now()})
