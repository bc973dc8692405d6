"""First records of models of the library's own pass the checks that the existing library makes of records."""

import re
from typing import Any

import pytest

from pumas_agent.contracts.imports import ModelImportSpec
from pumas_agent.contracts.metadata import METADATA_FIELDS
from pumas_agent.contracts.tasks import modalities_of
from pumas_agent.importing.copier import HashedFile
from pumas_agent.importing.formats import FileFormat
from pumas_agent.importing.model_types import TypeResolution
from pumas_agent.importing.owned_record import Placed, file_record

BACKENDS = {"candle", "diffusers", "llama.cpp", "ollama", "onnx-runtime", "pytorch", "tensorrt", "transformers"}
TOKENS = {
    *("text", "image", "audio", "video", "document", "mask", "depth", "bbox", "keypoints", "action", "3d"),
    *("embedding", "tabular", "timeseries", "rl-state", "any", "unknown"),
}
FILE = HashedFile("w.gguf", 64, "a" * 64, "b" * 64, b"GGUF")


def record(found: FileFormat, kind: TypeResolution, **given: Any) -> dict[str, Any]:
    spec = ModelImportSpec(path="/x", family="acme", official_name="Tiny", **given)
    placed = Placed("llm/acme/tiny", "tiny", "acme", "import")
    return file_record(spec, placed, [FILE], (FILE, found), kind, now="2026-11-24T12:00:00+00:00").to_document()


@pytest.mark.parametrize("found", FileFormat)
@pytest.mark.parametrize("task", [None, " ", "Text Generation", "object-detection", "of_tomorrow"])
@pytest.mark.parametrize("kind", [TypeResolution("llm", confidence=0.7), TypeResolution("unknown")])
def test_a_record_is_what_the_existing_library_takes(found: FileFormat, task: str | None, kind: TypeResolution) -> None:
    """Its rules of schema 2: cases metadata_v2-004, metadata_v2-006, metadata_v2-008, metadata_v2-011."""
    document = record(found, kind, pipeline_tag=task)

    assert list(document) == list(METADATA_FIELDS)
    assert document["schema_version"] == 2
    assert document["recommended_backend"] in {None, *BACKENDS}
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", document["task_type_primary"])
    for field in ("input_modalities", "output_modalities"):
        assert document[field]
        assert set(document[field]) <= TOKENS
    for of in ("task_classification", "model_type_resolution"):
        assert document[f"{of}_source"]
        assert 0 <= document[f"{of}_confidence"] <= 1
    doubts = [document["task_type_primary"] == "unknown", document["model_type"] == "unknown"]
    assert document["metadata_needs_review"] == any(doubts) == bool(document["review_reasons"])
    assert document["review_reasons"] in (None, sorted(set(document["review_reasons"] or ())))
    if doubts[0]:
        assert document["task_classification_confidence"] == 0.0
    if doubts[1]:
        assert document["model_type_resolution_confidence"] == 0.0


@pytest.mark.parametrize(
    ("task", "inputs", "outputs"),
    [
        ("text-to-image", ("text",), ("image",)),
        ("text-ranking", ("text", "document"), ("text",)),
        (" Visual-Question-Answering ", ("text", "image"), ("text",)),
        ("of-tomorrow", ("unknown",), ("unknown",)),
        (None, ("unknown",), ("unknown",)),
    ],
)
def test_what_goes_in_and_comes_out(task: str | None, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    assert modalities_of(task) == (inputs, outputs)
