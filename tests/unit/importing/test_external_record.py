"""The first record of an external bundle: from what was asked and found to what is stored."""

from pathlib import Path

import pytest

from pumas_agent.bundles import Look
from pumas_agent.contracts.bundles import AssetValidationError, BundleReport
from pumas_agent.contracts.imports import ExternalBundleSpec
from pumas_agent.contracts.metadata import ModelMetadata, MountFacts
from pumas_agent.importing.record import external_record

MISSING = AssetValidationError(code="missing_component", message="unet is missing", path="unet")
MOUNT = MountFacts(point="/", kind="ext4", source="/dev/a", uuid="1-2", path="canonical")


def record(report: BundleReport, **spec: object) -> ModelMetadata:
    look = Look(report, None, racy=False, local=True, beside=(), mount=MOUNT, inode=7, judged_at="2026")
    given = {"source_path": "/given", "family": "F", "official_name": "N", **spec}
    return external_record(
        ExternalBundleSpec.model_validate(given),
        model_id="diffusion/f/n",
        cleaned_name="n",
        source=Path("/canonical"),
        look=look,
        now="2026-01-01T00:00:00.000000+00:00",
    )


@pytest.mark.parametrize(
    ("findings", "states", "identity"),
    [((), ("ready", "valid", None), "abc"), ((MISSING,), ("failed", "invalid", [MISSING]), None)],
)
def test_a_bundle_is_ready_when_it_is_valid(
    findings: tuple[AssetValidationError, ...], states: tuple[object, ...], identity: str | None
) -> None:
    """contracts: findings are null when there are none; an identity is only that of a valid verdict."""
    made = record(BundleReport(root="/canonical", findings=findings, identity="abc"))

    assert (made.import_state, made.validation_state, made.validation_errors) == states
    assert (made.agent.identity, made.agent.given_path) == (identity, "/given")
    assert (made.agent.mount, made.agent.inode) == ((MOUNT, 7) if identity else (None, None))


def test_what_was_not_given_is_null() -> None:
    """Reference 1.3: no empty list, no made-up repository."""
    made = record(BundleReport(root="/canonical"))

    assert (made.tags, made.repo_id, made.pipeline_class, made.review_reasons) == (None, None, None, None)


def test_a_record_survives_its_file() -> None:
    """What is written is read back the same, with no finding."""
    made = record(BundleReport(root="/canonical", findings=(MISSING,), size_bytes=3), tags=["a"])

    again, findings = ModelMetadata.parse(made.to_document())

    assert (again, findings) == (made, ())
