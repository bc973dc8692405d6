"""Folders that lie in the library without a record: which become models, and which are never taken for orphans."""

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.errors import InvalidModelId, InvalidParams, PathNotDirectory
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.demo.snapshot import differences, snapshot

if TYPE_CHECKING:
    from tests.integration.conftest import Parts

GGUF = b"GGUF" + bytes(60)


def put(agent: "Parts", name: str, content: bytes = GGUF) -> Path:
    """A file in the library, by hand; its folder."""
    path = agent.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path.parent


@pytest.fixture(autouse=True)
def _hurried(agent: "Parts") -> None:
    agent.parts.adopter._quiet_s = 0.0


async def adopted(agent: "Parts") -> list[str]:
    return list((await agent.call("adopt_orphan_models"))["adopted"])


async def left(agent: "Parts") -> list[str]:
    report = await agent.call("adopt_orphan_models")
    assert report["adopted"] == []
    return [str(one["reason"]) for one in report["not_adopted"]]


async def test_a_folder_with_a_model_file_is_named_by_its_path(agent: "Parts") -> None:
    put(agent, "llm/llama/tiny_model/weights.gguf")

    assert await adopted(agent) == ["llm/llama/tiny_model"]

    record = agent.record("llm/llama/tiny_model")
    assert (record["official_name"], record["family"], record["model_type"]) == ("tiny model", "llama", "llm")
    assert record["match_source"] == "orphan_recovery"
    assert [file["name"] for file in record["files"]] == ["weights.gguf"]
    assert await adopted(agent) == []


async def test_a_bundle_in_the_library_becomes_one_model(agent: "Parts") -> None:
    """Case import_in_place-002; its components are no models."""
    root = agent.root / "diffusion" / "stable-diffusion" / "tiny"
    write_stable_diffusion_bundle(root)

    assert await adopted(agent) == ["diffusion/stable-diffusion/tiny"]

    record = agent.record("diffusion/stable-diffusion/tiny")
    assert (record["storage_kind"], record["bundle_format"]) == ("library_owned", "diffusers_directory")
    assert (record["validation_state"], record["entry_path"]) == ("valid", str(root))
    assert (await agent.resolve("diffusion/stable-diffusion/tiny"))["entry_path"] == str(root)


async def test_a_damaged_bundle_is_left_alone_with_its_findings(agent: "Parts") -> None:
    root = agent.root / "diffusion" / "sd" / "tiny"
    write_stable_diffusion_bundle(root)
    shutil.rmtree(root / "vae")

    assert ["'vae' is missing" in reason for reason in await left(agent)] == [True]


@pytest.mark.parametrize("partial", ["weights.gguf.part", "weights.gguf.incomplete", ".pumas_download"])
async def test_a_download_that_is_not_finished_is_never_adopted(agent: "Parts", partial: str) -> None:
    put(agent, "llm/llama/tiny/other.gguf")
    put(agent, f"llm/llama/tiny/{partial}")

    assert await left(agent) == [f"{partial} is a download that is not finished"]
    assert not (agent.root / "llm/llama/tiny/metadata.json").exists()


@pytest.mark.parametrize(("second", "whole"), [(None, False), (b"", False), (GGUF, True)])
async def test_a_shard_set_is_adopted_when_every_shard_is_there_and_not_empty(
    agent: "Parts", second: bytes | None, *, whole: bool
) -> None:
    """Case recovery-002."""
    put(agent, "llm/llama/tiny/w-00001-of-00002.gguf")
    if second is not None:
        put(agent, "llm/llama/tiny/w-00002-of-00002.gguf", second)

    report = await agent.call("adopt_orphan_models")

    assert report["adopted"] == (["llm/llama/tiny"] if whole else [])
    assert [one["reason"] for one in report["not_adopted"]] == (
        [] if whole else ["Incomplete shard set 'w.gguf': have 1/2 shards"]
    )


async def test_what_is_being_written_waits(agent: "Parts") -> None:
    agent.parts.adopter._quiet_s = 3600.0
    put(agent, "llm/llama/tiny/weights.gguf")

    assert await left(agent) == ["it is being written right now"]


