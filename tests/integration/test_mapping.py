"""Mapping files of the library into an application: what is shown before, what is done, what is never done."""

import asyncio
import errno
import json
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.errors import (
    AssetUnresponsive,
    LibraryUnwritable,
    LinkRegistryUnreadable,
    MappingConfigMissing,
    MappingTargetRefused,
    PathNotAbsolute,
    PathNotDirectory,
)
from pumas_agent.demo.snapshot import differences, snapshot
from pumas_agent.mapping import configs, making, service

if TYPE_CHECKING:
    from tests.integration.conftest import Parts

BASE = "diffusion/sdxl/base"
FILE = "base.safetensors"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The models folder of an application."""
    (tmp_path / "app" / "models").mkdir(parents=True)
    return tmp_path / "app" / "models"


@pytest.fixture(autouse=True)
def _rules(tmp_path: Path) -> None:
    configure(tmp_path, {"target_dir": "checkpoints", "model_types": ["diffusion"]})


def configure(tmp_path: Path, *rules: dict[str, Any], name: str = "comfyui_any.json", **more: Any) -> None:
    folder = tmp_path / "mapping-configs"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps({"app": "comfyui", "version": "*", "mappings": list(rules), **more}))


async def owned(agent: "Parts", model_id: str = BASE, *names: str, **fields: Any) -> Path:
    """A model of the library with files; its folder."""
    folder = await agent.create(model_id, **fields)
    for name in names or (FILE,):
        (folder / name).write_bytes(f"weights of {model_id}".encode())
    return folder


async def preview(agent: "Parts", app: Path, **params: Any) -> dict[str, Any]:
    given = {"app_id": "comfyui", "version_tag": "1", "models_path": str(app), **params}
    return await agent.call("preview_model_mapping", **given)


async def apply(agent: "Parts", app: Path, **params: Any) -> dict[str, Any]:
    given = {"app_id": "comfyui", "version_tag": "1", "models_path": str(app), **params}
    return await agent.call("apply_model_mapping", **given)


def registry(agent: "Parts") -> dict[str, Any]:
    return dict(json.loads((agent.root / "link_registry.json").read_text()))


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


# --- what is shown and done -----------------------------------------------------------------------------------------


async def test_a_preview_says_what_would_be_done_and_writes_nothing(agent: "Parts", app: Path) -> None:
    """Not even a folder. The keys are those of the existing library."""
    folder = await owned(agent, official_name="SDXL Base")
    before = await agent.written()

    plan = await preview(agent, app)

    item = {"model_id": BASE, "model_name": "SDXL Base", "source_path": str(folder / FILE)}
    assert plan == {
        "success": True,
        "to_create": [{**item, "target_path": str(app / "checkpoints" / FILE), "reason": "New link"}],
        "to_skip_exists": [],
        "conflicts": [],
        "broken_to_remove": [],
        "total_actions": 1,
        "skipped": [],
        "configs": ["comfyui_any.json"],
        "warnings": [],
        "errors": [],
    }
    assert tree(app) == []
    assert await agent.written() == before


async def test_applying_makes_the_links_and_registers_them(agent: "Parts", app: Path) -> None:
    """In the form of the existing library; folders are made."""
    folder = await owned(agent)

    result = await apply(agent, app)

    assert (app / "checkpoints" / FILE).readlink() == folder / FILE
    target = str(app / "checkpoints" / FILE)
    assert (result["success"], result["links_created"], result["total_links"]) == (True, 1, 1)
    found = registry(agent)
    assert found["by_model"] == {BASE: [target]}
    made = found["by_target"][target]
    assert made.pop("created_at").endswith("+00:00")
    assert made == {
        "model_id": BASE,
        "source": str(folder / FILE),
        "target": target,
        "link_type": "symlink",
        "app_id": "comfyui",
        "app_version": "1",
    }


async def test_applying_again_writes_nothing(agent: "Parts", app: Path) -> None:
    """Law 8: no byte in the library, no time in the application's folders."""
    await owned(agent)
    await apply(agent, app)
    before, library = snapshot(app), await agent.written()

    plan, result = await preview(agent, app), await apply(agent, app)

    assert [item["reason"] for item in plan["to_skip_exists"]] == ["Link already exists"]
    assert (plan["total_actions"], result["links_created"], result["total_links"]) == (0, 0, 1)
    assert differences(before, snapshot(app)) == []
    assert await agent.written() == library


