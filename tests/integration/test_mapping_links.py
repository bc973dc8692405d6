"""Links that were made: what is left of them, cleaning up, forgetting a model, exclusions."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.errors import LibraryUnwritable, ModelNotFound
from pumas_agent.contracts.mapping import ApplyMappingParams, MappingParams, MappingPreview
from pumas_agent.library import Library, LibraryLayout
from pumas_agent.mapping import MappingService

if TYPE_CHECKING:
    from tests.integration.conftest import Parts

A, B = "diffusion/acme/a", "diffusion/acme/b"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The models folder of an application, and a rule that lets every model through."""
    (tmp_path / "app" / "models").mkdir(parents=True)
    config = {"app": "comfyui", "version": "*", "mappings": [{"target_dir": "all"}]}
    (tmp_path / "mapping-configs").mkdir()
    (tmp_path / "mapping-configs" / "comfyui_any.json").write_text(json.dumps(config))
    return tmp_path / "app" / "models"


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let these calls fail from now on, as on a filesystem without such links."""

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    return lambda name: monkeypatch.setattr(os, name, refuse)


async def two_models(agent: "Parts") -> tuple[Path, Path]:
    """Each with a file, `a.gguf` and `b.gguf`; their folders."""
    folders = [await agent.create(model_id) for model_id in (A, B)]
    for folder in folders:
        (folder / f"{folder.name}.gguf").write_bytes(b"weights")
    return folders[0], folders[1]


async def apply(agent: "Parts", app: Path, **params: Any) -> dict[str, Any]:
    given = {"app_id": "comfyui", "version_tag": "1", "models_path": str(app), **params}
    return await agent.call("apply_model_mapping", **given)


def linked(app: Path) -> list[str]:
    """Names in the application's folder."""
    folder = app / "all"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def registered(agent: "Parts") -> list[str]:
    document = json.loads((agent.root / "link_registry.json").read_text())
    assert sorted(document["by_target"]) == sorted(
        target for found in document["by_model"].values() for target in found
    )
    return sorted(Path(target).name for target in document["by_target"])


# --- health and cleaning --------------------------------------------------------------------------------------------


async def test_the_links_of_a_model(agent: "Parts", app: Path) -> None:
    """With the keys of the existing library; an id that nobody knows is not found."""
    folder, _ = await two_models(agent)
    assert (await agent.call("get_links_for_model", model_id=A)) == {"success": True, "links": []}
    await apply(agent, app)

    (link,) = (await agent.call("get_links_for_model", model_id=A))["links"]

    assert link.pop("created_at")
    assert link == {
        "source": str(folder / "a.gguf"),
        "target": str(app / "all" / "a.gguf"),
        "link_type": "symlink",
        "app_id": "comfyui",
        "app_version": "1",
    }
    with pytest.raises(ModelNotFound, match="diffusion/acme/none"):
        await agent.call("get_links_for_model", model_id="diffusion/acme/none")


async def test_without_links_all_is_well(agent: "Parts") -> None:
    """Also in a library that never had one, and nothing is made by asking."""
    assert await agent.call("get_link_health") == {
        "success": True,
        "status": "healthy",
        "total_links": 0,
        "healthy_links": 0,
        "broken_links": [],
        "orphaned_links": [],
        "warnings": [],
        "errors": [],
    }
    assert await agent.call("clean_broken_links") == {"success": True, "cleaned": 0}
    assert not (agent.root / "link_registry.json").exists()


@pytest.mark.parametrize("broken", ["file gone", "link gone", "re-pointed", "file in its place", "folder in its place"])
async def test_a_broken_link_is_found_and_cleaned_up(agent: "Parts", app: Path, broken: str) -> None:
    """One that leads nowhere is removed; what somebody put there stays, and is no link of ours any more."""
    folder, _ = await two_models(agent)
    await apply(agent, app)
    target = app / "all" / "a.gguf"
    match broken:
        case "file gone":
            (folder / "a.gguf").unlink()
        case "link gone":
            target.unlink()
        case "re-pointed":
            target.unlink()
            target.symlink_to("/somewhere/else.gguf")
        case "file in its place":
            target.unlink()
            target.write_bytes(b"theirs")
        case _:
            target.unlink()
            target.mkdir()

    health = await agent.call("get_link_health")
    cleaned = await agent.call("clean_broken_links")

    assert (health["status"], health["total_links"], health["healthy_links"]) == ("degraded", 2, 1)
    assert health["broken_links"] == [str(target)]
    assert cleaned["cleaned"] == 1
    assert registered(agent) == ["b.gguf"]
    stays = broken in {"re-pointed", "file in its place", "folder in its place"}
    assert linked(app) == (["a.gguf", "b.gguf"] if stays else ["b.gguf"])
    assert (await agent.call("get_link_health"))["status"] == "healthy"
    assert (await agent.call("clean_broken_links"))["cleaned"] == 0


