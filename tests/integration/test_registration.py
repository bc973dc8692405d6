"""Registering an external bundle: what is written, and what the same again is."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.metadata import METADATA_FIELDS
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.demo.snapshot import differences, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import HeldJudge, Parts

TINY = "diffusion/acme/tiny"


# --- what is registered ----------------------------------------------------------------------------------------------


async def test_the_artifact_is_one_record_and_the_bundle_stays_as_it_is(agent: "Parts", bundle: Path) -> None:
    """Case import_external-001, R2, R22: nothing is copied, renamed, moved or written at the source."""
    before = snapshot(bundle.parent)

    result = await agent.register(bundle, repo_id="acme/tiny", tags=["diffusers"])

    assert result == {
        "path": str(bundle),
        "success": True,
        "model_id": TINY,
        "status": "registered",
        "error": None,
        "security_tier": "safe",
        "findings": [],
        "model_path": None,
    }
    assert differences(before, snapshot(bundle.parent)) == []
    assert agent.artifacts() == [
        "diffusion",
        "diffusion/acme",
        "diffusion/acme/tiny",
        "diffusion/acme/tiny/metadata.json",
    ]


async def test_the_record_has_the_values_of_a_registration(agent: "Parts", bundle: Path) -> None:
    """Reference section 3, case import_external-007, R1, R13: every value, all 68 keys, and ours."""
    await agent.registered(bundle, family="Acme Corp", official_name="Tiny SD", repo_id="acme/tiny", tags=["a", "b"])

    record = agent.record("diffusion/acme_corp/tiny_sd")
    stated = {key: value for key, value in record.items() if value is not None}
    settings = stated.pop("inference_settings")
    moment = stated.pop("added_date")
    size = sum(facts[4] for facts in snapshot(bundle).values() if facts[-1])
    assert list(record) == [*METADATA_FIELDS, "agent"]
    assert moment.endswith("+00:00")
    facts = stated.pop("agent")
    mount = facts.pop("mount")
    assert Path(mount["point"]) / mount["path"] == bundle
    assert facts == {
        "identity": stated_identity(record),
        "given_path": str(bundle),
        "inode": snapshot(bundle)["."][0],
    }
    assert stated == {
        "schema_version": 2,
        "model_id": "diffusion/acme_corp/tiny_sd",
        "family": "Acme Corp",
        "model_type": "diffusion",
        "official_name": "Tiny SD",
        "cleaned_name": "tiny_sd",
        "tags": ["a", "b"],
        "updated_date": moment,
        "size_bytes": size,
        "match_source": "external_reference",
        "repo_id": "acme/tiny",
        "source_path": str(bundle),
        "entry_path": str(bundle),
        "storage_kind": "external_reference",
        "bundle_format": "diffusers_directory",
        "pipeline_class": "StableDiffusionPipeline",
        "import_state": "ready",
        "validation_state": "valid",
        "pipeline_tag": "text-to-image",
        "task_type_primary": "text-to-image",
        "input_modalities": ["text"],
        "output_modalities": ["image"],
        "task_classification_source": "hf-pipeline-tag",
        "task_classification_confidence": 1.0,
        "model_type_resolution_source": "external-diffusers-import",
        "model_type_resolution_confidence": 1.0,
        "recommended_backend": "diffusers",
        "runtime_engine_hints": ["diffusers", "pytorch"],
        "requires_custom_code": False,
        "metadata_needs_review": False,
        "review_status": "not_required",
        "license_status": "license_unknown",
    }
    assert [(knob["key"], knob["default"], knob["constraints"]) for knob in settings] == [
        ("num_inference_steps", 20, {"min": 1, "max": 150, "allowed_values": None}),
        ("guidance_scale", 7.0, {"min": 1.0, "max": 30.0, "allowed_values": None}),
        ("width", 1024, {"min": 64, "max": 4096, "allowed_values": None}),
        ("height", 1024, {"min": 64, "max": 4096, "allowed_values": None}),
        ("seed", -1, {"min": -1, "max": None, "allowed_values": None}),
    ]


def stated_identity(record: dict[str, Any]) -> str:
    identity = record["agent"]["identity"]
    assert isinstance(identity, str)
    assert identity
    return identity


async def test_a_link_is_registered_as_the_place_it_leads_to(agent: "Parts", bundle: Path, tmp_path: Path) -> None:
    """R13: source_path and entry_path are both the canonical root; the path as given is kept in our own key."""
    link = tmp_path / "link"
    link.symlink_to(bundle)

    result = await agent.register(link, official_name="tiny")

    record = agent.record(TINY)
    assert result["path"] == str(link)
    assert (record["source_path"], record["entry_path"]) == (str(bundle), str(bundle))
    assert record["agent"]["given_path"] == str(link)


@pytest.mark.parametrize("pipeline", ["QwenImagePipeline", "QwenImageLightningPipeline"])
async def test_a_qwen_image_pipeline_has_its_own_guidance(agent: "Parts", bundle: Path, pipeline: str) -> None:
    """Reference section 3: true_cfg_scale 4.0 in the place of guidance_scale."""
    index = bundle / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": pipeline}))

    await agent.register(bundle, allow_unhealthy=True)

    knobs = {knob["key"]: knob["default"] for knob in agent.record(TINY)["inference_settings"]}
    assert knobs["true_cfg_scale"] == 4.0
    assert "guidance_scale" not in knobs


async def test_nothing_that_is_done_to_a_registration_touches_the_bundle(agent: "Parts", bundle: Path) -> None:
    """Law 1, R2, R5, R23: contents, inodes and all times but the last access are the same after every operation."""
    before = snapshot(bundle.parent)
    operations: dict[str, Callable[[], Any]] = {
        "register": lambda: agent.register(bundle),
        "register again": lambda: agent.register(bundle),
        "refresh": lambda: agent.parts.refresher.refresh(TINY),
        "resolve": lambda: agent.resolve(TINY),
        "batch": lambda: agent.call("resolve_model_execution_descriptors_batch", model_ids=[TINY]),
        "get": lambda: agent.call("get_model", model_id=TINY),
        "list": lambda: agent.call("list_models"),
        "reconcile one": lambda: agent.call("reconcile", model_id=TINY),
        "reconcile all": lambda: agent.call("reconcile"),
        "rebuild": lambda: agent.call("rebuild_model_index"),
        "unregister": lambda: agent.call("unregister_external_model", model_id=TINY),
    }

    touched = {}
    for name, operation in operations.items():
        await operation()
        touched[name] = differences(before, snapshot(bundle.parent))

    assert touched == {name: [] for name in operations}


# --- the same again --------------------------------------------------------------------------------------------------


async def test_the_same_source_under_the_same_id_is_a_success_that_writes_nothing(
    agent: "Parts", bundle: Path, tmp_path: Path
) -> None:
    """R19 (and in the place of case import_external-002): no byte is written, by whatever path it came."""
    await agent.registered(bundle)
    (tmp_path / "link").symlink_to(bundle.parent)
    before = await agent.written()

    again = [await agent.register(bundle), await agent.register(tmp_path / "link" / "tiny")]

    assert [(result["status"], result["success"], result["model_id"]) for result in again] == [
        ("already_registered", True, TINY)
    ] * 2
    assert await agent.written() == before


async def test_registering_again_says_what_is_wrong_now(agent: "Parts", bundle: Path) -> None:
    """It revalidates: its findings are those of now, and so is the record."""
    await agent.registered(bundle)
    shutil.rmtree(bundle / "vae")

    result = await agent.register(bundle)

    assert (result["status"], [finding["code"] for finding in result["findings"]]) == (
        "already_registered",
        ["missing_component"],
    )
    assert agent.record(TINY)["validation_state"] == "degraded"


async def test_another_source_under_a_taken_id_is_refused(agent: "Parts", bundle: Path, tmp_path: Path) -> None:
    """Case import_external-004: refused with the text of old; the first registration is not touched."""
    await agent.registered(bundle)
    other = tmp_path / "other" / "TINY"
    write_stable_diffusion_bundle(other, seed=1)
    before = await agent.written()

    result = await agent.register(other)

    assert (result["status"], result["success"], result["model_id"], result["model_path"]) == (
        "refused",
        False,
        TINY,
        None,
    )
    assert result["error"] == "Model already exists at this location"
    assert [finding["code"] for finding in result["findings"]] == ["model_exists"]
    assert await agent.written() == before


async def test_a_source_has_one_id(agent: "Parts", bundle: Path) -> None:
    """R8: under another name it is refused, and the answer names the id it has."""
    await agent.registered(bundle)
    before = await agent.written()

    result = await agent.register(bundle, official_name="another")

    assert (result["status"], result["model_id"]) == ("refused", TINY)
    assert TINY in result["error"]
    assert [finding["code"] for finding in result["findings"]] == ["source_registered"]
    assert await agent.written() == before


async def test_what_stands_at_the_place_already_is_not_taken_over(agent: "Parts", bundle: Path) -> None:
    """Files of somebody else in the registry folder: refused, and still there."""
    folder = agent.root / TINY
    folder.mkdir(parents=True)
    (folder / "weights.gguf").write_bytes(b"theirs")

    result = await agent.register(bundle)

    assert [finding["code"] for finding in result["findings"]] == ["model_exists"]
    assert agent.artifacts()[-2:] == [TINY, f"{TINY}/weights.gguf"]
    assert agent.library.catalog.get(TINY) is None


async def test_of_two_registrations_at_once_one_registers(agent: "Parts", bundle: Path, judge: "HeldJudge") -> None:
    """R19: the other is told that it is registered already; there is one artifact and one event."""
    both = await asyncio.gather(agent.register(bundle), agent.register(bundle))

    feed = await agent.call("list_model_library_updates_since", cursor="model-library-updates:0")
    assert sorted(result["status"] for result in both) == ["already_registered", "registered"]
    assert [event["change_kind"] for event in feed["events"]] == ["model_added"]
    assert len(judge.looks) <= 3


async def test_of_two_names_for_one_source_at_once_one_wins(agent: "Parts", bundle: Path) -> None:
    """Neither order lets both in."""
    both = await asyncio.gather(agent.register(bundle), agent.register(bundle, official_name="another"))

    winner, loser = sorted(both, key=lambda result: result["status"] == "refused")
    assert (winner["status"], loser["status"]) == ("registered", "refused")
    assert loser["model_id"] == winner["model_id"]
