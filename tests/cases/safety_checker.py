"""Adds a safety checker to a bundle of Stable Diffusion, as published ones have; the demo's bundles do without."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from pumas_agent.demo.bundles.configs import CLIP_IMAGES
from pumas_agent.demo.bundles.safetensors import write_safetensors
from pumas_agent.demo.bundles.shapes import Named, affine, affines, norm
from tests.cases.change import set_keys
from tests.cases.tensors import altered, edit_tensors

_WIDTH, _INNER, _LAYERS, _PATCH, _PROJECTED = 16, 32, 2, 16, 16
_SIDE: Final = CLIP_IMAGES["crop_size"]["height"]
_CONFIG: Final[dict[str, Any]] = {
    "architectures": ["StableDiffusionSafetyChecker"],
    "model_type": "clip",
    "projection_dim": _PROJECTED,
    "text_config": {"model_type": "clip_text_model"},
    "torch_dtype": "float32",
    "vision_config": {
        "hidden_act": "quick_gelu",
        "hidden_size": _WIDTH,
        "image_size": _SIDE,
        "intermediate_size": _INNER,
        "model_type": "clip_vision_model",
        "num_attention_heads": 2,
        "num_channels": 3,
        "num_hidden_layers": _LAYERS,
        "patch_size": _PATCH,
    },
}
_ONE: Final = {"F32": b"\0\0\x80\x3f", "F16": b"\0\x3c"}


def add_safety_checker(root: Path, *, file: str, float_type: Literal["F32", "F16"] = "F32") -> None:
    """Write the component, its weights into `file`; it blackens no picture, so that pictures can be compared.

    Raises:
        OSError: the disk does not take it.
    """
    folder = root / "safety_checker"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(_CONFIG, indent=2), encoding="utf-8")
    write_safetensors(folder / file, dict(_tensors()), seed="safety_checker", float_type=float_type)
    for name in ("concept_embeds_weights", "special_care_embeds_weights"):  # of cosines, none of which is above one
        ones = altered(name, lambda tensor: replace(tensor, data=_ONE[float_type] * tensor.shape[0]))
        edit_tensors(f"safety_checker/{file}", ones)(root)
    entry = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    set_keys("model_index.json", {"safety_checker": entry, "requires_safety_checker": True})(root)


def _tensors() -> Named:
    """Those of `StableDiffusionSafetyChecker`, under the names that published files have: one prefix is there twice."""
    yield "concept_embeds", (17, _PROJECTED)
    yield "concept_embeds_weights", (17,)
    yield "special_care_embeds", (3, _PROJECTED)
    yield "special_care_embeds_weights", (3,)
    yield from affine("visual_projection", _WIDTH, _PROJECTED, bias=False)
    model = "vision_model.vision_model"
    yield f"{model}.embeddings.class_embedding", (_WIDTH,)
    yield f"{model}.embeddings.patch_embedding.weight", (_WIDTH, 3, _PATCH, _PATCH)
    yield f"{model}.embeddings.position_embedding.weight", ((_SIDE // _PATCH) ** 2 + 1, _WIDTH)
    yield from norm(f"{model}.pre_layrnorm", _WIDTH)  # as it is spelled
    for number in range(_LAYERS):
        layer = f"{model}.encoder.layers.{number}"
        parts = ("q_proj", "k_proj", "v_proj", "out_proj")
        yield from affines((f"{layer}.self_attn.{part}" for part in parts), _WIDTH, _WIDTH)
        yield from norm(f"{layer}.layer_norm1", _WIDTH)
        yield from norm(f"{layer}.layer_norm2", _WIDTH)
        yield from affine(f"{layer}.mlp.fc1", _WIDTH, _INNER)
        yield from affine(f"{layer}.mlp.fc2", _INNER, _WIDTH)
    yield from norm(f"{model}.post_layernorm", _WIDTH)
