"""Which files are one model, and whether all of it is there."""

import pytest

from pumas_agent.importing.shards import Shard, group_files, shard_of


@pytest.mark.parametrize(
    ("name", "shard"),
    [
        ("model-00003-of-00010.safetensors", Shard("model.safetensors", 3, 10)),
        ("model.safetensors.part5", Shard("model.safetensors", 5, None)),
        ("model_00007.safetensors", Shard("model.safetensors", 7, None)),
        ("regular_model.safetensors", None),
    ],
)
def test_what_a_name_says(name: str, shard: Shard | None) -> None:
    """Case shards-010."""
    assert shard_of(name) == shard


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (
            [f"model-0000{n}-of-00003.safetensors" for n in (3, 1, 2)],
            {"model.safetensors": [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]},
        ),
        (
            [f"model.safetensors.part{n}" for n in (1, 2, 3)],
            {"model.safetensors": [f"model.safetensors.part{n}" for n in (1, 2, 3)]},
        ),
        (
            ["model_00001.safetensors", "model_00002.safetensors"],
            {"model.safetensors": ["model_00001.safetensors", "model_00002.safetensors"]},
        ),
        (
            ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf", "standalone.gguf", "another.bin"],
            {
                "a.gguf": ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"],
                "standalone.gguf": ["standalone.gguf"],
                "another.bin": ["another.bin"],
            },
        ),
        (
            ["model-00001-of-00003.safetensors", "other.gguf"],
            {
                "model-00001-of-00003.safetensors": ["model-00001-of-00003.safetensors"],
                "other.gguf": ["other.gguf"],
            },
        ),
    ],
)
def test_pieces_of_one_model_are_one_group(names: list[str], groups: dict[str, list[str]]) -> None:
    """Cases shards-001, shards-002, shards-003, shards-004, shards-005."""
    found = {group.name: list(group.files) for group in group_files((name, 1) for name in names)}

    assert found == groups


def test_equal_names_in_two_folders_are_two_models() -> None:
    names = [f"{folder}/model-0000{n}-of-00002.gguf" for folder in ("a", "b") for n in (1, 2)]

    assert [group.name for group in group_files((name, 1) for name in names)] == ["a/model.gguf", "b/model.gguf"]


@pytest.mark.parametrize(
    ("sizes", "missing"),
    [
        ({"m-00001-of-00002.gguf": 5, "m-00002-of-00002.gguf": 5}, None),
        ({"m-00001-of-00002.gguf": 5}, "Incomplete shard set 'm.gguf': have 1/2 shards"),
        ({"m-00001-of-00002.gguf": 5, "m-00002-of-00002.gguf": 0}, "Incomplete shard set 'm.gguf': have 1/2 shards"),
        (
            {"m-00001-of-00002.gguf": 5, "m-00003-of-00002.gguf": 5},
            "Incomplete shard set 'm.gguf': have 1/2 shards",
        ),
        (
            {"m-00001-of-00002.gguf": 5, "m-00002-of-00003.gguf": 5},
            "Inconsistent shard set 'm.gguf': its files say 2 and 3 shards",
        ),
        ({"m.gguf.part1": 5, "m.gguf.part2": 5}, None),
        ({"m.gguf.part1": 5, "m.gguf.part2": 0}, "Incomplete shard set 'm.gguf': have 1/2 shards"),
    ],
)
def test_a_set_is_whole_when_every_shard_is_there_and_not_empty(sizes: dict[str, int], missing: str | None) -> None:
    """Cases import_in_place-008, shards-009."""
    groups = group_files(sizes.items())

    assert [group.missing for group in groups] == [missing]
