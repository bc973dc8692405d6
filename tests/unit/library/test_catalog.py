"""The read model: entries of rows, also of rows that another program wrote."""

import json
from dataclasses import replace
from typing import Any

import pytest

from pumas_agent.contracts.metadata import AssetValidationState, ImportState, StorageKind
from pumas_agent.library import Catalog
from pumas_agent.library.catalog import entry_of
from pumas_agent.library.index import IndexRow


def row(model_id: str = "diffusion/f/x", metadata: str | None = None, **facts: Any) -> IndexRow:
    return IndexRow(
        id=model_id,
        path=f"/library/{model_id}",
        cleaned_name="x",
        official_name="X",
        model_type="diffusion",
        tags_json='["a"]',
        hashes_json="{}",
        metadata_json=json.dumps(facts) if metadata is None else metadata,
        updated_at="2026-01-01T00:00:00+00:00",
    )


def test_an_external_bundle_is_at_its_entry_path_and_an_owned_one_in_its_folder() -> None:
    """The one gate is the persisted storage kind (R17)."""
    external = entry_of(row(storage_kind="external_reference", source_path="/given", entry_path="/real"))
    owned = entry_of(row(bundle_format="diffusers_directory"))

    assert (external.is_external, external.is_bundle, external.bundle_root) == (True, True, "/real")
    assert (owned.is_external, owned.is_bundle, owned.bundle_root) == (False, True, "/library/diffusion/f/x")
    assert entry_of(row(storage_kind="external_reference", source_path="/given")).bundle_root == "/given"


@pytest.mark.parametrize("kind", ["from_the_future", 7, [], {"a": 1}])
def test_a_storage_kind_that_is_not_understood_means_hands_off(kind: object) -> None:
    """As in the record itself."""
    assert entry_of(row(storage_kind=kind)).storage_kind is StorageKind.EXTERNAL_REFERENCE


@pytest.mark.parametrize("metadata", ["", "not json", "[]", "null", "7", "[" * 100_000])
def test_a_row_whose_metadata_is_no_object_still_has_an_entry(metadata: str) -> None:
    """Another program may have written it: one bad row does not keep the library from opening."""
    entry = entry_of(row(metadata=metadata))

    assert (entry.id, entry.validation_state, entry.tags) == ("diffusion/f/x", None, ("a",))


def test_values_of_unexpected_types_read_as_absent() -> None:
    """Each by itself."""
    entry = entry_of(
        row(
            validation_state=["valid"],
            validation_errors=[{"code": 1}],
            pipeline_class=5,
            runtime_engine_hints=["diffusers", 5],
            requires_custom_code="true",
            entry_path="",
        )
    )

    assert (entry.validation_state, entry.validation_errors, entry.pipeline_class) == (None, (), None)
    assert (entry.runtime_engine_hints, entry.requires_custom_code, entry.entry_path) == (("diffusers",), False, None)


@pytest.mark.parametrize(
    ("import_state", "validation_state", "once"),
    [("ready", "degraded", True), ("failed", "invalid", False), (None, "valid", True), (None, "degraded", False)],
)
def test_an_asset_that_was_ready_once_degrades(import_state: str | None, validation_state: str, once: bool) -> None:
    """And one that never was is invalid."""
    entry = entry_of(row(import_state=import_state, validation_state=validation_state))

    assert entry.was_valid_once is once
    assert entry.import_state is (ImportState(import_state) if import_state else None)
    assert entry.validation_state is AssetValidationState(validation_state)


def test_the_catalog_holds_what_the_last_commit_left() -> None:
    """Its generation is the newest position of the feed."""
    catalog = Catalog()
    catalog.load([row("a/b/c"), row("a/b/d")], 2)

    catalog.put([row("a/b/e")], 3)
    catalog.remove(["a/b/c", "never/was/there"], 4)

    assert catalog.ids() == {"a/b/d", "a/b/e"}
    assert (len(catalog), catalog.generation) == (2, 4)
    assert catalog.get("a/b/c") is None
    assert [entry.id for entry in catalog.entries()] == ["a/b/d", "a/b/e"]


@pytest.mark.parametrize("hashes", ["[1]", "null", "x", '{"sha256": 1}'])
def test_hashes_of_another_shape_read_as_none(hashes: str) -> None:
    """One row that another program wrote must not break the lists of everybody."""
    assert entry_of(replace(row(), hashes_json=hashes)).hashes == ()