async def test_only_model_files_directly_in_the_models_folder_are_mapped(agent: "Parts", app: Path) -> None:
    """Depth one, extensions of models in any case; no records, no parts of downloads, no hidden files."""
    names = ("a.SafeTensors", "b.gguf", "c.part", "config.json", "._b.gguf", "d.safetensors.part", "e.txt")
    folder = await owned(agent, BASE, *names)
    (folder / "sub").mkdir()
    (folder / "sub" / "deep.safetensors").write_bytes(b"x")
    (folder / "folder.safetensors").mkdir()
    os.mkfifo(folder / "pipe.safetensors")

    await apply(agent, app)

    assert tree(app) == ["checkpoints", "checkpoints/a.SafeTensors", "checkpoints/b.gguf"]


async def test_each_rule_has_its_folder(agent: "Parts", tmp_path: Path, app: Path) -> None:
    """By type, family, subtype and tags; a model that several rules match is linked in several folders."""
    configure(
        tmp_path,
        {"target_dir": "checkpoints", "model_types": ["diffusion"], "exclude_tags": ["lora"]},
        {"target_dir": "loras/sdxl", "tags": ["LoRA"], "families": ["sdxl"]},
        {"target_dir": "dllm", "subtypes": ["dllm"]},
        {"target_dir": "all"},
    )
    await owned(agent, BASE, "base.safetensors", model_type="diffusion", family="SDXL")
    await owned(agent, "diffusion/sdxl/lora", "lora.safetensors", family="SDXL", tags=["lora", "x"])
    await owned(agent, "llm/f/d", "d.safetensors", model_type="llm", subtype="dllm")

    result = await apply(agent, app)

    assert [path for path in tree(app) if path.endswith(".safetensors")] == [
        "all/base.safetensors",
        "all/d.safetensors",
        "all/lora.safetensors",
        "checkpoints/base.safetensors",
        "dllm/d.safetensors",
        "loras/sdxl/lora.safetensors",
    ]
    assert result["links_created"] == 6


async def test_the_record_decides_what_a_model_is(agent: "Parts", app: Path) -> None:
    """Not its row, which may lag behind an edit."""
    await owned(agent, model_type="diffusion")
    agent.edit(BASE, model_type="llm")

    assert (await preview(agent, app))["to_create"] == []


async def test_without_a_type_and_family_those_of_the_id_count(agent: "Parts", tmp_path: Path, app: Path) -> None:
    """As in the row."""
    configure(tmp_path, {"target_dir": "x", "model_types": ["diffusion"], "families": ["sdxl"]})
    await owned(agent)

    assert (await preview(agent, app))["total_actions"] == 1


# --- something else stands there ------------------------------------------------------------------------------------


def stand(app: Path, what: str) -> Path:
    """Put something at the target; its path."""
    target = app / "checkpoints" / FILE
    target.parent.mkdir()
    match what:
        case "file":
            target.write_bytes(b"theirs")
        case "same":
            target.write_bytes(f"weights of {BASE}".encode())
        case "link":
            (app / "other.safetensors").write_bytes(b"other")
            target.symlink_to(app / "other.safetensors")
        case "dangling":
            target.symlink_to("/media/away/base.safetensors")
        case "folder":
            target.mkdir()
        case _:
            os.mkfifo(target)
    return target


@pytest.mark.parametrize(
    ("what", "reason", "existing", "overwrite"),
    [
        ("file", "Regular file exists", None, "the file is kept as base.safetensors.replaced-1"),
        (
            "same",
            "Regular file exists",
            None,
            "the file is kept as base.safetensors.replaced-1, unless it has the same bytes",
        ),
        ("link", "Different file exists", "other.safetensors", "replaces the link to "),
        ("dangling", "Broken symlink", "/media/away/base.safetensors", "replaces the link to /media/away/"),
        ("folder", "Not a file", None, None),
        ("pipe", "Not a file", None, None),
    ],
)
async def test_what_stands_in_the_way_is_a_conflict_and_stays(
    agent: "Parts", app: Path, *, what: str, reason: str, existing: str | None, overwrite: str | None
) -> None:
    """The preview says what each resolution would do; without one it is skipped."""
    await owned(agent)
    target = stand(app, what)
    before = snapshot(app)

    plan, result = await preview(agent, app), await apply(agent, app)

    (conflict,) = plan["conflicts"]
    assert (conflict["target_path"], conflict["reason"]) == (str(target), reason)
    assert (conflict["existing_target"] or "").endswith(existing or "")
    assert (conflict["existing_target"] is None) == (existing is None)
    assert (conflict["overwrite"] or "").startswith(overwrite or "")
    assert (conflict["overwrite"] is None) == (overwrite is None)
    assert conflict["rename"] == str(target.with_name("base_1.safetensors"))
    assert (result["success"], result["links_created"], result["links_skipped"]) == (True, 0, 1)
    assert differences(before, snapshot(app)) == []
    assert not (agent.root / "link_registry.json").exists()


