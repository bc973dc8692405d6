"""Ids and folders: no id leads out of the library."""

import os
from pathlib import Path

import pytest

from pumas_agent.contracts.errors import InvalidModelId
from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.library import Library, LibraryLayout

HOSTILE_IDS = [
    "", ".", "..", "/", "/abs", "a/../b", "../outside", "a//b", "a/", "/a", "a/./b", "nul\0here", "back\\slash",
    "half\ud800", "a" * 300, "/".join(["a" * 200] * 40), "linked", "linked/model", "diffusion/linked/model",
]  # fmt: skip


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the library, which links in the library lead to."""
    outside = tmp_path / "outside"
    (outside / "model").mkdir(parents=True)
    (outside / "model" / "metadata.json").write_text("{}")
    (outside / "metadata.json").write_text("{}")
    root = tmp_path / "library"
    (root / "diffusion").mkdir(parents=True)
    (root / "linked").symlink_to(outside)
    (root / "diffusion" / "linked").symlink_to(outside)
    return outside


def tree(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


@pytest.mark.parametrize("model_id", HOSTILE_IDS)
def test_a_hostile_id_is_refused_by_everything_that_changes_a_model(
    outside: Path, tmp_path: Path, model_id: str
) -> None:
    """InvalidModelId, and nothing in or beside the library is touched."""
    library = Library.open(tmp_path / "library", "command")
    store = library._store
    assert store is not None
    before = tree(outside), tree(tmp_path / "library")

    for act in (
        lambda: store.layout.directory(model_id),
        lambda: store.read(model_id),
        lambda: store.create(model_id, ModelMetadata()),
        lambda: store.update(model_id, lambda record: record.model_copy(update={"notes": "x"})),
        lambda: store.remove(model_id),
    ):
        with pytest.raises(InvalidModelId):
            act()

    assert (tree(outside), tree(tmp_path / "library")) == before
    library.close()


def test_an_id_and_a_folder_say_the_same(tmp_path: Path) -> None:
    """The id is the path below the root, with forward slashes (naming-032)."""
    layout = LibraryLayout(tmp_path)

    assert layout.directory("llm/llama/test-model") == tmp_path.resolve() / "llm" / "llama" / "test-model"
    assert layout.model_id(layout.directory("llm/llama/test-model")) == "llm/llama/test-model"


def test_the_root_of_a_layout_is_canonical(tmp_path: Path) -> None:
    """However the library was named, its paths are the same."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    assert LibraryLayout(tmp_path / "link").root == (tmp_path / "real").resolve()


def test_a_survey_finds_models_and_what_crashes_left(tmp_path: Path) -> None:
    """Not in hidden folders, a model's payload, the root itself, behind links, or under names that are not UTF-8."""
    for model in ("a/b/c", "a/b/c/payload", ".hidden/x", "migration-reports/x", "gone/y"):
        (tmp_path / model).mkdir(parents=True)
        (tmp_path / model / "metadata.json").write_text("{}")
    (tmp_path / "metadata.json").write_text("{}")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "gone/y/metadata.json").rename(tmp_path / "gone/y/metadata.json.removed")
    for name in ("metadata.json.1.2.tmp", "metadata.json.bak.1.2.tmp", "weights.tmp"):
        (tmp_path / "a/b/c" / name).write_text("")
    strange = os.fsencode(tmp_path) + b"/\xff"
    Path(os.fsdecode(strange)).mkdir()
    Path(os.fsdecode(strange), "metadata.json").write_text("{}")

    survey = LibraryLayout(tmp_path).survey()

    assert set(survey.signatures) == {"a/b/c"}
    assert survey.removed == ["gone/y"]
    assert {path.name for path in survey.leftovers} == {"metadata.json.1.2.tmp", "metadata.json.bak.1.2.tmp"}
