"""From a record to its row."""

import json
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.library import primary_file
from pumas_agent.library.projection import project

LEFT_OUT = {
    "model_id", "model_type", "cleaned_name", "official_name", "hashes", "tags", "compatible_apps", "conversion_source",
    "last_lookup_attempt", "license_artifact", "model_card_artifact", "reviewed_at", "reviewed_by", "subtype",
}  # fmt: skip
ADDED = {
    "download_incomplete", "download_has_part_files", "download_missing_expected_files", "primary_format",
    "quantization",
}  # fmt: skip


def model(root: Path, document: dict[str, Any], files: dict[str, int] | None = None) -> dict[str, Any]:
    """The metadata of the row of a model with these payload files, name to size."""
    directory = root / "model"
    directory.mkdir()
    (directory / "metadata.json").write_text(json.dumps(document))
    for name, size in (files or {}).items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(b"x" * size)
    row = project("llm/f/model", directory, ModelMetadata.parse(document)[0])
    facts: dict[str, Any] = json.loads(row.metadata_json)
    return facts


def test_the_columns_come_from_the_record_or_from_the_id(tmp_path: Path) -> None:
    """Reference 6.1; tags and hashes compact, metadata sorted and pretty."""
    (tmp_path / "metadata.json").write_text("{}")
    record, _ = ModelMetadata.parse(
        {"tags": ["é", "b"], "hashes": {"sha256": "ab", "md5": "no"}, "updated_date": "2026-01-01T00:00:00+00:00"}
    )

    row = project("llm/llama/x", tmp_path, record)

    assert (row.id, row.path, row.model_type) == ("llm/llama/x", str(tmp_path), "llm")
    assert (row.cleaned_name, row.official_name) == ("x", "llm/llama/x")
    assert (row.tags_json, row.hashes_json) == ('["é","b"]', '{"sha256":"ab"}')
    assert row.updated_at == "2026-01-01T00:00:00+00:00"
    assert row.metadata_json == json.dumps(json.loads(row.metadata_json), indent=2, sort_keys=True, ensure_ascii=False)


def test_the_metadata_of_a_row_is_the_record_less_what_has_a_column_and_more_about_the_payload(tmp_path: Path) -> None:
    """An empty list of findings is left out, a filled one stays."""
    facts = model(tmp_path, {"validation_errors": []})

    assert set(facts) == set(ModelMetadata.model_fields) - LEFT_OUT - {"validation_errors"} | ADDED


def test_findings_stand_in_the_row(tmp_path: Path) -> None:
    """A front end shows them (R6)."""
    finding = {"code": "component_missing", "message": "m", "path": "unet"}

    assert model(tmp_path, {"validation_errors": [finding]})["validation_errors"] == [finding]


@pytest.mark.parametrize(
    ("document", "files", "expected"),
    [
        ({"expected_files": ["weights.gguf"]}, {"weights.gguf.part": 3}, (True, True, 1)),  # projection-001
        ({"expected_files": ["weights.gguf"]}, {"weights.gguf": 3, ".pumas_download": 1}, (False, False, 0)),  # -005
        ({"expected_files": ["a.gguf", "b.gguf"]}, {"a.gguf": 1}, (True, False, 1)),
        ({}, {"sub/weights.bin.part": 1}, (True, True, 0)),
        ({}, {"weights.bin": 1}, (False, False, 0)),
        ({"storage_kind": "external_reference", "expected_files": ["unet"]}, {}, (False, False, 0)),
    ],
)
def test_a_download_is_incomplete_while_parts_are_there_or_files_are_not(
    tmp_path: Path, document: dict[str, Any], files: dict[str, int], expected: tuple[bool, bool, int]
) -> None:
    """Cases projection-001 and projection-005; an external reference has no payload of ours."""
    facts = model(tmp_path, document, files)

    names = ("download_incomplete", "download_has_part_files", "download_missing_expected_files")
    assert tuple(facts[name] for name in names) == expected


def test_a_partial_download_beside_a_whole_model_is_usable(tmp_path: Path) -> None:
    """Case projection-002: the format and the quantization are those of the whole file."""
    facts = model(
        tmp_path,
        {"match_source": "download_partial", "expected_files": ["model-Q4_K_M.gguf"]},
        {"model-Q4_K_M.gguf.part": 9, "model-Q5_K_M.gguf": 3},
    )

    assert facts["download_incomplete"] is False
    assert facts["download_has_part_files"] is True
    assert facts["quantization"] == "Q5_K_M"
    assert facts["primary_format"] == "gguf"


@pytest.mark.parametrize(
    ("document", "files", "expected"),
    [
        ({"expected_files": ["weights.gguf"]}, {"weights.gguf.part": 1}, "gguf"),
        ({"conversion_source": {"target_format": "gguf", "source_format": "safetensors"}}, {"x.bin": 1}, "gguf"),
        ({"conversion_source": {"source_format": "safetensors"}}, {}, "safetensors"),
        ({"files": [{"name": "s.onnx", "size": 1}, {"name": "l.ckpt", "size": 2}]}, {}, "pickle"),
        ({}, {"small.onnx": 1, "large.safetensors": 2, "config.json": 9}, "safetensors"),
        ({"tags": ["text", "gguf"]}, {}, "gguf"),
        ({}, {"config.json": 1}, None),
    ],
)
def test_the_format_comes_from_the_first_source_that_has_one(
    tmp_path: Path, document: dict[str, Any], files: dict[str, int], expected: str | None
) -> None:
    """Conversion, recorded files, files on disk, expected files, tags."""
    assert model(tmp_path, document, files)["primary_format"] == expected


@pytest.mark.parametrize(
    ("document", "files", "expected"),
    [
        ({"official_name": "Qwen3-Reranker-4B-NVFP4"}, {"model.safetensors.part": 1}, "NVFP4"),  # projection-004
        ({"conversion_source": {"target_quant": "q8_0"}, "official_name": "x-f16"}, {}, "Q8_0"),
        ({"selected_artifact_quant": "Q4_K_M"}, {}, "Q4_K_M"),
        ({}, {"model-bf16.safetensors": 1}, "BF16"),
        ({"official_name": "Llama 2 7B"}, {"model.safetensors": 1}, None),
    ],
)
def test_the_quantization_is_read_from_names(
    tmp_path: Path, document: dict[str, Any], files: dict[str, int], expected: str | None
) -> None:
    """In upper case."""
    assert model(tmp_path, document, files)["quantization"] == expected


def test_a_record_without_a_date_takes_the_newest_of_its_files_and_does_not_drift(tmp_path: Path) -> None:
    """Case rebuild-003: the same folder gives the same row."""
    (tmp_path / "metadata.json").write_text("{}")

    rows = [project("llm/f/x", tmp_path, ModelMetadata()) for _ in range(2)]

    assert rows[0] == rows[1]
    assert rows[0].updated_at.endswith("+00:00")


def test_the_primary_file_is_the_largest_model_file_of_two_levels(tmp_path: Path) -> None:
    """Links, deeper files and other kinds do not count; the first by name of equal ones does."""
    for name, size in {"b.bin": 5, "sub/a.SAFETENSORS": 5, "sub/deep/c.bin": 9, "readme.md": 99}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "z.bin").symlink_to(tmp_path / "sub/deep/c.bin")

    assert primary_file(tmp_path) == tmp_path / "b.bin"
    assert primary_file(tmp_path / "nowhere") is None