@pytest.mark.parametrize("away", ["the application", "the model's folder"])
async def test_what_is_away_is_not_broken(agent: "Parts", tmp_path: Path, app: Path, away: str) -> None:
    """Absence is not deletion (law 4): it is said, kept, and works again when its disk is back."""
    folder, _ = await two_models(agent)
    await apply(agent, app)
    place = app / "all" if away == "the application" else folder
    place.rename(tmp_path / "away")

    health = await agent.call("get_link_health")
    cleaned = await agent.call("clean_broken_links")
    (tmp_path / "away").rename(place)

    assert (health["status"], health["broken_links"]) == ("degraded", [])
    assert len(health["warnings"]) == (2 if away == "the application" else 1)
    assert cleaned["cleaned"] == 0
    assert (await agent.call("get_link_health"))["healthy_links"] == 2


async def test_a_link_of_a_model_that_the_library_has_no_more_is_orphaned(agent: "Parts", app: Path) -> None:
    """While it works it is nothing to be cleaned up."""
    folder, _ = await two_models(agent)
    await apply(agent, app)
    (folder / "metadata.json").unlink()
    shutil.move(folder / "a.gguf", agent.root / "a.gguf")
    shutil.rmtree(folder)
    await agent.call("rebuild_model_index")
    folder.mkdir()
    shutil.move(agent.root / "a.gguf", folder / "a.gguf")

    health = await agent.call("get_link_health")

    assert (health["status"], health["broken_links"]) == ("degraded", [])
    assert health["orphaned_links"] == [str(app / "all" / "a.gguf")]
    assert (await agent.call("clean_broken_links"))["cleaned"] == 0


@pytest.mark.parametrize("kinds", [("symlink",), ("symlink", "link")])
async def test_a_hard_link_or_copy_whose_file_is_gone_is_never_removed(
    agent: "Parts", app: Path, no_links: Callable[[str], None], kinds: tuple[str, ...]
) -> None:
    """It may be the last of its data."""
    folder, _ = await two_models(agent)
    for kind in kinds:
        no_links(kind)
    result = await apply(agent, app)
    (folder / "a.gguf").unlink()

    health = await agent.call("get_link_health")
    cleaned = await agent.call("clean_broken_links")

    assert len(result["warnings"]) == 2
    assert health["orphaned_links"] == [str(app / "all" / "a.gguf")]
    assert (cleaned["cleaned"], (app / "all" / "a.gguf").read_bytes()) == (0, b"weights")


@pytest.mark.parametrize("kinds", [("symlink",), ("symlink", "link")])
async def test_a_hard_link_or_copy_is_found_again(
    agent: "Parts", app: Path, no_links: Callable[[str], None], kinds: tuple[str, ...]
) -> None:
    """Applying again makes none; when the library's file became another one it is a conflict."""
    folder, _ = await two_models(agent)
    for kind in kinds:
        no_links(kind)
    await apply(agent, app)
    again = await apply(agent, app)
    (folder / "a.gguf").unlink()
    (folder / "a.gguf").write_bytes(b"another")

    plan = await agent.call("preview_model_mapping", app_id="comfyui", version_tag="1", models_path=str(app))

    assert (again["links_created"], again["total_links"], again["links_skipped"]) == (0, 2, 0)
    assert [conflict["reason"] for conflict in plan["conflicts"]] == ["Regular file exists"]


async def test_a_link_in_the_library_is_hard_linked_as_its_file(
    agent: "Parts", app: Path, no_links: Callable[[str], None]
) -> None:
    """Where there are no symbolic links, one that is in the model's folder is no file for the application."""
    folder, _ = await two_models(agent)
    (folder / "blob").write_bytes(b"blob")
    (folder / "c.gguf").symlink_to("blob")
    no_links("symlink")

    await apply(agent, app)

    made = app / "all" / "c.gguf"
    assert (made.is_symlink(), made.samefile(folder / "blob")) == (False, True)
    assert (await agent.call("get_link_health"))["healthy_links"] == 3
    assert str(made) in (await agent.parts.mapping.forget_model(A)).removed


# --- forgetting a model ---------------------------------------------------------------------------------------------


