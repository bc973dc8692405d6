"""Mapping configurations: which hold for a version, which wins, which models a rule is for, and what is none."""

import json
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.contracts.errors import MappingConfigInvalid, MappingConfigMissing
from pumas_agent.contracts.mapping import MappingRule
from pumas_agent.mapping.configs import ModelFacts, load_rules, matches


def write(folder: Path, name: str, **config: Any) -> None:
    (folder / name).write_text(json.dumps({"app": "comfyui", "version": "*", "mappings": [], **config}))


def rule(target_dir: str, *types: str) -> dict[str, Any]:
    return {"target_dir": target_dir, "model_types": list(types)}


def facts(**values: Any) -> ModelFacts:
    given = {"model_type": "diffusion", "subtype": None, "family": "sdxl", "tags": frozenset(), **values}
    return ModelFacts(**given)


@pytest.mark.parametrize(
    ("filters", "model", "matched"),
    [
        ({"model_types": ["diffusion"]}, {"model_type": "diffusion"}, True),
        ({"model_types": ["diffusion"]}, {"model_type": "llm"}, False),
        ({"model_types": ["DIFFUSION", "vision"]}, {"model_type": "diffusion"}, True),
        ({"tags": ["anime", "realistic"]}, {"tags": frozenset({"anime", "x"})}, True),
        ({"tags": ["anime", "realistic"]}, {"tags": frozenset({"x"})}, False),
        ({"tags": ["anime"]}, {"tags": frozenset()}, False),
        ({"exclude_tags": ["NSFW", "old"]}, {"tags": frozenset({"nsfw"})}, False),
        ({"exclude_tags": ["nsfw"]}, {"tags": frozenset({"x"})}, True),
        ({"tags": ["a"], "exclude_tags": ["b"]}, {"tags": frozenset({"a", "b"})}, False),
        ({"subtypes": ["dllm"]}, {"subtype": "dllm"}, True),
        ({"subtypes": ["dllm"]}, {"subtype": None}, False),
        ({"subtypes": ["dllm"]}, {"subtype": "other"}, False),
        ({"families": ["SDXL"]}, {"family": "sdxl"}, True),
        ({"families": ["flux"]}, {"family": "sdxl"}, False),
        ({"model_types": ["diffusion"], "families": ["flux"]}, {}, False),
        ({"model_types": None, "tags": []}, {"model_type": "llm"}, True),
        ({}, {"model_type": "audio"}, True),
    ],
)
def test_a_rule_is_for_a_model_that_passes_every_filter(
    filters: dict[str, Any], model: dict[str, Any], *, matched: bool
) -> None:
    """Cases mapping-001 and mapping-002. Within a filter any word will do; an absent one lets all pass."""
    assert matches(MappingRule(target_dir="x", **filters), facts(**model)) == matched


def test_a_configuration_is_found_by_its_version(tmp_path: Path) -> None:
    """Case mapping-004: exactly, whatever its variant; those of other versions and applications do not count."""
    write(tmp_path, "comfyui_0.6.0_custom.json", version="0.6.0", variant="custom", mappings=[rule("checkpoints")])
    write(tmp_path, "comfyui_0.5.0_custom.json", version="0.5.0", mappings=[rule("old")])
    write(tmp_path, "invokeai_0.6.0_custom.json", app="invokeai", version="0.6.0", mappings=[rule("models")])

    found = load_rules(tmp_path, "comfyui", "0.6.0")

    assert [rule.target_dir for rule in found.rules] == ["checkpoints"]
    assert found.files == ("comfyui_0.6.0_custom.json",)


def test_the_most_specific_configuration_wins_in_each_folder(tmp_path: Path) -> None:
    """An exact version before `*`, `custom` before any other variant; folders that it does not name come from others.

    The existing library lets the least specific one win.
    """
    write(tmp_path, "comfyui_a.json", mappings=[rule("checkpoints", "a"), rule("loras", "a"), rule("vae", "a")])
    write(tmp_path, "comfyui_b.json", variant="custom", mappings=[rule("checkpoints", "b"), rule("loras", "b")])
    write(tmp_path, "comfyui_c.json", version="1", mappings=[rule("checkpoints", "c"), rule("unet", "c")])
    write(tmp_path, "comfyui_d.json", version="1", variant="custom", mappings=[rule("unet", "d")])

    found = load_rules(tmp_path, "comfyui", "1")

    won = {rule.target_dir: rule.model_types for rule in found.rules}
    assert won == {"unet": ("d",), "checkpoints": ("c",), "loras": ("b",), "vae": ("a",)}
    assert found.files == ("comfyui_d.json", "comfyui_c.json", "comfyui_b.json", "comfyui_a.json")


