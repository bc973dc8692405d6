"""External references, bundles, and whatever is not the library's own never get into an application (R12).

Each test tries another way in. After preview, apply and clean, nothing under an external root and no payload of the
library has changed, content and times.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.errors import MappingTargetRefused
from pumas_agent.demo.snapshot import Snapshot, differences, snapshot

if TYPE_CHECKING:
    from tests.integration.conftest import Parts

TINY = "diffusion/acme/tiny"
WILD = {"target_dir": "all"}
NAME = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The models folder of an application, and a rule that lets every model through."""
    (tmp_path / "app" / "models").mkdir(parents=True)
    configure(tmp_path, WILD)
    return tmp_path / "app" / "models"


@pytest.fixture
def weights(bundle: Path) -> Path:
    """A model file in an external root."""
    return bundle / "unet" / NAME


@pytest.fixture(autouse=True)
def _external_roots_stay_as_they_are(bundle: Path) -> Iterator[None]:
    """Whatever a test does."""
    before = snapshot(bundle)
    yield
    assert differences(before, snapshot(bundle)) == []


def configure(tmp_path: Path, *rules: dict[str, Any]) -> None:
    folder = tmp_path / "mapping-configs"
    folder.mkdir(exist_ok=True)
    (folder / "comfyui_any.json").write_text(json.dumps({"app": "comfyui", "version": "*", "mappings": list(rules)}))


async def mapped(agent: "Parts", app: Path, **params: Any) -> tuple[list[str], list[tuple[str, str]]]:
    """Preview, apply however conflicts are resolved, clean; what is in the application then, and what was skipped."""
    given = {"app_id": "comfyui", "version_tag": "1", "models_path": str(app), **params}
    plan = await agent.call("preview_model_mapping", **given)
    for resolution in ("skip", "rename", "overwrite"):
        result = await agent.call("apply_model_mapping", **given, on_conflict=resolution)
        assert result["skipped"] == plan["skipped"]
    await agent.call("clean_broken_links")
    return files_in(app), [(item["model_id"], item["reason"]) for item in plan["skipped"]]


def files_in(app: Path) -> list[str]:
    return sorted(str(path.relative_to(app)) for path in app.rglob("*") if path.is_symlink() or path.is_file())


def payload(agent: "Parts") -> Snapshot:
    """What is in the models' folders of the library."""
    return snapshot(agent.root / "diffusion")


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"model_types": ["diffusion"]},
        {"families": ["Acme"]},
        {"tags": ["mine"]},
        {"exclude_tags": ["other"]},
        {"model_types": ["diffusion"], "families": ["acme"], "tags": ["mine"]},
    ],
)
@pytest.mark.parametrize("version", ["*", "1"])
async def test_no_rule_lets_an_external_reference_in(
    agent: "Parts", bundle: Path, weights: Path, app: Path, *, rule: dict[str, Any], version: str
) -> None:
    """R12, R23: it is shown as skipped, with the reason; also when its registry folder has a model file."""
    await agent.registered(bundle, tags=["mine"])
    (agent.root / TINY / "sneaky.safetensors").symlink_to(weights)
    (agent.root / TINY / "loose.safetensors").write_bytes(b"x")
    config = {"app": "comfyui", "version": version, "mappings": [{"target_dir": "all", **rule}]}
    (app.parents[1] / "mapping-configs" / "comfyui_any.json").write_text(json.dumps(config))
    before = payload(agent)

    files, skipped = await mapped(agent, app)

    assert (files, skipped) == ([], [(TINY, "external_reference")])
    assert differences(before, payload(agent)) == []