async def test_forgetting_a_model_removes_its_links_and_no_others(agent: "Parts", app: Path) -> None:
    """Case delete-004, for symbolic links; its files stay: deleting them is another's work."""
    folder, _ = await two_models(agent)
    await apply(agent, app)

    forgotten = await agent.parts.mapping.forget_model(A)

    assert (forgotten.removed, forgotten.kept) == ((str(app / "all" / "a.gguf"),), ())
    assert linked(app) == ["b.gguf"]
    assert registered(agent) == ["b.gguf"]
    assert (folder / "a.gguf").exists()
    assert (await agent.parts.mapping.forget_model(A)).removed == ()


@pytest.mark.parametrize("kinds", [("symlink",), ("symlink", "link")])
async def test_hard_links_and_copies_go_with_their_model(
    agent: "Parts", app: Path, no_links: Callable[[str], None], kinds: tuple[str, ...]
) -> None:
    """The existing library leaves them (case delete-004): gigabytes that nobody knows of any more."""
    await two_models(agent)
    for kind in kinds:
        no_links(kind)
    await apply(agent, app)

    forgotten = await agent.parts.mapping.forget_model(A)

    assert forgotten.removed == (str(app / "all" / "a.gguf"),)
    assert linked(app) == ["b.gguf"]


@pytest.mark.parametrize("kinds", [(), ("symlink",), ("symlink", "link")])
async def test_what_somebody_changed_stays_when_its_model_is_forgotten(
    agent: "Parts", app: Path, no_links: Callable[[str], None], kinds: tuple[str, ...]
) -> None:
    """It is theirs now: it is named with the reason, and leaves the register."""
    await two_models(agent)
    for kind in kinds:
        no_links(kind)
    await apply(agent, app)
    target = app / "all" / "a.gguf"
    target.unlink()
    target.write_bytes(b"finetuned")

    forgotten = await agent.parts.mapping.forget_model(A)

    assert forgotten.removed == ()
    assert [place for place, why in forgotten.kept if why] == [str(target)]
    assert (target.read_bytes(), registered(agent)) == (b"finetuned", ["b.gguf"])


async def test_a_link_that_cannot_be_reached_stays_in_the_register(agent: "Parts", tmp_path: Path, app: Path) -> None:
    """Until its disk is back: then it leads nowhere, and is cleaned up."""
    folder, _ = await two_models(agent)
    await apply(agent, app)
    application = app.parent
    application.rename(tmp_path / "away")

    forgotten = await agent.parts.mapping.forget_model(A)
    (tmp_path / "away").rename(application)
    shutil.rmtree(folder)
    await agent.call("rebuild_model_index")
    cleaned = await agent.call("clean_broken_links")

    assert [target for target, _ in forgotten.kept] == [str(app / "all" / "a.gguf")]
    assert (cleaned["cleaned"], registered(agent)) == (1, ["b.gguf"])


async def test_links_by_a_path_that_leads_through_a_link_are_still_found(
    agent: "Parts", tmp_path: Path, app: Path
) -> None:
    """As another program registers them, or when the application was moved and a link left in its place."""
    await two_models(agent)
    await apply(agent, app)
    application = app.parent
    application.rename(tmp_path / "new-place")
    application.symlink_to(tmp_path / "new-place")

    assert (await agent.call("get_link_health"))["healthy_links"] == 2
    assert (await agent.parts.mapping.forget_model(A)).removed == (str(app / "all" / "a.gguf"),)
    assert linked(tmp_path / "new-place" / "models") == ["b.gguf"]


# --- exclusions -----------------------------------------------------------------------------------------------------


async def test_a_model_may_be_left_out_of_the_mapping_of_one_application(agent: "Parts", app: Path) -> None:
    """From then on, until it is taken in again; a link that is there stays."""
    await two_models(agent)
    excluded = {"model_id": A, "app_id": "comfyui", "excluded": True}

    answer = await agent.call("set_model_link_exclusion", **excluded)
    result = await apply(agent, app)

    assert answer == {"success": True, **excluded}
    assert await agent.call("get_link_exclusions", app_id="comfyui") == {"success": True, "excluded_model_ids": [A]}
    assert (await agent.call("get_link_exclusions", app_id="other"))["excluded_model_ids"] == []
    assert result["skipped"] == [{"model_id": A, "model_name": A, "source_path": None, "reason": "excluded"}]
    assert registered(agent) == ["b.gguf"]

    await agent.call("set_model_link_exclusion", model_id=A, app_id="comfyui", excluded=False)
    assert (await apply(agent, app))["links_created"] == 1


