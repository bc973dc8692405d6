"""The record of a model: 68 fields in their order, read field by field, written back whole."""

from typing import Any

import pytest

from pumas_agent.contracts.metadata import (
    METADATA_FIELDS,
    AgentFacts,
    AssetValidationState,
    BundleFormat,
    ImportState,
    ModelMetadata,
    StorageKind,
)

FIELDS = """
schema_version model_id family model_type subtype official_name cleaned_name tags base_model preview_image release_date
download_url model_card inference_settings compatible_apps hashes notes added_date updated_date size_bytes files
match_source match_method match_confidence pending_online_lookup lookup_attempts last_lookup_attempt conversion_source
repo_id publisher architecture_family config_model_type selected_artifact_id selected_artifact_files
selected_artifact_quant upstream_revision expected_files source_path entry_path storage_kind bundle_format
pipeline_class import_state validation_state validation_errors pipeline_tag huggingface_evidence task_type_primary
task_type_secondary input_modalities output_modalities task_classification_source task_classification_confidence
model_type_resolution_source model_type_resolution_confidence recommended_backend runtime_engine_hints
dependency_bindings requires_custom_code custom_code_sources metadata_needs_review review_reasons review_status
reviewed_by reviewed_at model_card_artifact license_artifact license_status
""".split()  # noqa: SIM905  as in the reference, to be compared by eye


def test_the_fields_are_the_68_of_the_file_in_its_order() -> None:
    """Appending is a change of this list; nothing else is (R1)."""
    assert list(METADATA_FIELDS) == FIELDS
    assert len(FIELDS) == 68


def test_every_field_is_written_and_null_when_unset() -> None:
    """A reader of the file never has to guess whether a key may be absent."""
    assert list(ModelMetadata().to_document().items()) == [(field, None) for field in FIELDS]


def test_there_is_no_field_about_backends_beside_the_two() -> None:
    """R11: recommended_backend and runtime_engine_hints are all there is to choose a backend by."""
    words = ("backend", "engine", "runtime", "framework", "device")

    assert [field for field in FIELDS if any(word in field for word in words)] == [
        "recommended_backend",
        "runtime_engine_hints",
    ]


def test_unknown_keys_survive_reading_changing_and_writing() -> None:
    """They stand behind the known ones, as they were."""
    record, findings = ModelMetadata.parse({"x_new": {"deep": [1, None]}, "family": "sdxl", "agent": {"other": 1}})

    document = record.model_copy(update={"family": "flux"}).to_document()

    assert findings == ()
    assert list(document) == [*FIELDS, "x_new", "agent"]
    assert document["x_new"] == {"deep": [1, None]}
    assert document["family"] == "flux"


def test_unknown_keys_of_nested_objects_survive_too() -> None:
    """A later version of the existing library may add some."""
    record, findings = ModelMetadata.parse({"hashes": {"sha256": "ab", "md5": "cd"}, "files": [{"name": "f", "x": 1}]})

    document = record.to_document()

    assert findings == ()
    assert document["hashes"] == {"sha256": "ab", "blake3": None, "md5": "cd"}
    assert document["files"][0]["x"] == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("storage_kind", "on_the_moon"),
        ("validation_state", "VALID"),
        ("import_state", 3),
        ("bundle_format", ["diffusers_directory"]),
        ("size_bytes", -1),
        ("size_bytes", "12"),
        ("tags", "one, two"),
        ("tags", ["one", 2]),
        ("requires_custom_code", "yes"),
        ("hashes", []),
        ("files", [{"size": 1}]),
        ("validation_errors", [{"code": "x", "message": "y", "surprise": 1}]),
        ("match_confidence", "high"),
        ("inference_settings", [{"key": "steps"}]),
    ],
)
def test_one_bad_value_is_a_finding_about_its_field_and_is_written_back(field: str, value: object) -> None:
    """The other fields stay readable; what could not be read is not destroyed."""
    record, findings = ModelMetadata.parse({"official_name": "Named", field: value, "notes": "noted"})

    assert {finding.field for finding in findings} == {field}
    assert all(field in finding.message for finding in findings)
    assert (record.official_name, record.notes, getattr(record, field)) == ("Named", "noted", None)
    document = record.model_copy(update={"notes": "changed"}).to_document()
    assert document[field] == value
    assert list(document) == FIELDS