async def test_a_model_that_no_rule_is_for_is_not_mentioned(
    agent: "Parts", bundle: Path, tmp_path: Path, app: Path
) -> None:
    """What is skipped is what would otherwise have been mapped."""
    await agent.registered(bundle)
    configure(tmp_path, {"target_dir": "all", "model_types": ["llm"]})

    assert await mapped(agent, app) == ([], [])


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        {"storage_kind": None},
        {"storage_kind": "library_owned"},
        {"storage_kind": "borrowed"},
        {"storage_kind": 7},
        {"storage_kind": None, "bundle_format": None},
        {"storage_kind": None, "bundle_format": None, "match_source": None},
        {"storage_kind": None, "bundle_format": None, "match_source": None, "entry_path": 7},
        {"storage_kind": None, "bundle_format": None, "entry_path": None},
        {"storage_kind": None, "bundle_format": "tarball", "match_source": None, "entry_path": None},
    ],
)
async def test_a_record_that_says_nothing_opens_no_way(
    agent: "Parts", bundle: Path, weights: Path, app: Path, *, change: dict[str, Any], indexed: bool
) -> None:
    """Nor one that says something else than its row, or nonsense, whether the row was made from it already or not."""
    await agent.registered(bundle)
    (agent.root / TINY / "sneaky.safetensors").symlink_to(weights)
    agent.edit(TINY, **change)
    if indexed:
        await agent.call("rebuild_model_index")
    before = payload(agent)

    files, skipped = await mapped(agent, app)

    assert files == []
    assert {reason for _, reason in skipped} <= {"external_reference", "bundle", "outside_library"}
    assert skipped
    assert differences(before, payload(agent)) == []


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ({"storage_kind": "external_reference"}, "external_reference"),
        ({"storage_kind": "borrowed"}, "external_reference"),
        ({"storage_kind": ["library_owned"]}, "external_reference"),
        ({"match_source": "external_reference"}, "external_reference"),
        ({"entry_path": "/models/elsewhere"}, "external_reference"),
        ({"entry_path": 7}, "external_reference"),
        ({"bundle_format": "diffusers_directory"}, "bundle"),
        ({"bundle_format": "tarball"}, "bundle"),
    ],
)
async def test_each_sign_alone_keeps_a_model_out(
    agent: "Parts", app: Path, *, says: dict[str, Any], reason: str, indexed: bool
) -> None:
    """Whatever else its record says, also when its row was made before, and although a real file lies in its folder."""
    folder = await agent.create("diffusion/acme/owned", storage_kind="library_owned")
    (folder / "owned.safetensors").write_bytes(b"x")
    agent.edit("diffusion/acme/owned", **says)
    if indexed:
        await agent.call("rebuild_model_index")

    assert await mapped(agent, app) == ([], [("diffusion/acme/owned", reason)])


async def test_what_the_row_says_is_not_taken_back_by_the_record(agent: "Parts", app: Path) -> None:
    """Until the row is made anew: of two that disagree the more careful one counts."""
    folder = await agent.create("diffusion/acme/ext", storage_kind="external_reference", entry_path="/elsewhere")
    (folder / "loose.safetensors").write_bytes(b"x")
    agent.edit("diffusion/acme/ext", storage_kind="library_owned", entry_path=None)

    assert await mapped(agent, app) == ([], [("diffusion/acme/ext", "external_reference")])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"storage_kind": NaN}'])
async def test_a_record_that_cannot_be_read_opens_no_way(
    agent: "Parts", bundle: Path, weights: Path, app: Path, content: str
) -> None:
    """Of an external reference, or of a model of the library: nobody knows what it would have said."""
    await agent.registered(bundle)
    owned = await agent.create("diffusion/acme/owned")
    (owned / "owned.safetensors").write_bytes(b"x")
    (agent.root / TINY / "sneaky.safetensors").symlink_to(weights)
    for model_id in (TINY, "diffusion/acme/owned"):
        agent.library.layout.metadata_path(model_id).write_text(content)

    files, skipped = await mapped(agent, app)

    assert files == []
    assert skipped == [("diffusion/acme/owned", "metadata_unreadable"), (TINY, "external_reference")]


@pytest.mark.parametrize("field", ["tags", "model_type", "family", "subtype"])
async def test_a_rule_is_not_asked_about_what_cannot_be_read(agent: "Parts", app: Path, field: str) -> None:
    """A tag that would have excluded the model may be in it."""
    folder = await agent.create("diffusion/acme/owned")
    (folder / "owned.safetensors").write_bytes(b"x")
    agent.edit("diffusion/acme/owned", **{field: {"not": "a value"}})

    assert await mapped(agent, app) == ([], [("diffusion/acme/owned", "metadata_unreadable")])