async def test_an_overwritten_file_is_kept(agent: "Parts", app: Path) -> None:
    """Beside the link, and the answer says where; the next preview finds the link."""
    folder = await owned(agent)
    target = stand(app, "file")

    result = await apply(agent, app, on_conflict="overwrite")

    kept = target.with_name(f"{FILE}.replaced-1")
    assert (target.readlink(), kept.read_bytes()) == (folder / FILE, b"theirs")
    assert (result["overwrites"], result["links_created"]) == (1, 1)
    assert result["replaced"] == [{"target_path": str(target), "kept_as": str(kept)}]
    assert (await preview(agent, app))["conflicts"] == []


@pytest.mark.parametrize("what", ["same", "link", "dangling"])
async def test_overwriting_needs_to_keep_no_link_and_no_same_file(agent: "Parts", app: Path, what: str) -> None:
    """And never follows a link: what it led to stays, and nothing appears there."""
    folder = await owned(agent)
    target = stand(app, what)

    result = await apply(agent, app, on_conflict="overwrite")

    assert target.readlink() == folder / FILE
    assert result["replaced"] == [{"target_path": str(target), "kept_as": None}]
    assert [path for path in tree(app) if "replaced" in path] == []
    if what == "link":
        assert (app / "other.safetensors").read_bytes() == b"other"
    assert (folder / FILE).read_bytes() == f"weights of {BASE}".encode()


@pytest.mark.parametrize("what", ["folder", "pipe"])
async def test_only_a_link_or_a_file_is_overwritten(agent: "Parts", app: Path, what: str) -> None:
    """The rest is done all the same."""
    await owned(agent, BASE, FILE, "other.gguf")
    target = stand(app, what)
    before = target.lstat().st_ino

    result = await apply(agent, app, on_conflict="overwrite")

    assert (result["success"], result["links_created"]) == (False, 1)
    assert result["errors"] == [f"{target} cannot be overwritten: Not a file"]
    assert target.lstat().st_ino == before


async def test_a_renamed_link_stands_beside_and_is_found_again(agent: "Parts", app: Path) -> None:
    """Case mapping-006. Applying again makes no second one, whether it is in the register or not."""
    folder = await owned(agent)
    target = stand(app, "file")

    result = await apply(agent, app, on_conflict="rename")
    (agent.root / "link_registry.json").unlink()
    again = await apply(agent, app, on_conflict="rename")

    renamed = target.with_name("base_1.safetensors")
    assert (result["links_renamed"], result["links_created"]) == (1, 1)
    assert (renamed.readlink(), target.read_bytes()) == (folder / FILE, b"theirs")
    assert (again["links_renamed"], again["links_created"], again["total_links"]) == (0, 0, 1)
    assert list(registry(agent)["by_target"]) == [str(renamed)]


async def test_each_conflict_may_have_its_own_resolution(agent: "Parts", app: Path) -> None:
    """The others have the general one; one that is for no conflict is said."""
    await owned(agent, BASE, "a.gguf", "b.gguf", "c.gguf")
    places = {name: app / "checkpoints" / f"{name}.gguf" for name in "abc"}
    (app / "checkpoints").mkdir()
    for place in places.values():
        place.write_bytes(b"theirs")

    result = await apply(
        agent,
        app,
        on_conflict="rename",
        resolutions={str(places["a"]): "skip", str(places["b"]): "overwrite", "/nowhere": "overwrite"},
    )

    assert [path.is_symlink() for path in places.values()] == [False, True, False]
    assert (app / "checkpoints" / "c_1.gguf").is_symlink()
    assert (result["links_skipped"], result["overwrites"], result["links_renamed"]) == (1, 1, 1)
    assert result["warnings"] == ["/nowhere is no conflict: its resolution was not used"]


