"""link_registry.json: the register of links, in the form of the existing library."""

import json
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.contracts.errors import LinkRegistryUnreadable
from pumas_agent.contracts.mapping import LinkEntry, LinkType
from pumas_agent.library import LinkRegistry, read_links


def link(target: str, model_id: str = "llm/f/a", app_id: str = "comfyui", **more: Any) -> dict[str, Any]:
    return {
        "model_id": model_id,
        "source": "/library/a.gguf",
        "target": target,
        "link_type": "symlink",
        "created_at": "2026-03-08T12:34:56.123456789+00:00",
        "app_id": app_id,
        "app_version": "1",
        **more,
    }


def entry(target: str, **more: Any) -> LinkEntry:
    return LinkEntry.model_validate(link(target, **more))


def test_a_link_is_found_by_its_target_and_by_its_model() -> None:
    """Case links-001."""
    registry = LinkRegistry().changed(add=[entry("/app/a.gguf")])

    assert registry.links["/app/a.gguf"].link_type is LinkType.SYMLINK
    assert [found.target for found in registry.of_model("llm/f/a")] == ["/app/a.gguf"]
    assert registry.of_model("llm/f/b") == ()


def test_the_document_is_that_of_the_existing_library() -> None:
    """Two tables, each key in its place, and what one program wrote the other reads (case links-004)."""
    document = {"by_target": {"/app/a.gguf": link("/app/a.gguf")}, "by_model": {"llm/f/a": ["/app/a.gguf"]}}

    assert LinkRegistry.parse(document).to_document() == document
    assert list(LinkRegistry.parse(document).to_document()["by_target"]["/app/a.gguf"]) == list(link("/app/a.gguf"))


def test_links_of_two_applications_stand_side_by_side() -> None:
    """Case links-005: each entry says whose it is."""
    registry = LinkRegistry().changed(add=[entry("/a/x", app_id="app1"), entry("/b/x", app_id="app2")])

    assert [target for target, found in registry.links.items() if found.app_id == "app1"] == ["/a/x"]


def test_a_target_that_is_registered_anew_belongs_to_its_new_model_alone() -> None:
    """The existing library leaves the old model's entry behind."""
    registry = LinkRegistry().changed(add=[entry("/app/a.gguf")])

    again = registry.changed(add=[entry("/app/a.gguf", model_id="llm/f/b")])

    assert again.to_document()["by_model"] == {"llm/f/b": ["/app/a.gguf"]}


def test_a_stale_table_of_models_is_made_anew() -> None:
    """`by_target` is the truth."""
    document = {"by_target": {"/app/a": link("/app/a")}, "by_model": {"gone": ["/app/a", "/app/b"]}}

    assert LinkRegistry.parse(document).to_document()["by_model"] == {"llm/f/a": ["/app/a"]}


@pytest.mark.parametrize(
    "foreign",
    [
        {"/app/b": link("/app/b", link_type="reflink")},
        {"/app/b": {"model_id": 1}},
        {"/app/b": None},
        {"/app/b": link("/app/other")},
        {"relative/b": link("relative/b")},
        {"/app/b": link("/app/b", source="relative")},
        {"/app/\0": link("/app/\0")},
    ],
)
def test_an_entry_that_is_not_understood_is_kept_and_hides_no_other(foreign: dict[str, Any]) -> None:
    """It counts as no link, and is written back as it was."""
    document: dict[str, Any] = {
        "by_target": {**foreign, "/app/a": link("/app/a", note="x")},
        "by_model": {},
        "version": 9,
    }

    registry = LinkRegistry.parse(document)

    assert list(registry.links) == ["/app/a"]
    written = registry.changed(add=[entry("/app/c")]).to_document()
    assert written["by_target"].items() >= document["by_target"].items()
    assert written["version"] == 9


@pytest.mark.parametrize("text", ["{", "[]", '{"by_target": []}', '{"by_target": "x"}', '{"by_target": {"a": NaN}}'])
def test_a_file_that_is_no_register_is_named(tmp_path: Path, text: str) -> None:
    """With what to do; it is left as it is."""
    path = tmp_path / "link_registry.json"
    path.write_text(text)

    with pytest.raises(LinkRegistryUnreadable, match=r"link_registry\.json cannot be read") as caught:
        read_links(path)

    assert "applying a mapping again" in (caught.value.hint or "")
    assert path.read_text() == text


def test_no_file_is_an_empty_register(tmp_path: Path) -> None:
    """And one without tables as well."""
    path = tmp_path / "link_registry.json"
    assert read_links(path) == LinkRegistry()
    path.write_text(json.dumps({}))
    assert read_links(path).to_document() == {"by_target": {}, "by_model": {}}