def test_a_folder_is_the_same_however_it_is_written(tmp_path: Path) -> None:
    """`./loras/` and `loras` are one folder: a general rule does not come back by another spelling."""
    write(tmp_path, "comfyui_any.json", mappings=[rule("./loras/", "a")])
    write(tmp_path, "comfyui_1.json", version="1", mappings=[rule("loras", "b")])

    assert [rule.model_types for rule in load_rules(tmp_path, "comfyui", "1").rules] == [("b",)]


def test_rules_of_one_configuration_for_one_folder_all_hold(tmp_path: Path) -> None:
    """They do not replace each other."""
    write(tmp_path, "comfyui_any.json", mappings=[rule("x", "a"), rule("x", "b")])

    assert [rule.model_types for rule in load_rules(tmp_path, "comfyui", "1").rules] == [("a",), ("b",)]


@pytest.mark.parametrize("target_dir", ["", "/etc", "..", "a/../../b", "a/..", "a\0b"])
def test_a_rule_that_leads_out_of_the_application_is_refused(tmp_path: Path, target_dir: str) -> None:
    """Before anything is looked at."""
    write(tmp_path, "comfyui_any.json", mappings=[rule(target_dir)])

    with pytest.raises(MappingConfigInvalid, match=r"comfyui_any\.json.*target_dir"):
        load_rules(tmp_path, "comfyui", "1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "EOF"),
        ("[]", "it: "),
        ('{"app": "comfyui", "version": "*"}', "mappings"),
        (
            '{"app": "comfyui", "version": "*", "mappings": [{"target_dir": "x", "exclude_tag": ["nsfw"]}]}',
            "exclude_tag",
        ),
        ('{"app": "comfyui", "version": "*", "mappings": [{"target_dir": "x", "tags": "nsfw"}]}', "tags"),
        (" " * (1024 * 1024) + "{}", "EOF"),
    ],
)
def test_a_configuration_that_cannot_be_used_stops_the_mapping(tmp_path: Path, text: str, said: str) -> None:
    """A less specific one must not take its place, and a filter that is misspelt must not let everything through."""
    write(tmp_path, "comfyui_any.json", mappings=[rule("x")])
    (tmp_path / "comfyui_1.json").write_text(text)

    with pytest.raises(MappingConfigInvalid, match=rf"comfyui_1\.json is no mapping configuration: .*{said}"):
        load_rules(tmp_path, "comfyui", "1")


def test_what_is_wrong_with_another_applications_configuration_stops_nothing(tmp_path: Path) -> None:
    """Nor does a folder or a text file there."""
    write(tmp_path, "comfyui_any.json", mappings=[rule("x")])
    (tmp_path / "invokeai_1.json").write_text("{")
    (tmp_path / "comfyui_folder.json").mkdir()
    (tmp_path / "comfyui_notes.txt").write_text("{")

    assert len(load_rules(tmp_path, "comfyui", "1").rules) == 1


@pytest.mark.parametrize("folder", ["empty", "absent", None])
def test_without_a_configuration_nothing_is_mapped(tmp_path: Path, folder: str | None) -> None:
    """An error, which names the folder: an empty plan would look like success."""
    (tmp_path / "empty").mkdir()

    with pytest.raises(MappingConfigMissing, match=f"comfyui 1 in .*{folder or 'any folder'}"):
        load_rules(None if folder is None else tmp_path / folder, "comfyui", "1")


def test_the_folder_of_configurations_has_to_be_one(tmp_path: Path) -> None:
    """A file in its place is said."""
    (tmp_path / "file").write_text("")

    with pytest.raises(MappingConfigInvalid, match="Not a directory"):
        load_rules(tmp_path / "file", "comfyui", "1")