async def test_two_models_with_files_of_one_name(agent: "Parts", app: Path) -> None:
    """The first by id has the name, and keeps it; the other one may be renamed, and never overwrites the first."""
    first = await owned(agent, "diffusion/sdxl/a")
    second = await owned(agent, "diffusion/sdxl/b")

    plan = await preview(agent, app)
    overwritten = await apply(agent, app, on_conflict="overwrite")
    renamed = await apply(agent, app, on_conflict="rename")
    again = await apply(agent, app, on_conflict="rename")

    assert plan["conflicts"][0]["reason"] == "diffusion/sdxl/a has a file of this name"
    assert plan["conflicts"][0]["overwrite"] is None
    assert (overwritten["success"], renamed["success"]) == (False, True)
    assert (app / "checkpoints" / FILE).readlink() == first / FILE
    assert (app / "checkpoints" / "base_1.safetensors").readlink() == second / FILE
    assert (again["links_created"], again["total_links"]) == (0, 2)


async def test_a_name_that_a_file_of_the_library_has_is_not_taken_by_renaming(agent: "Parts", app: Path) -> None:
    """`base_1` is another file's own name."""
    await owned(agent, "diffusion/sdxl/a", FILE)
    await owned(agent, "diffusion/sdxl/b", FILE)
    third = await owned(agent, "diffusion/sdxl/c", "base_1.safetensors")

    await apply(agent, app, on_conflict="rename")

    assert (app / "checkpoints" / "base_1.safetensors").readlink() == third / "base_1.safetensors"
    assert (app / "checkpoints" / "base_2.safetensors").is_symlink()


# --- links that lead nowhere ----------------------------------------------------------------------------------------


async def test_a_broken_link_of_ours_is_replaced_where_a_file_has_its_place(agent: "Parts", app: Path) -> None:
    """One that leads into the library, or where the register says: the library was moved."""
    folder = await owned(agent, BASE, "a.gguf", "b.gguf")
    (app / "checkpoints").mkdir()
    (app / "checkpoints" / "a.gguf").symlink_to(folder / "old-name.gguf")
    moved = app / "checkpoints" / "b.gguf"
    moved.symlink_to("/before/the/move/b.gguf")
    entry = {"model_id": BASE, "source": "/before/the/move/b.gguf", "target": str(moved), "link_type": "symlink"}
    entry |= {"created_at": "2026-01-01T00:00:00Z", "app_id": "comfyui", "app_version": "1"}
    (agent.root / "link_registry.json").write_text(json.dumps({"by_target": {str(moved): entry}, "by_model": {}}))

    plan, result = await preview(agent, app), await apply(agent, app)

    assert [(item["existing_target"], item["reason"]) for item in plan["broken_to_remove"]] == [
        (str(folder / "old-name.gguf"), "Broken symlink"),
        ("/before/the/move/b.gguf", "Broken symlink"),
    ]
    assert plan["total_actions"] == 2
    assert (result["links_removed"], result["links_created"]) == (2, 2)
    assert (app / "checkpoints" / "a.gguf").readlink() == folder / "a.gguf"
    assert moved.readlink() == folder / "b.gguf"
    assert registry(agent)["by_target"][str(moved)]["source"] == str(folder / "b.gguf")


async def test_a_broken_link_of_ours_is_removed_where_no_file_has_its_place(agent: "Parts", app: Path) -> None:
    """With its entry; one of somebody else's stays."""
    folder = await owned(agent, BASE, "a.gguf", "b.gguf")
    await apply(agent, app)
    (folder / "b.gguf").unlink()
    theirs = app / "checkpoints" / "theirs.gguf"
    theirs.symlink_to("/media/away/theirs.gguf")

    plan, result = await preview(agent, app), await apply(agent, app)

    assert [item["target_path"] for item in plan["broken_to_remove"]] == [str(app / "checkpoints" / "b.gguf")]
    assert (result["links_removed"], result["total_links"]) == (1, 1)
    assert tree(app) == ["checkpoints", "checkpoints/a.gguf", "checkpoints/theirs.gguf"]
    assert list(registry(agent)["by_target"]) == [str(app / "checkpoints" / "a.gguf")]


