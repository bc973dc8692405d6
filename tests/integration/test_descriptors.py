"""What a runtime is told: a descriptor, or why there is none."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.dependencies import DependencyValidationState
from pumas_agent.contracts.descriptor import ModelExecutionDescriptor
from pumas_agent.contracts.errors import AssetUnresponsive, ContractVersionMismatch, InvalidParams, ModelNotFound
from pumas_agent.contracts.metadata import AssetValidationState
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.execution import resolver

if TYPE_CHECKING:
    from tests.integration.conftest import Parts

TINY = "diffusion/acme/tiny"
VALID, DEGRADED, INVALID = AssetValidationState


# --- the descriptor --------------------------------------------------------------------------------------------------


async def test_a_descriptor_has_every_field_of_its_contract(agent: "Parts", bundle: Path) -> None:
    """R4, R10, R21, R24: names, values and nulls of version 1; the dependency payload is nested as it is."""
    await agent.registered(bundle)

    answer = await agent.resolve(TINY, expected_execution_contract_version=1)

    verdict = agent.parts.refresher.verdict(TINY)
    assert verdict is not None
    assert verdict.report is not None
    dependencies = await agent.call("resolve_model_dependency_requirements", model_id=TINY, backend_key="diffusers")
    assert answer == {
        "execution_contract_version": 1,
        "model_id": TINY,
        "entry_path": str(bundle),
        "model_type": "diffusion",
        "task_type_primary": "text-to-image",
        "recommended_backend": "diffusers",
        "runtime_engine_hints": ["diffusers", "pytorch"],
        "storage_kind": "external_reference",
        "validation_state": "valid",
        "dependency_resolution": dependencies,
        "bundle_format": "diffusers_directory",
        "pipeline_class": "StableDiffusionPipeline",
        "components": [component.model_dump(mode="json") for component in verdict.report.components],
        "weight_variants": [""],
        "load_variant": None,
        "load_dtype": "float32",
        "security_tier": "safe",
        "requires_custom_code": False,
        "notices": [],
        "validated_at": verdict.judged_at,
        "generation": agent.library.catalog.generation,
    }
    assert [component["name"] for component in answer["components"]] == [
        "feature_extractor",
        "scheduler",
        "text_encoder",
        "tokenizer",
        "unet",
        "vae",
    ]


def test_a_descriptor_selects_no_backend_beside_the_two_fields_it_has() -> None:
    """R11: recommended_backend and runtime_engine_hints are all there is."""
    about = [name for name in ModelExecutionDescriptor.model_fields if "backend" in name or "engine" in name]

    assert about == ["recommended_backend", "runtime_engine_hints"]


def test_asset_health_and_dependency_health_share_no_word() -> None:
    """Law 7, R10."""
    assert not {state.value for state in AssetValidationState} & {state.value for state in DependencyValidationState}


async def test_a_refusal_says_what_is_wrong_since_when_and_what_to_do(agent: "Parts", bundle: Path) -> None:
    """R13: degraded fails hard, with every field of the contract; since is when it stopped being valid."""
    await agent.registered(bundle)
    shutil.rmtree(bundle / "vae")

    refusal = await agent.refused(TINY)

    since = refusal.data.pop("since")
    (alert,) = agent.parts.alerts.standing()
    judged = agent.parts.refresher.verdict(TINY)
    assert judged is not None
    assert (refusal.code, refusal.rpc_code, since) == ("asset_not_valid", -32005, alert.since)
    assert refusal.message == (
        f"Validation error for validation_state: model '{TINY}' is not executable"
        ' because asset validation_state is "degraded"'
    )
    assert refusal.to_data() == {
        "code": "asset_not_valid",
        "field": "validation_state",
        "validation_state": "degraded",
        "validation_errors": [error.model_dump() for error in judged.errors],
        "settling": False,
        "hint": refusal.hint,
    }
    assert refusal.hint is not None
    assert "vae" in refusal.hint


async def test_what_was_never_valid_has_no_moment_at_which_it_stopped(agent: "Parts", bundle: Path) -> None:
    """R13: invalid fails hard as well; since is null."""
    shutil.rmtree(bundle / "vae")
    await agent.registered(bundle, allow_unhealthy=True)

    refusal = await agent.refused(TINY)

    assert (refusal.validation_state, refusal.data["since"]) == (INVALID, None)


async def test_a_damaged_record_is_not_the_moment_at_which_the_bundle_broke(agent: "Parts", bundle: Path) -> None:
    """Since is of the bundle's own alert."""
    await agent.registered(bundle)
    agent.library.layout.metadata_path(TINY).write_text("{")
    await agent.call("reconcile")
    shutil.rmtree(bundle / "vae")

    refusal = await agent.refused(TINY)

    alerts = {alert.code.value: alert.since for alert in agent.parts.alerts.standing()}
    assert refusal.data["since"] == alerts["bundle_incomplete"] != alerts["metadata_corrupt"]


async def test_an_unknown_id_is_not_found(agent: "Parts") -> None:
    """Case descriptor-009: -32002 and the text of old; an id that leads out of the library is no id of a model."""
    for model_id in ("diffusion/f/none", "../../etc", "/etc", "a\0b"):
        with pytest.raises(ModelNotFound, match="Model not found: ") as error:
            await agent.resolve(model_id)
        assert error.value.rpc_code == -32002


