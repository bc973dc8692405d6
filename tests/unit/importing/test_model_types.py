"""Which type a model is, by what its files say of themselves."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.importing.formats import FileFormat
from pumas_agent.importing.model_types import family_of, read_config, resolve_type, type_of_hint


def gguf(path: Path, **facts: str) -> tuple[Path, FileFormat]:
    """A GGUF file that says these things of itself."""
    pairs = b"".join(
        struct.pack("<Q", len(key := f"general.{name}".encode())) + key + struct.pack("<IQ", 8, len(value)) + value
        for name, value in ((name, text.encode()) for name, text in facts.items())
    )
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(facts)) + pairs)
    return path, FileFormat.GGUF


def safetensors(path: Path, *names: str) -> tuple[Path, FileFormat]:
    """A safetensors file with these empty tensors."""
    header = json.dumps({name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for name in names}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path, FileFormat.SAFETENSORS


@pytest.mark.parametrize(
    ("hint", "found"),
    [
        *(("text-generation", "llm"), ("image-classification", "vision"), ("image-text-to-text", "vlm")),
        *(("llm", "llm"), ("text-ranking", "reranker"), ("Reranker ", "reranker"), ("not-a-known-type", None)),
        *((None, None), ("", None)),
    ],
)
def test_a_hint_is_a_type_or_a_task(hint: str | None, found: str | None) -> None:
    """Case index-009."""
    assert type_of_hint(hint) == found


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, "llm"),
        ({"architectures": ["WhisperForConditionalGeneration"]}, "audio"),
        ({"architectures": ["LlavaForConditionalGeneration"]}, "vlm"),
        ({"architectures": ["Qwen3ForRewardModel"]}, "reranker"),
        ({"architectures": ["ViTForImageClassification"]}, "vision"),
        ({"_class_name": "UNet2DConditionModel"}, "diffusion"),
        ({"model_type": "qwen3"}, "llm"),
        ({"architectures": "LlamaForCausalLM", "model_type": 5}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_a_config_says_what_it_is(config: dict[str, Any], found: str) -> None:
    assert resolve_type("x", config, None).model_type == found


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({"architecture": "llama"}, "llm"),
        ({"architecture": "qwen3", "name": "Qwen3 Reranker"}, "reranker"),
        ({"architecture": "flux"}, "diffusion"),
        ({"architecture": "nomic-bert"}, "embedding"),
    ],
)
def test_a_gguf_file_says_what_it_is(tmp_path: Path, facts: dict[str, str], found: str) -> None:
    """Case identify-006."""
    primary = gguf(tmp_path / "x.gguf", **facts)

    assert resolve_type("x", None, primary).model_type == found
    assert family_of(None, primary) == facts["architecture"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([f"model.layers.{n}.self_attn.q" for n in range(6)], "llm"),
        ([f"model.diffusion_model.input_blocks.{n}" for n in range(6)], "diffusion"),
        ([f"vision_model.encoder.{n}" for n in range(4)], "vision"),
        ([f"model.layers.{n}.self_attn.q" for n in range(3)], "unknown"),
    ],
)
def test_tensors_vote(tmp_path: Path, names: list[str], found: str) -> None:
    assert resolve_type("x", None, safetensors(tmp_path / "x.safetensors", *names)).model_type == found


def test_a_folder_that_is_called_audio_says_nothing_of_the_models_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "audio" / "whisper"
    folder.mkdir(parents=True)

    primary = safetensors(folder / "x.safetensors", *(f"model.layers.{n}.mlp.up" for n in range(6)))

    assert resolve_type("x", read_config(folder), primary).model_type == "llm"


@pytest.mark.parametrize("content", [b"GGUF", b"GGUF" + bytes(20), b"GGUF" + b"\xff" * 60, b"\xff" * 8 + b"{"])
def test_a_header_that_lies_is_no_fault(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)

    for found in (FileFormat.GGUF, FileFormat.SAFETENSORS):
        assert resolve_type("x", None, (tmp_path / "x", found)).model_type in {"unknown", "llm"}


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000, ""])
def test_a_config_that_is_none_is_no_fault(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)

    assert read_config(tmp_path) is None