def test_a_bad_value_goes_when_its_field_is_given_a_good_one() -> None:
    """Setting the field repairs it."""
    record, _ = ModelMetadata.parse({"size_bytes": "many"})

    assert record.model_copy(update={"size_bytes": 7}).to_document()["size_bytes"] == 7


def test_several_bad_values_are_each_named() -> None:
    """One look names them all."""
    _, findings = ModelMetadata.parse({"tags": 1, "family": 2, "files": [{"name": 3}, {"name": 4}]})

    assert [finding.field for finding in findings] == ["family", "tags", "files", "files"]
    assert "files.1.name" in findings[-1].message


@pytest.mark.parametrize("value", [None, {}, [], {"steps": 20}])
def test_no_inference_parameters_are_null_however_they_are_spelled(value: object) -> None:
    """Case metadata-004."""
    record, findings = ModelMetadata.parse({"inference_settings": value})

    assert (record.inference_settings, findings) == (None, ())
    assert ModelMetadata.parse({})[0].inference_settings is None


@pytest.mark.parametrize(("value", "read"), [("sdxl", ["sdxl"]), (["a", "b"], ["a", "b"]), ([], None), (None, None)])
def test_base_model_is_a_list_or_one_string(value: object, read: object) -> None:
    """Older records have one string."""
    assert ModelMetadata.parse({"base_model": value})[0].base_model == read


def test_the_fields_of_an_external_asset_survive_a_round_trip() -> None:
    """Cases metadata-006 and metadata-007: their values are snake_case strings."""
    values: dict[str, Any] = {
        "source_path": "/bundles/sd",
        "entry_path": "/bundles/sd",
        "storage_kind": "external_reference",
        "bundle_format": "diffusers_directory",
        "pipeline_class": "StableDiffusionPipeline",
        "import_state": "ready",
        "validation_state": "degraded",
        "validation_errors": [{"code": "component_missing", "message": "unet is missing", "path": "unet"}],
    }

    record, findings = ModelMetadata.parse(values)

    assert findings == ()
    assert record.storage_kind is StorageKind.EXTERNAL_REFERENCE
    assert record.validation_state is AssetValidationState.DEGRADED
    assert {key: value for key, value in record.to_document().items() if value is not None} == values


def test_the_enums_have_the_words_of_the_file() -> None:
    """Any other word makes the file unreadable for the existing library."""
    assert [kind.value for kind in StorageKind] == ["library_owned", "external_reference"]
    assert [kind.value for kind in BundleFormat] == ["diffusers_directory"]
    assert [state.value for state in ImportState] == ["pending", "ready", "failed"]
    assert [state.value for state in AssetValidationState] == ["valid", "degraded", "invalid"]


@pytest.mark.parametrize("kind", ["external_reference", "from_the_future", 7])
def test_a_storage_kind_that_is_not_understood_counts_as_external(kind: object) -> None:
    """Hands off what another program owns in a way we do not know."""
    assert ModelMetadata.parse({"storage_kind": kind})[0].is_external
    assert not ModelMetadata.parse({"storage_kind": "library_owned"})[0].is_external
    assert not ModelMetadata.parse({})[0].is_external


@pytest.mark.parametrize(
    ("import_state", "validation_state", "expected"),
    [
        (None, "valid", ImportState.READY),
        (None, "degraded", ImportState.FAILED),
        (None, None, ImportState.FAILED),
        ("pending", "valid", ImportState.PENDING),
        ("failed", "valid", ImportState.FAILED),
    ],
)
def test_an_old_record_without_an_import_state_is_ready_when_valid(
    import_state: object, validation_state: object, expected: ImportState
) -> None:
    """What is written there counts before what may be concluded."""
    record, _ = ModelMetadata.parse({"import_state": import_state, "validation_state": validation_state})

    assert record.effective_import_state is expected


def test_our_own_key_is_kept_apart_and_forgiving() -> None:
    """Another program may have put something else there; a copy with it leaves the original alone."""
    record, _ = ModelMetadata.parse({"agent": "not ours"})

    changed = record.with_agent(AgentFacts(identity="abc"))

    assert record.agent == AgentFacts()
    assert changed.agent.identity == "abc"
    assert record.to_document()["agent"] == "not ours"
    assert changed.to_document()["agent"] == {"identity": "abc"}
