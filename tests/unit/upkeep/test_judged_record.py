"""What a verdict changes in a record. Pure."""

from typing import Any

import pytest

from pumas_agent.bundles import Look, StatSignature
from pumas_agent.contracts.bundles import AssetValidationError, BundleReport
from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.upkeep.record import judged_record

MISSING = AssetValidationError(code="missing_component", message="unet is missing", path="unet")


def record(**fields: Any) -> ModelMetadata:
    made, _ = ModelMetadata.parse(
        {"storage_kind": "external_reference", "entry_path": "/bundle", "updated_date": "2020", **fields}
    )
    return made


def look(*findings: AssetValidationError, size: int = 7, identity: str = "abc") -> Look:
    report = BundleReport(root="/bundle", pipeline_class="P", findings=findings, size_bytes=size, identity=identity)
    return Look(
        report,
        StatSignature.of_entries("/bundle", ()),
        racy=False,
        local=True,
        beside=(),
        mount=None,
        inode=None,
        judged_at="2026",
    )


@pytest.mark.parametrize(
    ("import_state", "before", "findings", "after"),
    [
        ("ready", "valid", (), ("ready", "valid")),
        ("ready", "valid", (MISSING,), ("ready", "degraded")),
        ("ready", "degraded", (), ("ready", "valid")),
        ("ready", "degraded", (MISSING,), ("ready", "degraded")),
        ("failed", "invalid", (), ("ready", "valid")),
        ("failed", "invalid", (MISSING,), ("failed", "invalid")),
        ("failed", "degraded", (MISSING,), ("failed", "invalid")),
        ("pending", None, (MISSING,), ("failed", "invalid")),
        ("pending", None, (), ("ready", "valid")),
        (None, None, (MISSING,), ("failed", "invalid")),
        (None, "valid", (MISSING,), ("ready", "degraded")),
        (None, "valid", (), ("ready", "valid")),
    ],
)
def test_a_verdict_moves_a_record_on(
    import_state: str | None, before: str | None, findings: tuple[AssetValidationError, ...], after: tuple[str, str]
) -> None:
    """contracts, R20: ready from the first valid verdict, degraded after one, invalid without one."""
    judged = judged_record(record(import_state=import_state, validation_state=before), "/bundle", look(*findings))

    assert (judged.import_state, judged.validation_state) == after
    assert judged.validation_errors == (list(findings) or None)


def test_the_same_verdict_again_is_the_same_record() -> None:
    """Law 8: nothing to write, and the date stays."""
    once = judged_record(record(), "/bundle", look())

    assert once.updated_date != "2020"
    assert judged_record(once, "/bundle", look()) is once


def test_a_broken_bundle_keeps_its_last_size_and_identity() -> None:
    """What is known of the whole bundle is not overwritten with what is left of it."""
    whole = judged_record(record(), "/bundle", look())

    broken = judged_record(whole, "/bundle", look(MISSING, size=3, identity="def"))

    assert (broken.size_bytes, broken.agent.identity) == (7, "abc")


def test_a_verdict_on_another_place_changes_nothing() -> None:
    """The record names another root by now."""
    moved = record(entry_path="/elsewhere")

    assert judged_record(moved, "/bundle", look()) is moved


def test_a_bundle_of_the_library_does_not_write_down_its_own_record() -> None:
    """Its folder holds the record, whose size and digest would change with each writing."""
    owned = record(storage_kind="library_owned", size_bytes=5)

    judged = judged_record(owned, "/library/diffusion/f/m", look())

    assert (judged.validation_state, judged.size_bytes, judged.agent.identity) == ("valid", 5, None)
    assert judged.entry_path == "/bundle"


def test_what_is_not_a_verdict_s_stays() -> None:
    """Also keys and values that nobody here understands."""
    strange = record(family=7, x_theirs={"k": 1}, notes="by hand", agent={"given_path": "/g", "later": 1})

    document = judged_record(strange, "/bundle", look()).to_document()

    assert (document["family"], document["x_theirs"], document["notes"]) == (7, {"k": 1}, "by hand")
    assert document["agent"] == {"given_path": "/g", "later": 1, "identity": "abc"}


def test_a_value_that_could_not_be_read_gives_way_to_the_verdict() -> None:
    """Also to a null: a record may not say valid and keep the errors of before, in whatever shape they were."""
    before = record(validation_errors="garbage", validation_state="degraded", import_state="ready")

    assert judged_record(before, "/bundle", look()).to_document()["validation_errors"] is None


def test_a_relative_path_is_no_place() -> None:
    """Each process that reads it would look somewhere else."""
    judged = judged_record(record(entry_path="models/bundle"), None, None)

    assert judged.validation_state == "invalid"
    assert judged.validation_errors is not None
    assert [error.code for error in judged.validation_errors] == ["missing_entry_path"]
