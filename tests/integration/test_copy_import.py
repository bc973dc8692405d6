"""Importing by copy: what becomes a model, what is refused, and that nothing is left behind or written elsewhere."""

import asyncio
import hashlib
import json
import os
import shutil
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from blake3 import blake3

from pumas_agent.contracts.errors import (
    AssetUnresponsive,
    ImportFailed,
    InvalidParams,
    LibraryInsideSource,
    LibraryUnwritable,
    NotEnoughSpace,
    PathNotAbsolute,
    SourceChanged,
)
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.demo.snapshot import differences, snapshot
from pumas_agent.importing import copier, model_source, owned
from pumas_agent.library import Library
from pumas_agent.library.naming import normalize_name

if TYPE_CHECKING:
    from tests.integration.conftest import Parts

LLAMA = "llm/acme/tiny"


def safetensors(path: Path, *, tensors: int = 8, fill: bytes = b"\0") -> Path:
    """A safetensors file that looks like a language model."""
    sizes = {
        f"model.layers.{n}.self_attn.q": {"dtype": "F32", "shape": [2], "data_offsets": [n * 8, n * 8 + 8]}
        for n in range(tensors)
    }
    header = json.dumps(sizes).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header + fill * 8 * tensors)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with one model, in a tree."""
    root = tmp_path / "models" / "tiny"
    safetensors(root / "model.safetensors")
    (root / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    safetensors(root / "extra" / "model.safetensors", tensors=2)
    return root


def spec(path: Path, **given: Any) -> dict[str, Any]:
    return {"path": str(path), "family": "Acme", "official_name": path.stem, **given}


async def imported(agent: "Parts", path: Path, **given: Any) -> dict[str, Any]:
    """Import; the source is as before, and no staged copy is left."""
    before = snapshot(path.parent)
    try:
        return await agent.call("import_model", **spec(path, **given))
    finally:
        assert differences(before, snapshot(path.parent)) == []
        assert not (agent.root / ".pumas-staging").exists()


async def test_a_folder_is_copied_with_its_tree_and_becomes_a_model(agent: "Parts", model: Path) -> None:
    """Case import_file-001; no name is collapsed onto another."""
    result = await imported(agent, model, tags=["a"], repo_id="acme/tiny")

    assert (result["success"], result["status"], result["model_id"]) == (True, "imported", LLAMA)
    assert result["security_tier"] == "safe"
    names = sorted(str(path.relative_to(model)) for path in model.rglob("*") if path.is_file())
    copied = agent.root / LLAMA
    for name in names:
        assert (copied / name).read_bytes() == (model / name).read_bytes()
    record = agent.record(LLAMA)
    assert [file["name"] for file in record["files"]] == names
    for file in record["files"]:
        content = (model / file["name"]).read_bytes()
        assert file["size"] == len(content)
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert file["blake3"] == blake3(content).hexdigest()
    main = (model / "model.safetensors").read_bytes()
    assert record["hashes"] == {"sha256": hashlib.sha256(main).hexdigest(), "blake3": blake3(main).hexdigest()}
    assert (record["repo_id"], record["tags"], record["match_source"]) == ("acme/tiny", ["a"], "import")
    assert (record["model_id"], record["storage_kind"]) == (LLAMA, "library_owned")
    assert record["size_bytes"] == sum(file["size"] for file in record["files"])


async def test_an_empty_file_has_the_digests_of_nothing(agent: "Parts", model: Path) -> None:
    """Case hash-001."""
    (model / "empty").write_bytes(b"")

    await imported(agent, model)

    files = {file["name"]: file for file in agent.record(LLAMA)["files"]}
    assert files["empty"]["sha256"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert files["empty"]["blake3"] == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


async def test_it_is_found_listed_and_executable_at_once(agent: "Parts", model: Path) -> None:
    await imported(agent, model)

    descriptor = await agent.resolve(LLAMA)

    assert descriptor["entry_path"] == str(agent.root / LLAMA / "model.safetensors")
    assert descriptor["storage_kind"] == "library_owned"
    assert [row["id"] for row in (await agent.call("search_models", query="tiny"))["models"]] == [LLAMA]


async def test_a_single_file_gets_a_folder_of_its_own(agent: "Parts", tmp_path: Path) -> None:
    path = safetensors(tmp_path / "source" / "Big Model.safetensors")

    result = await imported(agent, path, model_type="text-generation")

    assert result["model_id"] == "llm/acme/big_model"
    assert (agent.root / "llm/acme/big_model/Big Model.safetensors").read_bytes() == path.read_bytes()


async def test_files_behind_links_are_copied_as_files(agent: "Parts", model: Path, tmp_path: Path) -> None:
    """As in a Hugging Face cache."""
    cache = tmp_path / "cache" / "snapshot"
    cache.mkdir(parents=True)
    for name in ("model.safetensors", "config.json"):
        (cache / name).symlink_to(model / name)

    result = await imported(agent, cache)

    copied = agent.root / result["model_id"] / "model.safetensors"
    assert not copied.is_symlink()
    assert copied.read_bytes() == (model / "model.safetensors").read_bytes()


# --- bundles ---------------------------------------------------------------------------------------------------------


async def test_a_bundle_is_copied_and_judged_where_it_is_then(agent: "Parts", bundle: Path) -> None:
    result = await imported(agent, bundle)

    model_id = result["model_id"]
    assert model_id == "diffusion/acme/tiny"
    record = agent.record(model_id)
    assert (record["storage_kind"], record["bundle_format"]) == ("library_owned", "diffusers_directory")
    assert (record["validation_state"], record["import_state"]) == ("valid", "ready")
    assert (record["source_path"], record["entry_path"]) == (None, str(agent.root / model_id))
    shutil.rmtree(bundle)
    descriptor = await agent.resolve(model_id)
    assert descriptor["entry_path"] == str(agent.root / model_id)


async def test_a_library_owned_bundle_is_judged_again_like_an_external_one(agent: "Parts", bundle: Path) -> None:
    """What the existing system never did."""
    model_id = (await imported(agent, bundle))["model_id"]
    weights = agent.root / model_id / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])

    refusal = await agent.refused(model_id)

    assert refusal.validation_state == "degraded"
    assert [finding["code"] for finding in refusal.findings] == ["weights_truncated"]
    weights.write_bytes(whole)
    await agent.call("reconcile", model_id=model_id)
    assert await agent.states(model_id) == {"valid"}


async def test_a_bundle_that_is_not_valid_is_refused_unless_asked_for(agent: "Parts", bundle: Path) -> None:
    shutil.rmtree(bundle / "vae")

    refused = await imported(agent, bundle)
    taken = await imported(agent, bundle, allow_unhealthy=True)

    assert (refused["success"], [one["code"] for one in refused["findings"]]) == (False, ["missing_component"])
    assert taken["success"]
    assert agent.record(taken["model_id"])["validation_state"] == "invalid"


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.pt", "X.CKPT", "pytorch_model.bin", "model.safetensors"])
async def test_pickles_need_an_acknowledgement(agent: "Parts", tmp_path: Path, name: str) -> None:
    """Case import_file-002; by the bytes, whatever the name."""
    path = tmp_path / "source" / name
    path.parent.mkdir()
    path.write_bytes(b"PK\x03\x04")

    refused = await imported(agent, path)
    taken = await imported(agent, path, security_acknowledged=True)

    assert (refused["success"], refused["security_tier"]) == (False, "pickle")
    assert "Pickle files may contain malicious code" in refused["error"]
    assert (taken["success"], taken["security_tier"]) == (True, "pickle")


async def test_every_file_is_looked_at_for_pickles(agent: "Parts", model: Path) -> None:
    """Not the largest alone."""
    (model / "extra" / "vae.txt").write_bytes(b"\x80\x04" + bytes(9))

    result = await imported(agent, model)

    assert (result["success"], result["security_tier"]) == (False, "pickle")
    assert agent.artifacts() == []


async def test_a_taken_id_is_refused_with_the_id_in_the_way(agent: "Parts", model: Path, tmp_path: Path) -> None:
    """Case import_file-007; names that differ only in case or Unicode form share an id, and do not collide silently."""
    await imported(agent, model, official_name="Café")
    other = safetensors(tmp_path / "other" / "CAFE.safetensors", fill=b"x")

    result = await imported(agent, other, official_name="CAFE\u0301", model_type="llm")

    assert normalize_name("Café") == normalize_name("CAFE\u0301") == "cafe"
    assert (result["success"], result["error"]) == (False, "Model already exists at this location")
    assert result["model_id"] == "llm/acme/cafe"


async def test_two_imports_of_one_name_cannot_both_win(agent: "Parts", model: Path) -> None:
    results = await asyncio.gather(*(agent.call("import_model", **spec(model)) for _ in range(4)))

    assert sorted(result["status"] for result in results) == ["imported", "refused", "refused", "refused"]


async def test_what_is_in_the_way_on_disk_is_not_written_into(agent: "Parts", model: Path) -> None:
    (agent.root / LLAMA).mkdir(parents=True)

    result = await imported(agent, model)

    assert (result["success"], result["model_id"]) == (False, LLAMA)
    assert list((agent.root / LLAMA).iterdir()) == []


@pytest.mark.parametrize(
    ("names", "code"),
    [(("README.md",), "no_model_files"), (("m-00001-of-00002.gguf",), "incomplete_shards")],
)
async def test_what_is_no_whole_model_is_refused(
    agent: "Parts", tmp_path: Path, names: tuple[str, ...], code: str
) -> None:
    root = tmp_path / "source" / "x"
    root.mkdir(parents=True)
    for name in names:
        (root / name).write_bytes(b"GGUF" + bytes(60) if name.endswith("gguf") else b"text")

    result = await imported(agent, root)

    assert [one["code"] for one in result["findings"]] == [code]
    assert agent.artifacts() == []


async def test_what_cannot_be_copied_is_named_and_nothing_is_left_out_silently(agent: "Parts", model: Path) -> None:
    (model / "linked").symlink_to(model / "extra")

    result = await imported(agent, model)

    assert result["error"] == "linked cannot be imported: it is a link to a folder"


async def test_a_folder_of_bundles_is_no_model(agent: "Parts", model: Path) -> None:
    """However many model files lie in it."""
    write_stable_diffusion_bundle(model / "more" / "sd")

    result = await imported(agent, model)

    assert [one["code"] for one in result["findings"]] == ["several_models"]
    assert result["error"].endswith("in more/sd")


async def test_the_library_is_not_imported_into_itself(agent: "Parts", tmp_path: Path) -> None:
    with pytest.raises(LibraryInsideSource):
        await agent.call("import_model", **spec(tmp_path))


async def test_a_source_that_does_not_answer_keeps_nobody_waiting(
    agent: "Parts", model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread is left behind."""
    hung = threading.Event()

    def look_at(path: Path, **_given: Any) -> Any:
        hung.wait(20)
        raise OSError(f"{path} has gone away")

    monkeypatch.setattr(owned, "look_at", look_at)
    monkeypatch.setattr(owned, "LOOK_S", 0.05)

    with pytest.raises(AssetUnresponsive):
        await agent.call("import_model", **spec(model))

    hung.set()