async def test_what_is_of_the_future_is_not_being_written(agent: "Parts", monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock was set back since: whoever waits for it to become old waits for a year."""
    put(agent, "llm/llama/tiny/weights.gguf")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 365 * 86_400)

    assert (await agent.call("adopt_orphan_models"))["adopted"] == ["llm/llama/tiny"]


async def test_pickles_are_not_taken_unasked(agent: "Parts") -> None:
    """Nobody has said to trust them."""
    folder = put(agent, "llm/llama/tiny/weights.pt", b"PK\x03\x04")

    assert ["Pickle files may contain malicious code" in reason for reason in await left(agent)] == [True]
    taken = await agent.call("import_model_in_place", path=str(folder), security_acknowledged=True)
    assert (taken["success"], taken["security_tier"]) == (True, "pickle")


async def test_loose_files_beside_folders_of_models_swallow_none(agent: "Parts") -> None:
    put(agent, "llm/loose.gguf")
    put(agent, "llm/llama/tiny/weights.gguf")

    report = await agent.call("adopt_orphan_models")

    assert report["adopted"] == ["llm/llama/tiny"]
    assert [one["path"] for one in report["not_adopted"]] == [str(agent.root / "llm")]


@pytest.mark.parametrize("damage", ["gone", "corrupt"])
async def test_an_external_registration_is_never_an_orphan(agent: "Parts", bundle: Path, damage: str) -> None:
    """Whatever has become of its record, and whatever lies in its folder: alert, keep the row, touch nothing."""
    model_id = await agent.registered(bundle)
    path = agent.root / model_id / "metadata.json"
    put(agent, f"{model_id}/weights.gguf")
    before = snapshot(bundle.parent)
    if damage == "gone":
        path.unlink()
        path.with_name("metadata.json.bak").unlink(missing_ok=True)
    else:
        path.write_text("{")

    assert await adopted(agent) == []
    await agent.call("reconcile")

    assert agent.alerts(model_id) == ["metadata_corrupt"]
    entry = agent.library.catalog.get(model_id)
    assert entry is not None
    assert entry.is_external
    assert differences(before, snapshot(bundle.parent)) == []
    assert (agent.root / model_id / "weights.gguf").exists()


async def test_a_link_to_an_external_bundle_is_not_entered(agent: "Parts", bundle: Path) -> None:
    (agent.root / "diffusion").mkdir()
    (agent.root / "diffusion" / "linked").symlink_to(bundle)
    before = snapshot(bundle.parent)

    assert await adopted(agent) == []
    with pytest.raises((InvalidModelId, InvalidParams)):
        await agent.call("import_model_in_place", path=str(agent.root / "diffusion" / "linked"))

    assert differences(before, snapshot(bundle.parent)) == []


# --- in place, by name ------------------------------------------------------------------------------------------------


async def test_a_record_that_is_there_is_left_untouched(agent: "Parts") -> None:
    """Cases import_in_place-004, import_in_place-005."""
    folder = put(agent, "llm/llama/tiny/weights.gguf")
    document = {"official_name": "By Hand", "match_source": "download"}
    (folder / "metadata.json").write_text(json.dumps(document))

    result = await agent.call("import_model_in_place", path=str(folder), pipeline_tag="text-generation")

    assert (result["success"], result["status"]) == (True, "already_registered")
    assert json.loads((folder / "metadata.json").read_text()) == document
    row = agent.library.catalog.get("llm/llama/tiny")
    assert row is not None
    assert row.official_name == "By Hand"


async def test_a_model_without_a_word_in_its_config_is_told_by_its_name(agent: "Parts") -> None:
    """Case import_in_place-001; an archive of arrays is no pickle."""
    folder = put(agent, "unknown/kittenml/kitten-tts-mini-0_8/kitten.onnx", bytes(64))
    (folder / "config.json").write_text("{}")
    (folder / "voices.npz").write_bytes(b"PK\x03\x04" + bytes(60))

    assert await adopted(agent) == ["unknown/kittenml/kitten-tts-mini-0_8"]

    record = agent.record("unknown/kittenml/kitten-tts-mini-0_8")
    assert (record["model_type"], record["model_type_resolution_source"]) == ("audio", "model-type-name-tokens")


async def test_what_is_known_of_it_is_written_down(agent: "Parts") -> None:
    """Case import_in_place-003."""
    folder = put(agent, "vision/acme/detector/detector.onnx", bytes(64))
    given: dict[str, Any] = {"pipeline_tag": "zero-shot-object-detection", "repo_id": "acme/detector"}

    await agent.call("import_model_in_place", path=str(folder), official_name="Detector", **given)

    record = agent.record("vision/acme/detector")
    assert (record["task_type_primary"], record["task_classification_source"]) == (
        "zero-shot-object-detection",
        "hf-pipeline-tag",
    )
    assert (record["input_modalities"], record["output_modalities"]) == (["image"], ["bbox"])
    assert (record["match_source"], record["official_name"]) == ("download", "Detector")


async def test_only_folders_of_the_library_are_taken(agent: "Parts", tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (agent.root / "file").write_bytes(GGUF)

    for path in (tmp_path / "elsewhere", agent.root, agent.root / ".." / "elsewhere"):
        with pytest.raises(InvalidParams):
            await agent.call("import_model_in_place", path=str(path))
    with pytest.raises(PathNotDirectory):
        await agent.call("import_model_in_place", path=str(agent.root / "file"))


async def test_a_model_below_a_model_is_refused(agent: "Parts") -> None:
    put(agent, "llm/llama/tiny/weights.gguf")
    assert await adopted(agent) == ["llm/llama/tiny"]
    folder = put(agent, "llm/llama/tiny/inner/weights.gguf")

    result = await agent.call("import_model_in_place", path=str(folder))

    assert (result["success"], result["findings"][0]["code"]) == (False, "model_exists")
    assert not (folder / "metadata.json").exists()