async def test_another_version_of_the_contract_is_refused(agent: "Parts", bundle: Path) -> None:
    """R4: before anything is looked at; the answer has both versions."""
    await agent.registered(bundle)

    with pytest.raises(ContractVersionMismatch) as error:
        await agent.resolve(TINY, expected_execution_contract_version=2)

    assert (error.value.rpc_code, error.value.data) == (-32602, {"expected": 2, "actual": 1})


async def test_a_batch_answers_each_id_for_itself_and_in_order(agent: "Parts", bundle: Path, tmp_path: Path) -> None:
    """Case descriptor-004: descriptors without dependencies, errors with their data; absent keys are left out."""
    broken = tmp_path / "models" / "broken"
    write_stable_diffusion_bundle(broken)
    await agent.registered(bundle)
    await agent.registered(broken)
    shutil.rmtree(broken / "vae")

    answer = await agent.call(
        "resolve_model_execution_descriptors_batch", model_ids=[TINY, "none", "diffusion/acme/broken", TINY]
    )

    first, unknown, refusal, again = answer["descriptors"]
    assert first == again == {"model_id": TINY, "descriptor": {**await agent.resolve(TINY), **_of(first)}}
    assert unknown["error"] == "Model not found: none"
    assert (list(unknown), unknown["error_data"]["code"]) == (["model_id", "error", "error_data"], "model_not_found")
    assert refusal["error_data"]["validation_state"] == "degraded"
    with pytest.raises(InvalidParams):
        await agent.call("resolve_model_execution_descriptors_batch", model_ids=["x"] * 1001)


def _of(item: dict[str, Any]) -> dict[str, Any]:
    """What differs from a single answer later: the dependencies, and which verdict it is made from."""
    assert item["descriptor"]["dependency_resolution"] is None
    return {key: item["descriptor"][key] for key in ("dependency_resolution", "validated_at", "generation")}


async def test_a_stranger_s_external_record_is_judged_too(agent: "Parts", bundle: Path) -> None:
    """R17: a record without a bundle format, or with a storage kind we do not know, is never served blindly."""
    await agent.create("diffusion/f/a", storage_kind="external_reference", entry_path=str(bundle))
    await agent.create("diffusion/f/b", storage_kind="on_the_moon", entry_path=str(bundle))
    served = [(await agent.resolve(model_id))["entry_path"] for model_id in ("diffusion/f/a", "diffusion/f/b")]
    shutil.rmtree(bundle / "unet")

    states = [(await agent.refused(model_id)).validation_state for model_id in ("diffusion/f/a", "diffusion/f/b")]

    assert served == [str(bundle)] * 2
    assert states == [DEGRADED] * 2


# --- file models -----------------------------------------------------------------------------------------------------


async def test_a_file_model_is_its_largest_model_file(agent: "Parts") -> None:
    """Case descriptor-007, R7, R21: within two levels, of the seven kinds, and as it is now."""
    folder = await agent.create("llm/f/m", model_type="llm")
    (folder / "a.gguf").write_bytes(b"x" * 10)
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub" / "B.SAFETENSORS").write_bytes(b"x" * 20)
    (folder / "sub" / "deep" / "c.gguf").write_bytes(b"x" * 900)
    (folder / "readme.md").write_bytes(b"x" * 900)
    first = await agent.resolve("llm/f/m")
    (folder / "sub" / "B.SAFETENSORS").unlink()

    second = await agent.resolve("llm/f/m")

    assert (first["entry_path"], first["security_tier"]) == (str(folder / "sub" / "B.SAFETENSORS"), "safe")
    assert second["entry_path"] == str(folder / "a.gguf")
    assert (first["bundle_format"], first["components"], first["storage_kind"]) == (None, None, "library_owned")


@pytest.mark.parametrize(("name", "tier"), [("a.ckpt", "pickle"), ("a.bin", "pickle"), ("a.onnx", "safe")])
async def test_the_tier_of_a_file_model_is_that_of_its_file(agent: "Parts", name: str, tier: str) -> None:
    """contracts: pickle when what a runtime would load is one."""
    folder = await agent.create("llm/f/m")
    (folder / name).write_bytes(b"x")

    assert (await agent.resolve("llm/f/m"))["security_tier"] == tier


async def test_a_file_model_without_a_file_is_its_folder(agent: "Parts") -> None:
    """Cases descriptor-008 and descriptor-010: and what its record does not say is unknown."""
    folder = await agent.create("odd/f/m", validation_state="valid")

    answer = await agent.resolve("odd/f/m")

    assert (answer["entry_path"], answer["task_type_primary"], answer["runtime_engine_hints"]) == (
        str(folder),
        "unknown",
        [],
    )


async def test_a_file_model_whose_folder_is_gone_is_not_found(agent: "Parts") -> None:
    """Reference 8.1: the folder must be there."""
    folder = await agent.create("llm/f/m")
    shutil.rmtree(folder)

    with pytest.raises(ModelNotFound, match="llm/f/m"):
        await agent.resolve("llm/f/m")


async def test_an_asset_that_takes_too_long_is_named_before_the_client_gives_up(
    agent: "Parts", bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judgement goes on: the next question may have its answer."""
    await agent.registered(bundle)
    monkeypatch.setattr(resolver, "PATIENCE_S", 0.05)
    agent.judge.hold()

    with pytest.raises(AssetUnresponsive, match=bundle.name):
        await agent.resolve(TINY)
    agent.judge.go_on.set()
    monkeypatch.undo()

    assert (await agent.resolve(TINY))["validation_state"] == "valid"