async def test_a_path_that_means_nothing_is_an_error(agent: "Parts", tmp_path: Path) -> None:
    """Case import_file-006."""
    (agent.root / "llm").mkdir()

    with pytest.raises(ImportFailed):
        await agent.call("import_model", **spec(tmp_path / "none"))
    with pytest.raises(PathNotAbsolute):
        await agent.call("import_model", **spec(Path("none")))
    with pytest.raises(InvalidParams, match="in the library already"):
        await agent.call("import_model", **spec(agent.root / "llm"))


async def test_a_batch_goes_on_past_what_fails(agent: "Parts", model: Path, tmp_path: Path) -> None:
    """Case import_file-003."""
    one, two = safetensors(tmp_path / "source" / "one.safetensors"), model
    specs = [spec(one, model_type="llm"), spec(tmp_path / "none"), spec(two)]

    result = await agent.call("import_models_batch", specs=specs)

    assert (result["imported"], result["failed"]) == (2, 1)
    assert [found["model_id"] for found in result["results"]] == ["llm/acme/one", None, LLAMA]


# --- faults -----------------------------------------------------------------------------------------------------------


async def test_room_is_asked_for_before_anything_is_copied(
    agent: "Parts", model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owned, "SPARE_BYTES", 1 << 60)

    with pytest.raises(NotEnoughSpace, match="to spare"):
        await imported(agent, model)


