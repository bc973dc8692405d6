"""The demo bundle is whole: its files fit each other as a runtime would ask."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.demo.bundle import write_stable_diffusion_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "bundle"
    write_stable_diffusion_bundle(root)
    return root


def header_of(path: Path) -> tuple[dict[str, Any], int]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), len(content) - 8 - length


def config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config


def test_the_same_seed_gives_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    """Bytes depend on the seed alone, and another seed changes tensor data alone."""
    write_stable_diffusion_bundle(tmp_path / "again")
    write_stable_diffusion_bundle(tmp_path / "tuned", seed=7)

    files = [path.relative_to(bundle) for path in sorted(bundle.rglob("*")) if path.is_file()]
    differing = [file for file in files if (tmp_path / "tuned" / file).read_bytes() != (bundle / file).read_bytes()]

    assert all((tmp_path / "again" / file).read_bytes() == (bundle / file).read_bytes() for file in files)
    assert {file.suffix for file in differing} == {".safetensors"}
    assert len(differing) == 3


def test_it_is_small(bundle: Path) -> None:
    """Small enough to be written for every test."""
    assert sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) < 400_000


@pytest.mark.parametrize("component", ["text_encoder", "unet", "vae"])
def test_weights_are_whole(bundle: Path, component: str) -> None:
    """Spans are contiguous from 0 to the end of the file and as long as their shapes say."""
    (path,) = (bundle / component).glob("*.safetensors")

    header, data_size = header_of(path)

    assert header.pop("__metadata__") == {"format": "pt"}
    position = 0
    for begin, end, shape in sorted((*entry["data_offsets"], entry["shape"]) for entry in header.values()):
        assert begin == position
        assert end - begin == 4 * math.prod(shape)
        position = end
    assert position == data_size


def test_anchor_tensors_fit_the_configs(bundle: Path) -> None:
    """The tensors that a validator looks for have the shapes that the configs say."""
    unet, _ = header_of(bundle / "unet" / "diffusion_pytorch_model.safetensors")
    vae, _ = header_of(bundle / "vae" / "diffusion_pytorch_model.safetensors")
    text, _ = header_of(bundle / "text_encoder" / "model.safetensors")
    of_unet, of_vae, of_text = (config_of(bundle / name) for name in ("unet", "vae", "text_encoder"))

    assert unet["conv_in.weight"]["shape"][:2] == [of_unet["block_out_channels"][0], of_unet["in_channels"]]
    assert unet["conv_out.weight"]["shape"][0] == of_unet["out_channels"]
    assert {"conv_in.bias", "time_embedding.linear_1.weight"} <= unet.keys()
    assert vae["encoder.conv_in.weight"]["shape"][:2] == [of_vae["block_out_channels"][0], of_vae["in_channels"]]
    assert vae["decoder.conv_out.weight"]["shape"][0] == of_vae["out_channels"]
    assert of_unet["cross_attention_dim"] == of_text["hidden_size"]
    assert text["text_model.embeddings.token_embedding.weight"]["shape"] == [
        of_text["vocab_size"],
        of_text["hidden_size"],
    ]
    assert text["text_model.embeddings.position_embedding.weight"]["shape"] == [
        of_text["max_position_embeddings"],
        of_text["hidden_size"],
    ]


def test_the_tokenizer_fits(bundle: Path) -> None:
    """Every merge is covered by the vocabulary, which is as large as the text encoder's."""
    vocabulary = json.loads((bundle / "tokenizer" / "vocab.json").read_text(encoding="utf-8"))
    merges = (bundle / "tokenizer" / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    config = config_of(bundle / "text_encoder")

    assert merges
    assert all({first, second, first + second} <= vocabulary.keys() for first, second in map(str.split, merges))
    assert sorted(vocabulary.values()) == list(range(config["vocab_size"]))
    assert vocabulary["<|endoftext|>"] == config["eos_token_id"]