async def test_an_exclusion_that_holds_already_is_not_written_again(agent: "Parts") -> None:
    """Law 8; an unknown model is refused."""
    await two_models(agent)
    excluded = {"model_id": A, "app_id": "comfyui", "excluded": True}
    await agent.call("set_model_link_exclusion", model_id=A, app_id="comfyui", excluded=False)
    await agent.call("set_model_link_exclusion", **excluded)
    before = await agent.written()

    await agent.call("set_model_link_exclusion", **excluded)

    assert await agent.written() == before
    with pytest.raises(ModelNotFound):
        await agent.call("set_model_link_exclusion", model_id="llm/f/none", app_id="comfyui", excluded=True)


async def test_an_exclusion_goes_with_its_model(agent: "Parts", bundle: Path) -> None:
    """A new model with the same id does not inherit it, as in the existing library; a rebuild keeps it."""
    model_id = await agent.registered(bundle)
    await agent.call("set_model_link_exclusion", model_id=model_id, app_id="comfyui", excluded=True)
    await agent.call("rebuild_model_index")
    assert (await agent.call("get_link_exclusions", app_id="comfyui"))["excluded_model_ids"] == [model_id]

    await agent.call("unregister_external_model", model_id=model_id)
    await agent.registered(bundle)

    assert (await agent.call("get_link_exclusions", app_id="comfyui"))["excluded_model_ids"] == []


# --- the library ----------------------------------------------------------------------------------------------------


async def test_the_register_is_as_before_when_it_cannot_be_written(
    agent: "Parts", app: Path, disk_full: Callable[[bool], None]
) -> None:
    """Whole, and without anything half written beside it."""
    folder, _ = await two_models(agent)
    await apply(agent, app)
    before = (agent.root / "link_registry.json").read_bytes()
    (folder / "a.gguf").unlink()
    disk_full(True)

    with pytest.raises(LibraryUnwritable, match=r"link_registry\.json"):
        await agent.call("clean_broken_links")

    disk_full(False)
    assert (agent.root / "link_registry.json").read_bytes() == before
    assert len(list(agent.root.glob("link_registry*"))) == 1
    assert (await agent.call("clean_broken_links"))["cleaned"] == 1


def test_what_a_killed_write_of_the_register_left_is_removed(tmp_path: Path) -> None:
    """At the next start, with the other leftovers."""
    Library.open(tmp_path / "library", "command").close()
    leftover = tmp_path / "library" / "link_registry.json.41.7.tmp"
    leftover.write_text('{"by_tar')

    assert leftover in LibraryLayout(tmp_path / "library").survey().leftovers
    Library.open(tmp_path / "library", "command").close()

    assert not leftover.exists()


async def test_a_library_that_is_opened_to_read_makes_no_link(agent: "Parts", tmp_path: Path, app: Path) -> None:
    """The preview works there; applying is refused before anything is done."""
    await two_models(agent)
    library = Library.open_readonly(agent.root)
    service = MappingService(library, tmp_path / "mapping-configs")
    params = {"app_id": "comfyui", "version_tag": "1", "models_path": str(app)}

    shown = await service.preview(MappingParams(**params))
    assert MappingPreview.model_validate_json(shown).total_actions == 2
    with pytest.raises(LibraryUnwritable):
        await service.apply(ApplyMappingParams(**params))

    library.close()
    assert linked(app) == []


# --- links of a model that goes ---------------------------------------------------------------------------------------


async def test_links_of_a_deleted_model_go_with_it(agent: "Parts", app: Path) -> None:
    """Those of other models stay; the plan counts them."""
    await two_models(agent)
    await apply(agent, app)

    plan = await agent.call("delete_model_with_cascade", model_id=A, apply=False)
    assert (plan["links"], linked(app)) == (1, ["a.gguf", "b.gguf"])
    result = await agent.call("delete_model_with_cascade", model_id=A)

    assert (result["links"], linked(app)) == (1, ["b.gguf"])
    assert (await agent.call("get_link_health"))["status"] == "healthy"


async def test_no_link_is_left_to_where_a_model_was(agent: "Parts", app: Path) -> None:
    """Filed under another type, its files are elsewhere; the mapping is applied again."""
    await two_models(agent)
    await apply(agent, app)

    result = await agent.call("reclassify_model", model_id=A, family="other", apply=True)
    assert (result["applied"], result["links"], linked(app)) == (True, 1, ["b.gguf"])
    await apply(agent, app)

    assert linked(app) == ["a.gguf", "b.gguf"]
    assert (app / "all" / "a.gguf").read_bytes() == b"weights"