async def test_a_folder_of_the_library_that_is_a_link_opens_no_way(
    agent: "Parts", tmp_path: Path, bundle: Path, app: Path
) -> None:
    """Its model was the library's own, and still has a row; the folder now is one in an external root."""
    folder = await agent.create("diffusion/acme/owned", model_type="diffusion")
    folder.rename(tmp_path / "away")
    folder.symlink_to(bundle / "unet")

    assert await mapped(agent, app) == ([], [("diffusion/acme/owned", "outside_library")])


async def test_a_folder_above_that_is_a_link_opens_no_way(
    agent: "Parts", tmp_path: Path, bundle: Path, app: Path
) -> None:
    """The family's, for example."""
    await agent.create("diffusion/acme/unet", model_type="diffusion")
    (agent.root / "diffusion/acme").rename(tmp_path / "away")
    (agent.root / "diffusion/acme").symlink_to(bundle)

    assert await mapped(agent, app) == ([], [("diffusion/acme/unet", "outside_library")])


@pytest.mark.parametrize("steps", [1, 2])
async def test_a_file_that_is_a_link_out_of_the_library_is_skipped(
    agent: "Parts", bundle: Path, weights: Path, app: Path, steps: int
) -> None:
    """Into an external root, directly or through a link in the library, or to nowhere; the others are mapped."""
    await agent.registered(bundle)
    folder = await agent.create("diffusion/acme/owned")
    (folder / "own.safetensors").write_bytes(b"x")
    (folder / "hop.lnk").symlink_to(weights)
    (folder / "sneaky.safetensors").symlink_to("hop.lnk" if steps == 2 else weights)
    (folder / "nowhere.safetensors").symlink_to("/nowhere/at/all")
    (folder / "loop.safetensors").symlink_to("loop.safetensors")
    (folder / "folder.safetensors").symlink_to(folder)

    files, skipped = await mapped(agent, app)

    assert files == ["all/own.safetensors"]
    assert skipped == [
        *[("diffusion/acme/owned", "outside_library")] * 4,
        (TINY, "external_reference"),
    ]


async def test_a_file_that_is_a_link_within_the_library_is_as_good_as_the_file(agent: "Parts", app: Path) -> None:
    """Unless it leads into the folder of a bundle or of an external reference."""
    folder = await agent.create("diffusion/acme/owned")
    (folder / "blobs").mkdir()
    (folder / "blobs" / "1").write_bytes(b"x")
    (folder / "own.safetensors").symlink_to("blobs/1")
    bundle = await agent.create("diffusion/acme/bundle", bundle_format="diffusers_directory")
    external = await agent.create("diffusion/acme/ext", storage_kind="external_reference", entry_path="/nowhere")
    for name, other in (("b", bundle), ("e", external)):
        (other / "x.safetensors").write_bytes(b"x")
        (folder / f"{name}.safetensors").symlink_to(other / "x.safetensors")

    files, skipped = await mapped(agent, app)

    assert files == ["all/own.safetensors"]
    assert (app / "all" / "own.safetensors").readlink() == folder / "own.safetensors"
    assert skipped == [
        ("diffusion/acme/bundle", "bundle"),
        ("diffusion/acme/ext", "external_reference"),
        ("diffusion/acme/owned", "bundle"),
        ("diffusion/acme/owned", "external_reference"),
    ]


async def test_a_bundle_of_the_library_is_not_mapped_as_loose_files(agent: "Parts", app: Path) -> None:
    """It is loaded from its root, whole."""
    folder = await agent.create("diffusion/acme/owned", bundle_format="diffusers_directory")
    (folder / "model.safetensors").write_bytes(b"x")

    assert await mapped(agent, app) == ([], [("diffusion/acme/owned", "bundle")])


async def test_a_name_that_is_not_utf8_is_skipped(agent: "Parts", app: Path) -> None:
    """No register could hold it; it is named with its bytes escaped."""
    folder = await agent.create("diffusion/acme/owned")
    (folder / os.fsdecode(b"\xe9.safetensors")).write_bytes(b"x")

    assert await mapped(agent, app) == ([], [("diffusion/acme/owned", "name_not_utf8")])


# --- the register, and targets in external roots ----------------------------------------------------------------------


