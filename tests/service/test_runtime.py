"""From a registered bundle to the arguments that diffusers gets, field by field through every layer.

Ends in a stand-in with the signature of diffusers; `tests/real` ends in the real one.
"""

import json
import sqlite3
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from pumas_agent.client import load_pipeline
from pumas_agent.contracts.bundles import SecurityTier
from pumas_agent.contracts.descriptor import ModelExecutionDescriptor
from pumas_agent.contracts.errors import DescriptorNotUsable
from pumas_agent.contracts.metadata import AssetValidationState
from pumas_agent.demo.bundles import BundleKind, write_bundle

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest


class StableDiffusionPipeline:
    """Checks what it is given as diffusers 0.42 does."""

    loaded: ClassVar[list[dict[str, Any]]] = []

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str, **kwargs: Any) -> "StableDiffusionPipeline":
        known = {"local_files_only", "variant", "torch_dtype", "use_safetensors", "trust_remote_code", "device_map"}
        assert set(kwargs) <= known
        assert json.loads(Path(pretrained_model_name_or_path, "model_index.json").read_text())["_class_name"]
        cls.loaded.append({"root": pretrained_model_name_or_path, **kwargs})
        return cls()


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the stand-in was asked to load."""
    diffusers, torch = ModuleType("diffusers"), ModuleType("torch")
    diffusers.StableDiffusionPipeline = StableDiffusionPipeline  # type: ignore[attr-defined]
    torch.float16, torch.float32 = "half", "single"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "diffusers", diffusers)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(StableDiffusionPipeline, "loaded", [])
    return StableDiffusionPipeline.loaded


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (BundleKind.STABLE_DIFFUSION, {"torch_dtype": "single", "use_safetensors": True}),
        (BundleKind.STABLE_DIFFUSION_FP16, {"torch_dtype": "half", "variant": "fp16", "use_safetensors": True}),
        (BundleKind.STABLE_DIFFUSION_PICKLE, {}),  # nobody opens them to see
    ],
)
def test_what_is_registered_is_what_is_loaded(
    agent: "AgentUnderTest", short_tmp: Path, kind: BundleKind, expected: dict[str, Any], loaded: list[dict[str, Any]]
) -> None:
    """Record, row, answer and arguments say the same of one bundle."""
    root = short_tmp / "tiny"
    write_bundle(kind, root)
    model_id = agent.register(root)

    descriptor = agent.client.descriptor(model_id)
    pipeline = load_pipeline(descriptor, allow_pickle=kind is BundleKind.STABLE_DIFFUSION_PICKLE)

    record = json.loads((agent.library / model_id / "metadata.json").read_text())
    connection = sqlite3.connect(f"file:{agent.library / 'models.db'}?mode=ro", uri=True)
    (text,) = connection.execute("SELECT metadata_json FROM models WHERE id = ?", (model_id,)).fetchone()
    connection.close()
    row, answer = json.loads(text), descriptor.model_dump(mode="json")
    same = ("entry_path", "storage_kind", "bundle_format", "validation_state", "pipeline_class", "task_type_primary")
    for field in (*same, "recommended_backend", "runtime_engine_hints", "requires_custom_code"):
        assert record[field] == row[field] == answer[field], field
    assert answer["entry_path"] == record["source_path"] == str(root)
    assert isinstance(pipeline, StableDiffusionPipeline)
    assert loaded == [{"root": str(root), "local_files_only": True, **expected}]


@pytest.fixture
def descriptor(agent: "AgentUnderTest", short_tmp: Path) -> ModelExecutionDescriptor:
    write_bundle(BundleKind.STABLE_DIFFUSION, short_tmp / "tiny")
    return agent.client.descriptor(agent.register(short_tmp / "tiny"))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"execution_contract_version": 2}, "is of version 2"),
        ({"bundle_format": None}, "is no diffusers bundle"),
        ({"pipeline_class": None}, "is no diffusers bundle"),
        ({"validation_state": AssetValidationState.DEGRADED}, "not valid"),
        ({"security_tier": SecurityTier.PICKLE}, "pickles"),
        ({"security_tier": SecurityTier.UNKNOWN}, "pickles"),
        ({"requires_custom_code": True}, "code of its own"),
        ({"pipeline_class": "LaterPipeline"}, "has no LaterPipeline"),
        ({"load_dtype": "float4"}, "has no float4"),
    ],
)
def test_what_a_runtime_does_not_understand_is_refused(
    descriptor: ModelExecutionDescriptor, changes: dict[str, Any], why: str, loaded: list[dict[str, Any]]
) -> None:
    with pytest.raises(DescriptorNotUsable, match=why):
        load_pipeline(descriptor.model_copy(update=changes))

    assert loaded == []


def test_what_the_caller_says_wins(descriptor: ModelExecutionDescriptor, loaded: list[dict[str, Any]]) -> None:
    changed = descriptor.model_copy(update={"requires_custom_code": True})

    load_pipeline(changed, trust_remote_code=True, torch_dtype="half", device_map="balanced")

    assert loaded[0] | {"torch_dtype": "half", "device_map": "balanced", "trust_remote_code": True} == loaded[0]
