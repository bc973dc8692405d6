"""Owns the demo bundle: a small but whole Stable Diffusion pipeline directory, written without torch.

Every file that diffusers asks for is there and fits the others; the weights are noise, so what it draws is noise too.
"""

import json
from pathlib import Path
from typing import Any

from pumas_agent.demo.weights import clip_text_tensors, unet_tensors, vae_tensors, write_safetensors

_CHANNELS = (4, 8)
_LATENT = 4
_TEXT_WIDTH = 16
_TEXT_INNER = 32
_TEXT_LAYERS = 2
_POSITIONS = 77
_GROUPS = 2
_VERSION = "0.30.0"
_START, _END = "<|startoftext|>", "<|endoftext|>"
_MERGES = ("t h", "th e</w>", "c a", "ca t</w>", "d o", "do g</w>")

MODEL_INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": _VERSION,
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def write_stable_diffusion_bundle(root: Path, *, seed: int = 0) -> None:
    """Write the bundle below `root`, which is created when absent.

    The same seed gives the same bytes; another one gives another fine-tune: the same files with other tensor data.

    Raises:
        OSError: the disk does not take it.
    """
    for name, value in MODEL_INDEX.items():
        if isinstance(value, list) and value[0] is not None:
            (root / name).mkdir(parents=True, exist_ok=True)
    vocabulary = _vocabulary()
    _write_json(root / "model_index.json", MODEL_INDEX)
    _write_json(root / "feature_extractor" / "preprocessor_config.json", _PREPROCESSOR)
    _write_json(root / "scheduler" / "scheduler_config.json", _SCHEDULER)
    _write_tokenizer(root / "tokenizer", vocabulary)
    _write_json(root / "text_encoder" / "config.json", _text_encoder_config(vocabulary))
    _write_json(root / "unet" / "config.json", _UNET)
    _write_json(root / "vae" / "config.json", _VAE)
    write_safetensors(
        root / "text_encoder" / "model.safetensors",
        clip_text_tensors(
            vocab=len(vocabulary), positions=_POSITIONS, width=_TEXT_WIDTH, inner=_TEXT_INNER, layers=_TEXT_LAYERS
        ),
        seed=f"text_encoder/{seed}",
    )
    write_safetensors(
        root / "unet" / "diffusion_pytorch_model.safetensors",
        unet_tensors(channels=_CHANNELS, latent=_LATENT, text_width=_TEXT_WIDTH),
        seed=f"unet/{seed}",
    )
    write_safetensors(
        root / "vae" / "diffusion_pytorch_model.safetensors",
        vae_tensors(channels=_CHANNELS, image=3, latent=_LATENT),
        seed=f"vae/{seed}",
    )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_tokenizer(folder: Path, vocabulary: dict[str, int]) -> None:
    special = {"bos_token": _START, "eos_token": _END, "pad_token": _END, "unk_token": _END}
    _write_json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("\n".join(("#version: 0.2", *_MERGES)) + "\n", encoding="utf-8")
    _write_json(folder / "special_tokens_map.json", special)
    _write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "do_lower_case": True,
            "errors": "replace",
            "model_max_length": _POSITIONS,
            "tokenizer_class": "CLIPTokenizer",
            **special,
        },
    )


def _vocabulary() -> dict[str, int]:
    """CLIP's kind of vocabulary: every byte as a printable character, each also at a word's end, merges, two marks."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    symbols = [chr(code) for code in printable] + [chr(256 + offset) for offset in range(256 - len(printable))]
    merged = [merge.replace(" ", "") for merge in _MERGES]
    words = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *merged, _START, _END]
    return {word: number for number, word in enumerate(words)}


def _text_encoder_config(vocabulary: dict[str, int]) -> dict[str, Any]:
    return {
        "architectures": ["CLIPTextModel"],
        "attention_dropout": 0.0,
        "bos_token_id": vocabulary[_START],
        "eos_token_id": vocabulary[_END],
        "hidden_act": "quick_gelu",
        "hidden_size": _TEXT_WIDTH,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": _TEXT_INNER,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": _POSITIONS,
        "model_type": "clip_text_model",
        "num_attention_heads": 2,
        "num_hidden_layers": _TEXT_LAYERS,
        "pad_token_id": vocabulary[_END],
        "projection_dim": _TEXT_WIDTH,
        "torch_dtype": "float32",
        "vocab_size": len(vocabulary),
    }


_UNET: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": _VERSION,
    "act_fn": "silu",
    "attention_head_dim": 2,
    "block_out_channels": _CHANNELS,
    "center_input_sample": False,
    "cross_attention_dim": _TEXT_WIDTH,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": _LATENT,
    "layers_per_block": 1,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": _GROUPS,
    "out_channels": _LATENT,
    "sample_size": 16,
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}

_VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": _VERSION,
    "act_fn": "silu",
    "block_out_channels": _CHANNELS,
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    "in_channels": 3,
    "latent_channels": _LATENT,
    "layers_per_block": 1,
    "norm_num_groups": _GROUPS,
    "out_channels": 3,
    "sample_size": 32,
    "scaling_factor": 0.18215,
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
}

_SCHEDULER: dict[str, Any] = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": _VERSION,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "trained_betas": None,
}

_PREPROCESSOR: dict[str, Any] = {
    "crop_size": {"height": 32, "width": 32},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 32},
}