def register_entry(agent: "Parts", target: Path, source: Path, model_id: str = TINY, kind: str = "symlink") -> None:
    """As another program, or an earlier life of the id, may have left it."""
    entry = {
        "model_id": model_id,
        "source": str(source),
        "target": str(target),
        "link_type": kind,
        "created_at": "2026-01-01T00:00:00Z",
        "app_id": "comfyui",
        "app_version": "1",
    }
    document = {"by_target": {str(target): entry}, "by_model": {model_id: [str(target)]}}
    (agent.root / "link_registry.json").write_text(json.dumps(document))


@pytest.mark.parametrize("stands", ["nothing", "link"])
async def test_a_stale_entry_of_the_register_opens_no_way(
    agent: "Parts", bundle: Path, weights: Path, app: Path, stands: str
) -> None:
    """No link is made because one is registered; one that is there is somebody's, leads where it did, and stays."""
    await agent.registered(bundle)
    (app / "all").mkdir()
    if stands == "link":
        (app / "all" / NAME).symlink_to(weights)
    register_entry(agent, app / "all" / NAME, weights)

    files, skipped = await mapped(agent, app)

    assert files == ([] if stands == "nothing" else [f"all/{NAME}"])
    assert skipped == [(TINY, "external_reference")]


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "copy"])
async def test_an_entry_whose_target_lies_in_an_external_root_touches_nothing(
    agent: "Parts", bundle: Path, weights: Path, app: Path, kind: str
) -> None:
    """Not when it is cleaned, not when its model is forgotten: whatever stands there is the owner's."""
    folder = await agent.create("diffusion/other/owned")
    (folder / NAME).write_bytes(b"x")
    await agent.registered(bundle)
    register_entry(agent, weights, folder / NAME, "diffusion/other/owned", kind)

    health = await agent.call("get_link_health")
    await mapped(agent, app)
    forgotten = await agent.parts.mapping.forget_model("diffusion/other/owned")

    assert (health["status"], health["broken_links"]) == ("degraded", [])
    assert "external bundle" in health["warnings"][0]
    assert [target for target, _ in forgotten.kept] == [str(weights)]


async def test_no_link_is_made_in_an_external_root(agent: "Parts", bundle: Path, tmp_path: Path) -> None:
    """Neither is a bundle the models folder of an application, nor a folder of one; also when nobody registered it."""
    folder = await agent.create("diffusion/other/owned")
    (folder / NAME).write_bytes(b"x")
    configure(tmp_path, {"target_dir": "models/tiny/unet"}, {"target_dir": "models/tiny/new"}, {"target_dir": "ok"})

    for registered in (False, True):
        if registered:
            await agent.registered(bundle)
        for wrong in (bundle, bundle / "unet"):
            with pytest.raises(MappingTargetRefused, match="bundle"):
                await agent.call("apply_model_mapping", app_id="comfyui", version_tag="1", models_path=str(wrong))
        result = await agent.call("apply_model_mapping", app_id="comfyui", version_tag="1", models_path=str(tmp_path))
        assert len(result["errors"]) == 2
        assert all(str(bundle) in error for error in result["errors"])
    assert (tmp_path / "ok" / NAME).is_symlink()


@pytest.mark.usefixtures("app")
async def test_an_external_root_that_lost_its_index_is_still_kept_out_of(agent: "Parts", tmp_path: Path) -> None:
    """By its place in the records."""
    root = tmp_path / "elsewhere" / "bundle"
    root.mkdir(parents=True)
    await agent.create("diffusion/acme/ext", storage_kind="external_reference", entry_path=str(root))

    with pytest.raises(MappingTargetRefused, match="external bundle"):
        await agent.call("preview_model_mapping", app_id="comfyui", version_tag="1", models_path=str(root))


async def test_the_payload_of_the_library_is_never_changed(agent: "Parts", bundle: Path, app: Path) -> None:
    """By preview, apply with every resolution, clean, and forgetting: content, times, names."""
    await agent.registered(bundle)
    folders = [await agent.create(f"diffusion/acme/{name}") for name in "ab"]
    for folder in folders:
        (folder / "same-name.safetensors").write_bytes(b"weights " + folder.name.encode())
    (app / "all").mkdir()
    (app / "all" / "same-name.safetensors").write_bytes(b"weights a")
    before = payload(agent)

    await mapped(agent, app)
    forgotten = await agent.parts.mapping.forget_model("diffusion/acme/a")

    assert forgotten.removed
    assert differences(before, payload(agent)) == []
