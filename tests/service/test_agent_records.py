"""Records that other programs and people write: the row, the search and the lookups follow the file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle

Until = Callable[..., Any]


def _write_file_model(library: Path, model_id: str, **facts: object) -> Path:
    """As another program would: payload first, the record last."""
    model_type, family, name = model_id.split("/")
    folder = library / model_id
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"x" * 100)
    record = {"model_id": model_id, "model_type": model_type, "family": family, "official_name": name, **facts}
    (folder / "metadata.json").write_text(json.dumps(record, indent=2))
    return folder


def test_a_record_that_another_program_writes_appears(agent: "AgentUnderTest", until: Until) -> None:
    """A model in a new family folder is listed, found and resolved without a word to the agent."""
    folder = _write_file_model(agent.library, "llm/acme/small-one", tags=["quick"])

    until(lambda: agent.model("llm/acme/small-one"), "the model is there")

    (row,) = agent.client.call("search_models", query="small")["models"]
    assert (row["id"], row["tags"], row["storage_kind"]) == ("llm/acme/small-one", ["quick"], "library_owned")
    assert agent.client.descriptor("llm/acme/small-one").entry_path == str(folder / "weights.safetensors")


def test_a_record_edited_by_hand_is_followed(agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until) -> None:
    """Name and tags change in the row and in the search; what the person wrote beside them stays in the file."""
    model_id = agent.register(make_bundle())
    agent.settled()
    path = agent.library / model_id / "metadata.json"

    record = json.loads(path.read_text()) | {"official_name": "Zebra", "tags": ["striped"], "my_own_note": 7}
    path.write_text(json.dumps(record))
    until(lambda: (agent.model(model_id) or {})["officialName"] == "Zebra", "the row follows")

    assert [row["id"] for row in agent.client.call("search_models", query="zebra")["models"]] == [model_id]
    assert json.loads(path.read_text())["my_own_note"] == 7
    assert agent.state(model_id) == "valid"


def test_an_entry_path_edited_by_hand_is_followed(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
) -> None:
    """The record is the truth: its new root is judged, watched, and what a runtime is given."""
    old, new = make_bundle("old"), make_bundle("new")
    model_id = agent.register(old)
    agent.settled()
    path = agent.library / model_id / "metadata.json"

    record = json.loads(path.read_text()) | {"source_path": str(new), "entry_path": str(new)}
    path.write_text(json.dumps(record))
    until(lambda: (agent.model(model_id) or {})["entry_path"] == str(new), "the row follows")

    assert agent.client.descriptor(model_id).entry_path == str(new)
    agent.settled()
    shutil.rmtree(new / "unet")
    until(lambda: agent.state(model_id) == "degraded", "the new root is watched")


def test_a_broken_record_is_said_and_forgets_nothing(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
) -> None:
    """Half a metadata.json: an alert that names it, the row as it was, lookups answered; whole again, all is well."""
    root = make_bundle()
    model_id = agent.register(root)
    agent.settled()
    path = agent.library / model_id / "metadata.json"
    whole = path.read_text()

    path.write_text(whole[: len(whole) // 2])
    agent.wait_for("alert.raised", code="metadata_corrupt", model_id=model_id)
    assert agent.client.descriptor(model_id).entry_path == str(root)
    assert agent.state(model_id) == "valid"
    path.write_text(whole)
    agent.wait_for("alert.cleared", code="metadata_corrupt", model_id=model_id)

    until(lambda: not agent.alerts(), "no alert stands")
    assert path.read_text() == whole


def test_the_folder_of_a_file_model_that_is_removed_takes_its_row_along(agent: "AgentUnderTest", until: Until) -> None:
    """The files were the library's own: without them there is no model."""
    folder = _write_file_model(agent.library, "llm/acme/small-one")
    until(lambda: agent.model("llm/acme/small-one"), "the model is there")
    agent.settled()

    shutil.rmtree(folder)

    until(lambda: agent.model("llm/acme/small-one") is None, "the model is gone")
    assert agent.client.call("list_models")["totalCount"] == 0


def test_a_family_folder_that_is_renamed_renames_its_models(agent: "AgentUnderTest", until: Until) -> None:
    """The id is the path: the old ids go, the new ones come, and lookups know only the new ones."""
    for name in ("one", "two"):
        _write_file_model(agent.library, f"llm/acme/{name}")
    until(lambda: agent.client.call("list_models")["totalCount"] == 2, "two models")
    agent.settled()

    (agent.library / "llm" / "acme").rename(agent.library / "llm" / "zenith")

    def ids() -> set[str]:
        return {row["id"] for row in agent.client.call("list_models")["models"]}

    until(lambda: ids() == {"llm/zenith/one", "llm/zenith/two"}, "the new ids alone")
    assert agent.client.descriptor("llm/zenith/one").entry_path.startswith(str(agent.library / "llm" / "zenith"))


def test_an_external_record_that_is_removed_by_hand_is_not_forgotten(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
) -> None:
    """Absence is never deletion: the registration stands, an alert says what is missing, and it recovers."""
    root = make_bundle()
    model_id = agent.register(root)
    agent.settled()
    folder = agent.library / model_id

    folder.rename(agent.library.parent / "aside")
    agent.wait_for("alert.raised", code="metadata_corrupt", model_id=model_id)
    assert agent.client.descriptor(model_id).entry_path == str(root)
    (agent.library.parent / "aside").rename(folder)
    agent.wait_for("alert.cleared", code="metadata_corrupt", model_id=model_id)

    until(lambda: agent.state(model_id) == "valid", "as before")