async def test_links_of_a_model_whose_folder_is_away_are_kept(agent: "Parts", tmp_path: Path, app: Path) -> None:
    """Absence is not deletion: its disk may come back (law 4)."""
    folder = await owned(agent)
    await apply(agent, app)
    folder.rename(tmp_path / "away")

    plan, result = await preview(agent, app), await apply(agent, app)

    assert (plan["broken_to_remove"], result["links_removed"]) == ([], 0)
    assert (app / "checkpoints" / FILE).is_symlink()


# --- where nothing is done ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link_to", ["outside", "inside"])
async def test_a_folder_of_the_application_that_is_a_link_is_not_followed(
    agent: "Parts", tmp_path: Path, app: Path, link_to: str
) -> None:
    """Wherever it leads: it is said, nothing is made there, and the other folders are done."""
    configure(tmp_path, {"target_dir": "checkpoints"}, {"target_dir": "loras"})
    elsewhere = app / "inside" if link_to == "inside" else tmp_path / "outside"
    elsewhere.mkdir()
    (app / "checkpoints").symlink_to(elsewhere)
    await owned(agent)

    plan, result = await preview(agent, app), await apply(agent, app)

    assert "is a link" in plan["errors"][0]
    assert (result["success"], result["links_created"]) == (False, 1)
    assert (tree(elsewhere), (app / "loras" / FILE).is_symlink()) == ([], True)


async def test_a_file_where_a_folder_should_be_is_said(agent: "Parts", app: Path) -> None:
    """And stays."""
    await owned(agent)
    (app / "checkpoints").write_bytes(b"theirs")

    result = await apply(agent, app)

    assert result["errors"] == [f"{app / 'checkpoints'} is no folder"]
    assert (app / "checkpoints").read_bytes() == b"theirs"


async def test_the_models_folder_itself_may_be_given_by_a_link(agent: "Parts", tmp_path: Path, app: Path) -> None:
    """The links are made, and registered, at the real place."""
    await owned(agent)
    (tmp_path / "by-link").symlink_to(app)

    await apply(agent, tmp_path / "by-link")

    assert list(registry(agent)["by_target"]) == [str(app / "checkpoints" / FILE)]


async def test_the_models_folder_has_to_be_one(agent: "Parts", tmp_path: Path, app: Path) -> None:
    """Absolute, there, and neither the library nor in it: a mistyped path makes no tree."""
    await owned(agent)
    (app / "file").write_bytes(b"")

    with pytest.raises(PathNotAbsolute):
        await preview(agent, Path("models"))
    for wrong in (app / "none", app / "file"):
        with pytest.raises(PathNotDirectory):
            await apply(agent, wrong)
    for wrong in (agent.root, agent.root / "diffusion"):
        with pytest.raises(MappingTargetRefused, match="in the library"):
            await apply(agent, wrong)
    assert (tree(app), (app / "none").exists()) == (["file"], False)
    with pytest.raises(MappingConfigMissing, match="invokeai"):
        await preview(agent, tmp_path / "app", app_id="invokeai")


async def test_a_rule_that_leads_into_the_library_makes_nothing(agent: "Parts", tmp_path: Path) -> None:
    """Of an application whose models folder is around it."""
    configure(tmp_path, {"target_dir": "library/diffusion/sdxl/base"}, {"target_dir": "checkpoints"})
    folder = await owned(agent)

    result = await apply(agent, tmp_path)

    assert "lies in the library" in result["errors"][0]
    assert sorted(path.name for path in folder.iterdir()) == [FILE, "metadata.json"]
    assert (tmp_path / "checkpoints" / FILE).is_symlink()


