"""A download that is not finished: shown by lists, never adopted, never executed, and a model once it is whole."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Parts

MODEL = "llm/llama/tiny"
GGUF = b"GGUF" + bytes(60)


@pytest.fixture(autouse=True)
def _hurried(agent: "Parts") -> None:
    agent.parts.adopter._quiet_s = 0.0


@pytest.fixture
def part(agent: "Parts") -> Path:
    """A file that is being downloaded into the library, and the note of who downloads it."""
    folder = agent.root / MODEL
    folder.mkdir(parents=True)
    note: dict[str, Any] = {
        "repo_id": "acme/tiny",
        "official_name": "Tiny",
        "model_type": "text-ranking",
        "selected_artifact": {"selected_filenames": ["w.gguf"]},
    }
    (folder / ".pumas_download").write_text(json.dumps(note))
    path = folder / "w.gguf.part"
    path.write_bytes(GGUF)
    return path


async def test_lists_show_it_as_what_it_is(agent: "Parts", part: Path) -> None:
    """Case reconcile-011: the note says more than the path. No record is written."""
    await agent.call("adopt_orphan_models")

    facts = await agent.row(MODEL)
    entry = agent.library.catalog.get(MODEL)
    assert entry is not None
    assert (entry.official_name, entry.model_type) == ("Tiny", "reranker")
    assert (facts["match_source"], facts["repo_id"]) == ("download_partial", "acme/tiny")
    assert (facts["download_incomplete"], facts["download_missing_expected_files"]) == (True, 1)
    assert [path.name for path in part.parent.iterdir() if "metadata" in path.name] == []


async def test_no_runtime_gets_it(agent: "Parts", part: Path) -> None:
    assert part.exists()
    await agent.call("adopt_orphan_models")

    refusal = await agent.refused(MODEL)

    assert refusal.validation_state == "invalid"
    assert [finding["code"] for finding in refusal.findings] == ["download_incomplete"]


async def test_the_same_download_writes_nothing_again(agent: "Parts", part: Path) -> None:
    """Not even after a reconcile, a rebuild or a start, none of which takes its row away."""
    await agent.call("adopt_orphan_models")
    before = await agent.written()

    await agent.call("adopt_orphan_models")
    await agent.call("reconcile")
    await agent.call("reconcile", model_id=MODEL)

    assert await agent.written() == before
    assert (await agent.call("verify"))["differences"] == []
    await agent.call("rebuild_model_index")
    assert agent.library.catalog.ids() == {MODEL}
    assert agent.alerts(MODEL) == []
    assert part.exists()


async def test_it_is_a_model_when_it_is_whole(agent: "Parts", part: Path) -> None:
    await agent.call("adopt_orphan_models")
    part.rename(part.with_suffix(""))
    (part.parent / ".pumas_download").unlink()

    report = await agent.call("adopt_orphan_models")

    assert report["adopted"] == [MODEL]
    assert agent.record(MODEL)["match_source"] == "orphan_recovery"
    assert (await agent.resolve(MODEL))["entry_path"] == str(part.with_suffix(""))


async def test_a_download_that_is_given_up_leaves_the_lists(agent: "Parts", part: Path) -> None:
    await agent.call("adopt_orphan_models")
    for path in list(part.parent.iterdir()):
        path.unlink()
    part.parent.rmdir()

    await agent.call("adopt_orphan_models")

    assert agent.library.catalog.ids() == set()


async def test_a_second_file_beside_a_whole_model_does_not_take_that_away(agent: "Parts") -> None:
    """Case projection-002."""
    folder = await agent.create(MODEL, official_name="Tiny")
    (folder / "whole.gguf").write_bytes(GGUF)
    (folder / "other.gguf.part").write_bytes(GGUF)

    assert (await agent.resolve(MODEL))["entry_path"] == str(folder / "whole.gguf")

    (folder / "whole.gguf").rename(folder / "whole.gguf.part")
    await agent.call("reconcile", model_id=MODEL)
    assert [finding["code"] for finding in (await agent.refused(MODEL)).findings] == ["download_incomplete"]


async def test_a_record_of_a_download_that_is_lost_costs_neither_row_nor_what_hangs_on_it(agent: "Parts") -> None:
    """Other programs write one while they download: then it is a record like any other."""
    folder = await agent.create(MODEL, official_name="Tiny", match_source="download_partial")
    (folder / "w.gguf").write_bytes(GGUF)
    (folder / "metadata.json").unlink()

    await agent.call("reconcile")
    await agent.call("adopt_orphan_models")
    await agent.call("rebuild_model_index")

    assert agent.library.catalog.ids() == {MODEL}
    assert agent.alerts(MODEL) == ["metadata_corrupt"]


@pytest.mark.parametrize("note", ["{", "[]", '{"official_name": 5, "selected_artifact": []}'])
async def test_a_note_that_cannot_be_read_says_nothing(agent: "Parts", part: Path, note: str) -> None:
    (part.parent / ".pumas_download").write_text(note)

    await agent.call("adopt_orphan_models")

    entry = agent.library.catalog.get(MODEL)
    assert entry is not None
    assert (entry.official_name, entry.model_type) == ("tiny", "llm")
