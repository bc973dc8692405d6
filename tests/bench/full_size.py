"""Owns bundles with the shape of the published models, to measure on: every file as long as the real one, none written.

The configs are those of Stable Diffusion XL base 1.0 and of FLUX.1-dev. Headers, indexes and tokenizers are whole;
tensor data is a hole in the file, which takes no room on the disk and reads as zeros.
"""

import itertools
import math
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pumas_agent.demo.bundles import configs
from pumas_agent.demo.bundles.components import (
    Component,
    Pipeline,
    model,
    scheduler,
    text_encoder,
    tokenizer,
)
from pumas_agent.demo.bundles.safetensors import (
    ITEM_BYTES,
    FloatType,
    safetensors_header,
    shard_index,
    shard_name,
    split_tensors,
)
from pumas_agent.demo.bundles.shapes import Tensors
from pumas_agent.demo.bundles.tokenizers import clip_tokenizer, clip_vocabulary, t5_tokenizer
from pumas_agent.demo.bundles.writing import write_small_files

_CLIP_MERGES = 48_894
_T5_WORDS = 31_902  # with its characters and special pieces, the 32,000 of T5's sentencepiece model


def write_full_size_sdxl(root: Path) -> None:
    """Four weight files in F32 with 2,641 tensors together; 13.9 GB long."""
    _write(full_size_sdxl(), root, float_type="F32", shards={})


def write_full_size_flux(root: Path) -> None:
    """Weights in BF16, the transformer in three shards and the T5 encoder in two; 33.7 GB long."""
    _write(full_size_flux(), root, float_type="BF16", shards={"transformer": 3, "text_encoder_2": 2})


def full_size_sdxl() -> Pipeline:
    """What Stable Diffusion XL is made of."""
    merges = list(itertools.islice(_merges(), _CLIP_MERGES))
    vocabulary = clip_vocabulary(merges)
    return Pipeline(
        "StableDiffusionXLPipeline",
        {
            "scheduler": scheduler(configs.EULER),
            "text_encoder": text_encoder(_clip_l(vocabulary)),
            "text_encoder_2": text_encoder(_clip_g(vocabulary)),
            "tokenizer": tokenizer("CLIPTokenizer", clip_tokenizer(merges)),
            "tokenizer_2": tokenizer("CLIPTokenizer", clip_tokenizer(merges, pad="!")),
            "unet": model(_UNET),
            "vae": model(_VAE),
        },
        settings={"force_zeros_for_empty_prompt": True},
    )


def full_size_flux() -> Pipeline:
    """What Flux is made of."""
    merges = list(itertools.islice(_merges(), _CLIP_MERGES))
    words = ["".join(letters) for letters in itertools.islice(_words(), _T5_WORDS)]
    return Pipeline(
        "FluxPipeline",
        {
            "scheduler": scheduler(configs.FLOW_MATCH),
            "text_encoder": text_encoder(_clip_l(clip_vocabulary(merges))),
            "text_encoder_2": text_encoder(_T5),
            "tokenizer": tokenizer("CLIPTokenizer", clip_tokenizer(merges)),
            "tokenizer_2": tokenizer("T5TokenizerFast", t5_tokenizer(words)),
            "transformer": model(_FLUX),
            "vae": model(_VAE_16),
        },
    )


def _write(pipeline: Pipeline, root: Path, *, float_type: FloatType, shards: dict[str, int]) -> None:
    write_small_files(pipeline, root)
    for name, component in pipeline.components.items():
        if component.tensors:
            _write_weights(component, root / name, float_type, shards.get(name, 1))


def _write_weights(component: Component, folder: Path, float_type: FloatType, count: int) -> None:
    stem = component.weights_stem
    if count == 1:
        _write_hollow(folder / f"{stem}.safetensors", component.tensors, float_type)
        return
    parts = split_tensors(component.tensors, count)
    for number, part in enumerate(parts, start=1):
        _write_hollow(folder / shard_name(stem, number, count), part, float_type)
    (folder / f"{stem}.safetensors.index.json").write_text(shard_index(stem, parts, float_type), encoding="utf-8")


def _write_hollow(path: Path, tensors: Tensors, float_type: FloatType) -> None:
    header = safetensors_header(tensors, float_type)
    data = sum(map(math.prod, tensors.values())) * ITEM_BYTES[float_type]
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + data)


def _merges() -> Iterator[str]:
    """Letters into words of two, those into words of three, and so on: both halves of each are there already."""
    for length in (1, 2, 3):
        for letters in itertools.product(string.ascii_lowercase, repeat=length):
            for letter in string.ascii_lowercase:
                yield f"{''.join(letters)} {letter}"
                yield f"{''.join(letters)} {letter}</w>"


def _words() -> Iterator[tuple[str, ...]]:
    for length in (1, 2, 3, 4):
        yield from itertools.product(string.ascii_lowercase, repeat=length)


def _clip_l(vocabulary: dict[str, int]) -> dict[str, Any]:
    config = configs.clip("CLIPTextModel", vocabulary)
    size = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
    return {**config, **size, "projection_dim": 768}


def _clip_g(vocabulary: dict[str, int]) -> dict[str, Any]:
    config = configs.clip("CLIPTextModelWithProjection", vocabulary, activation="gelu")
    size = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 20, "num_hidden_layers": 32}
    return {**config, **size, "projection_dim": 1280}


_T5 = {**configs.t5(32_128), "d_ff": 10240, "d_kv": 64, "d_model": 4096, "num_heads": 64, "num_layers": 24}

_UNET = {
    **configs.UNET_XL,
    "addition_time_embed_dim": 256,
    "attention_head_dim": (5, 10, 20),
    "block_out_channels": (320, 640, 1280),
    "cross_attention_dim": 2048,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
    "transformer_layers_per_block": (1, 2, 10),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}

_VAE = {
    **configs.VAE_EIGHTH,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
}
_VAE_16 = {
    **_VAE,
    "latent_channels": 16,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "use_post_quant_conv": False,
    "use_quant_conv": False,
}

_FLUX = {
    **configs.FLUX,
    "attention_head_dim": 128,
    "axes_dims_rope": (16, 56, 56),
    "in_channels": 64,
    "joint_attention_dim": 4096,
    "num_attention_heads": 24,
    "num_layers": 19,
    "num_single_layers": 38,
    "pooled_projection_dim": 768,
}