async def test_what_may_not_be_written_is_said(
    agent: "Parts", tmp_path: Path, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And stops nothing else: the error names the target, and is no reason to try a copy."""
    configure(tmp_path, {"target_dir": "closed"}, {"target_dir": "open"})
    await owned(agent)
    real = os.symlink

    def symlink(source: Path, name: str, *, dir_fd: int) -> None:
        if os.fstat(dir_fd).st_ino == (app / "closed").stat().st_ino:
            raise PermissionError(errno.EACCES, "Permission denied")
        real(source, name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "symlink", symlink)

    result = await apply(agent, app)

    assert result["errors"] == [f"{app / 'closed' / FILE}: Permission denied"]
    assert tree(app) == ["closed", "open", f"open/{FILE}"]


async def test_a_folder_that_fails_stops_no_other_and_its_links_are_registered(
    agent: "Parts", tmp_path: Path, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was made before and after it is in the register."""
    configure(tmp_path, {"target_dir": "a"}, {"target_dir": "b"}, {"target_dir": "c"})
    await owned(agent)
    (app / "b").mkdir()
    real = making.sweep

    def sweep(folder: int) -> None:
        if os.fstat(folder).st_ino == (app / "b").stat().st_ino:
            raise OSError(errno.EIO, "Input/output error")
        real(folder)

    monkeypatch.setattr(making, "sweep", sweep)

    result = await apply(agent, app)

    assert (result["success"], result["links_created"]) == (False, 2)
    assert result["errors"] == [f"{app / 'b'}: Input/output error"]
    assert list(registry(agent)["by_target"]) == [str(app / "a" / FILE), str(app / "c" / FILE)]


# --- crashes --------------------------------------------------------------------------------------------------------


async def test_links_that_could_not_be_registered_are_registered_the_next_time(
    agent: "Parts", app: Path, disk_full: Callable[[bool], None]
) -> None:
    """As after a kill between the links and the register: the links are there, and found by what they lead to."""
    await owned(agent)
    disk_full(True)
    with pytest.raises(LibraryUnwritable, match=r"link_registry\.json"):
        await apply(agent, app)
    disk_full(False)
    assert (app / "checkpoints" / FILE).is_symlink()
    assert not list(agent.root.glob("link_registry.json*"))

    result = await apply(agent, app)

    assert (result["links_created"], result["total_links"]) == (0, 1)
    assert list(registry(agent)["by_target"]) == [str(app / "checkpoints" / FILE)]


async def test_with_a_register_that_cannot_be_read_nothing_is_done(agent: "Parts", app: Path) -> None:
    """It would be lost with the next write."""
    await owned(agent)
    (agent.root / "link_registry.json").write_text("{")

    with pytest.raises(LinkRegistryUnreadable):
        await preview(agent, app)
    with pytest.raises(LinkRegistryUnreadable):
        await apply(agent, app)

    assert (tree(app), (agent.root / "link_registry.json").read_text()) == ([], "{")


async def test_an_apply_whose_caller_went_away_is_finished(
    agent: "Parts",
    app: Path,
    monkeypatch: pytest.MonkeyPatch,
    until: Callable[[Callable[[], object]], Awaitable[None]],
) -> None:
    """What was linked is registered: the work is not the caller's."""
    await owned(agent)
    begun, go_on = threading.Event(), threading.Event()
    real = making.create

    def create(*args: Any) -> Any:
        begun.set()
        go_on.wait()
        return real(*args)

    monkeypatch.setattr(making, "create", create)
    asked = asyncio.ensure_future(apply(agent, app))
    await until(begun.is_set)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    go_on.set()

    await until((agent.root / "link_registry.json").exists)

    assert list(registry(agent)["by_target"]) == [str(app / "checkpoints" / FILE)]


async def test_an_application_that_does_not_answer_holds_up_nothing(
    agent: "Parts", app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The preview says so; the library goes on, and so does the mapping once the filesystem does."""
    await owned(agent)
    answers = threading.Event()
    real = configs.load_rules

    def hang(*args: Any) -> Any:
        answers.wait()
        return real(*args)

    monkeypatch.setattr(service, "load_rules", hang)
    monkeypatch.setattr(service, "LOOK_S", 0.05)
    with pytest.raises(AssetUnresponsive, match=str(app)):
        await preview(agent, app)
    with pytest.raises(AssetUnresponsive):
        await apply(agent, app)
    await agent.create("llm/f/new")
    answers.set()
    monkeypatch.undo()

    assert (await apply(agent, app))["links_created"] == 1


async def test_many_files_of_one_name(agent: "Parts", app: Path) -> None:
    """Each has a number of its own, once and for all."""
    for number in range(300):
        await owned(agent, f"diffusion/sdxl/m{number:03}")

    result = await apply(agent, app, on_conflict="rename")
    again = await apply(agent, app, on_conflict="rename")

    assert (result["links_created"], result["links_renamed"]) == (300, 299)
    assert (again["links_created"], again["total_links"]) == (0, 300)
    assert len({path.readlink() for path in (app / "checkpoints").iterdir()}) == 300
