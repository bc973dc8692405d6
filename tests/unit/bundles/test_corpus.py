"""Indexes of published bundles: each is understood, whatever else is missing around it."""

import json
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.bundles import validate

CORPUS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "data" / "model-index-corpus.json").read_text()
)
CODES = {
    "E_CLASS_MISSING": "missing_pipeline_class",
    "E_CLASS_NOT_PIPELINE": "not_a_pipeline_class",
    "E_CLASS_UNAVAILABLE": "pipeline_class_unavailable",
    "E_CLASS_UNKNOWN": "unknown_pipeline_class",
    "E_COMPONENT_CLASS_UNAVAILABLE": "component_class_unavailable",
    "E_COMPONENT_CLASS_UNKNOWN": "unknown_component_class",
    "E_COMPONENT_LIBRARY_UNKNOWN": "unknown_component_library",
    "E_COMPONENT_REQUIRED_ABSENT": "required_component_absent",
    "E_CUSTOM_CODE": "custom_code",
    "E_PROMPT_ENCODER_ABSENT": "prompt_encoder_absent",
}
"""The names of the codes when the corpus was made, and now."""


def write_around(root: Path, row: dict[str, Any]) -> None:
    """The index, a folder for each component, and the code that the bundle of the row brings."""
    index = row["model_index"]
    (root / "model_index.json").write_text(json.dumps(index))
    brings_code = [component for code, component in row["index_level_errors"] if code == "E_CUSTOM_CODE"]
    for name, value in index.items():
        if not name.startswith("_") and isinstance(value, list):
            (root / name).mkdir()
            if name in brings_code:
                (root / name / f"{value[0]}.py").touch()
    if None in brings_code:
        (root / f"{index['_class_name'][0]}.py").touch()


@pytest.mark.parametrize("name", sorted(CORPUS))
def test_an_index_is_understood(name: str, tmp_path: Path) -> None:
    """The right task for each class that the tables know, what is wrong with the index alone, and nothing else."""
    row = CORPUS[name]
    write_around(tmp_path, row)

    report = validate(tmp_path)

    said = {(finding.code, (finding.path or "").partition("/")[0]) for finding in report.findings}
    codes = {code for code, _ in said}
    assert report.task == (row["task"] if row["class_in_diffusers_0_42_1"] else None)
    assert ("unsupported_pipeline" in codes) == (report.task not in {None, "text-to-image"})
    for code, component in row["index_level_errors"]:
        assert (CODES[code], component) in said if component is not None else CODES[code] in codes
    if row["class_in_diffusers_0_42_1"]:
        assert codes & {*CODES.values(), "invalid_component_entry"} == {
            CODES[code] for code, _ in row["index_level_errors"]
        }
