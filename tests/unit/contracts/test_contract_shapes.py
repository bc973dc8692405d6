"""Names that front ends and runtimes depend on."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from pumas_agent.contracts.dependencies import DependencyValidationState
from pumas_agent.contracts.descriptor import DescriptorBatchItem, ModelExecutionDescriptor
from pumas_agent.contracts.health import SEVERITIES, AlertCode
from pumas_agent.contracts.metadata import AssetValidationState, ImportState
from pumas_agent.contracts.model import Contract
from pumas_agent.contracts.records import (
    ChangeKind,
    FactFamily,
    ModelDetails,
    ModelList,
    ModelRow,
    RefreshScope,
    SearchResult,
    UpdateEvent,
    UpdateFeed,
)
from pumas_agent.contracts.rpc import METHODS
from pumas_agent.contracts.timestamps import utc_from_ns, utc_now


def contracts(root: type[Contract] = Contract) -> Iterator[type[Contract]]:
    for child in root.__subclasses__():
        if child.__module__.startswith("pumas_agent.contracts."):
            yield child
        yield from contracts(child)


ROW: dict[str, Any] = {
    "id": "diffusion/sdxl/base",
    "path": "/library/diffusion/sdxl/base",
    "cleaned_name": "base",
    "official_name": "Base",
    "model_type": "diffusion",
    "tags": ("a",),
    "hashes": {},
    "updated_at": "2026-01-01T00:00:00+00:00",
    "storage_kind": "library_owned",
    "bundle_format": None,
    "validation_state": None,
    "entry_path": None,
}


def test_a_row_has_the_old_names_in_camel_case_and_the_new_ones_as_in_the_metadata() -> None:
    """Reference 6.5: a front end reads the same keys as before, and nulls where there is nothing (R6)."""
    assert list(ModelRow.model_validate(ROW).model_dump(mode="json")) == [
        "id", "path", "cleanedName", "officialName", "modelType", "tags", "hashes", "updatedAt",
        "storage_kind", "bundle_format", "validation_state", "entry_path", "size_bytes",
    ]  # fmt: skip


def test_lists_and_details_keep_the_same_spelling() -> None:
    """`totalCount`, `queryTimeMs`; what only we have is snake_case."""
    names = {
        kind: {field.serialization_alias or name for name, field in kind.model_fields.items()}
        for kind in (ModelList, SearchResult, ModelDetails)
    }

    assert names[ModelList] == {"models", "totalCount"}
    assert names[SearchResult] == {"models", "totalCount", "query", "queryTimeMs"}
    assert names[ModelDetails] - {field.serialization_alias for field in ModelRow.model_fields.values()} == {
        "metadata", "validation_errors", "validation_notices", "metadata_findings", "primary_file", "validated_at",
    }  # fmt: skip


def test_no_contract_has_a_field_about_backends_beside_the_two() -> None:
    """R11, over everything that crosses a border; `backend_key` is the dependency contract's own."""
    found = {name for kind in contracts() for name in kind.model_fields if "backend" in name or "engine" in name}

    assert found == {"recommended_backend", "runtime_engine_hints", "backend_key", "watch_backend"}


def test_asset_words_and_dependency_words_never_overlap() -> None:
    """R10: a label says by itself which of the two it is about."""
    assets = {state.value for state in (*AssetValidationState, *ImportState)}

    assert assets.isdisjoint(state.value for state in DependencyValidationState)


def test_unknown_keys_are_refused_by_name_and_values_never_change() -> None:
    """A misspelt parameter is an error, not a default."""
    with pytest.raises(ValidationError, match="modell_id"):
        METHODS["get_model"].params.model_validate({"model_id": "x", "modell_id": "y"})
    row = ModelRow.model_validate(ROW)
    with pytest.raises(ValidationError, match="frozen"):
        row.id = "other"  # type: ignore[misc]  # the type checker refuses it too


def test_the_feed_leaves_out_what_is_absent() -> None:
    """Reference 16, trap 9: feeds and batch items omit, descriptors keep their nulls."""
    event = UpdateEvent(
        cursor="model-library-updates:1",
        model_id="x",
        change_kind=ChangeKind.MODEL_ADDED,
        fact_family=FactFamily.MODEL_RECORD,
        refresh_scope=RefreshScope.SUMMARY_AND_DETAIL,
    )

    assert set(event.model_dump(mode="json")) == {"cursor", "model_id", "change_kind", "fact_family", "refresh_scope"}
    assert UpdateFeed(cursor="c").model_dump(mode="json") == {
        "cursor": "c", "stale_cursor": False, "snapshot_required": False,
    }  # fmt: skip
    assert DescriptorBatchItem(model_id="x", error="e").model_dump(mode="json") == {"model_id": "x", "error": "e"}


def test_a_descriptor_keeps_its_nulls() -> None:
    """A runtime tells "none" from "not sent"."""
    descriptor = ModelExecutionDescriptor(
        model_id="x",
        entry_path="/x",
        storage_kind="library_owned",
        validation_state="valid",
        validated_at="2026-01-01T00:00:00+00:00",
        generation=1,
    )

    assert set(descriptor.model_dump(mode="json")) == set(ModelExecutionDescriptor.model_fields)


def test_every_method_says_what_it_takes_and_gives() -> None:
    """Names are kept for good; parameters are named, and unknown ones refused."""
    assert all(method.params.model_config["extra"] == "forbid" for method in METHODS.values())
    assert all(method.summary.endswith(".") for method in METHODS.values())


def test_every_alert_has_a_severity() -> None:
    """An alert without one could not be logged."""
    assert set(SEVERITIES) == set(AlertCode)


def test_moments_have_one_spelling() -> None:
    """RFC 3339, UTC as `+00:00`, microseconds always there."""
    assert utc_from_ns(1_700_000_000_000_000_000) == "2023-11-14T22:13:20.000000+00:00"
    assert len(utc_now()) == len("2023-11-14T22:13:20.000000+00:00")
