"""Which alert findings and failures amount to."""

import pytest

from pumas_agent.contracts.bundles import AssetValidationError
from pumas_agent.contracts.errors import LibraryOffline, LibraryUnwritable, MetadataUnreadable, PumasError
from pumas_agent.health import BUNDLE_CODES, LIBRARY_CODES, bundle_condition, library_condition


def findings(*codes: str) -> tuple[AssetValidationError, ...]:
    return tuple(AssetValidationError(code=code, message=f"{code} is said") for code in codes)


@pytest.mark.parametrize(
    ("codes", "alert"),
    [
        (["path_not_found"], "bundle_missing"),
        (["path_not_directory"], "bundle_missing"),
        (["component_unreadable"], "bundle_unreadable"),
        (["component_unreadable", "component_unreadable"], "bundle_unreadable"),
        (["component_unreadable", "missing_component"], "bundle_incomplete"),
        (["missing_model_index"], "bundle_incomplete"),
        (["unsupported_pipeline"], "bundle_incomplete"),
        (["missing_entry_path"], "bundle_incomplete"),
    ],
)
def test_findings_amount_to_one_alert(codes: list[str], alert: str) -> None:
    """contracts: the root is gone; nothing but permission is wrong; anything else."""
    condition = bundle_condition("/bundle", findings(*codes))

    assert condition is not None
    assert (condition[0], condition[1].path) == (alert, "/bundle")
    assert condition[0] in BUNDLE_CODES
    assert condition[1].hint


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("Permission denied", "chmod"),
        ("Transport endpoint is not connected", "mount"),  # the program behind a FUSE mount died
        ("Stale file handle", "mount"),  # the server of an NFS mount has another filesystem now
        ("Input/output error", "mount"),
    ],
)
def test_rights_are_advised_only_where_they_are_missing(reason: str, advice: str) -> None:
    """A filesystem that answers with an error is not mended by `chmod`."""
    finding = AssetValidationError(code="component_unreadable", message=f"/bundle cannot be read: {reason}")

    condition = bundle_condition("/bundle", (finding,))

    assert condition is not None
    assert condition[0] == "bundle_unreadable"
    assert advice in condition[1].hint
    assert not ({"chmod", "mount"} - {advice}) & set(condition[1].hint.split())


def test_no_finding_is_no_alert() -> None:
    """A bundle that is well, or of which nothing was found."""
    assert bundle_condition("/bundle", ()) is None


def test_evidence_is_bounded_and_says_how_much_there_is() -> None:
    """A log line stays readable."""
    condition = bundle_condition("/bundle", findings(*["missing_component"] * 100))

    assert condition is not None
    assert (len(condition[1].evidence["findings"]), condition[1].evidence["findings_total"]) == (20, 100)


@pytest.mark.parametrize(
    ("error", "codes"),
    [
        (None, []),
        (MetadataUnreadable("one record"), []),
        (LibraryOffline("gone"), ["library_offline"]),
        (LibraryUnwritable("cannot write the record of m", data={"reason": "No space left"}), ["library_unwritable"]),
    ],
)
def test_only_failures_of_the_library_itself_are_alerts_of_it(error: PumasError | None, codes: list[str]) -> None:
    """Law 10: what is wrong with one record is not wrong with the library."""
    conditions = library_condition("/library", error)

    assert list(conditions) == codes
    assert set(conditions) <= LIBRARY_CODES


def test_the_same_failure_of_two_records_is_the_same_evidence() -> None:
    """So that a full disk is said once, not once a model."""
    errors = [LibraryUnwritable(f"cannot write {name}", data={"reason": "No space left"}) for name in ("a", "b")]

    first, second = (next(iter(library_condition("/library", error).values())) for error in errors)

    assert first == second