async def test_a_file_that_changes_while_it_is_read_is_not_imported(
    agent: "Parts", model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was planned is what is copied."""
    real = model_source.look_at

    def look_at(path: Path, **given: Any) -> Any:
        found = real(path, **given)
        os.utime(model / "config.json", ns=(1, 1))
        return found

    monkeypatch.setattr(owned, "look_at", look_at)
    with pytest.raises(SourceChanged, match=r"config\.json"):
        await agent.call("import_model", **spec(model))

    assert agent.artifacts() == []


async def test_a_record_that_cannot_be_written_leaves_nothing(
    agent: "Parts", model: Path, disk_full: Callable[[bool], None]
) -> None:
    disk_full(True)

    with pytest.raises(LibraryUnwritable):
        await imported(agent, model)

    disk_full(False)
    assert agent.artifacts() == []
    assert (await imported(agent, model))["success"]


async def test_a_cancelled_import_leaves_nothing_and_no_process(
    agent: "Parts", model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled while the process copies."""
    begun = asyncio.Event()
    real = copier._converse

    async def converse(process: asyncio.subprocess.Process, *given: Any) -> dict[str, Any]:
        begun.process = process  # type: ignore[attr-defined]
        begun.set()
        await asyncio.Event().wait()
        return await real(process, *given)

    monkeypatch.setattr(copier, "_converse", converse)
    task = asyncio.create_task(agent.call("import_model", **spec(model)))
    await begun.wait()
    assert list((agent.root / ".pumas-staging").iterdir())

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert begun.process.returncode is not None  # type: ignore[attr-defined]
    assert agent.artifacts() == []
    monkeypatch.undo()
    assert (await imported(agent, model))["success"]


async def test_what_a_dead_process_had_staged_is_gone_after_a_start(tmp_path: Path, model: Path) -> None:
    root = tmp_path / "other"
    library = await asyncio.to_thread(Library.open, root, "command")
    staged = await library.write(lambda store: store.places.stage())
    shutil.copytree(model, staged, dirs_exist_ok=True)
    (staged / "metadata.json").write_text("{}")
    await library.write(lambda store: store.rebuild())
    assert library.catalog.ids() == set()
    await asyncio.to_thread(library.close)

    library = await asyncio.to_thread(Library.open, root, "command")

    assert not (root / ".pumas-staging").exists()
    await asyncio.to_thread(library.close)


async def test_the_bundle_at_the_source_is_never_written(agent: "Parts", tmp_path: Path) -> None:
    root = tmp_path / "disk" / "tiny"
    write_stable_diffusion_bundle(root)
    root.chmod(0o555)
    before = snapshot(root.parent)

    await imported(agent, root)

    assert differences(before, snapshot(root.parent)) == []
