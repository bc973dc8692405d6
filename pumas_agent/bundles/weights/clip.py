"""Owns the tensors of the models made of CLIP: text encoders, image encoder and safety checker, as transformers 5
builds them from a config.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pumas_agent.bundles.weights.config import ModelConfig, NotKnown
from pumas_agent.bundles.weights.layers import Expected, Layers, flat, linear, norm, weight

TEXT_DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "projection_dim": 512,
    "num_hidden_layers": 12,
    "max_position_embeddings": 77,
}
"""`CLIPTextConfig`."""

VISION_DEFAULTS: Mapping[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "projection_dim": 512,
    "num_hidden_layers": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
}
"""`CLIPVisionConfig`."""

SAFETY_DEFAULTS: Mapping[str, Any] = {"projection_dim": 512}
"""`CLIPConfig`."""

_CONCEPTS, _SPECIAL_CONCEPTS = 17, 3
"""That the safety checker compares pictures with."""


def text_canonical(name: str) -> str:
    """Transformers reads names with and without the prefix, even together."""
    return name.removeprefix("text_model.")


def vision_canonical(name: str) -> str:
    """Likewise."""
    return name.removeprefix("vision_model.")


def safety_canonical(name: str) -> str:
    """Files of the safety checker from before transformers 5 have the prefix of its image encoder twice."""
    return name.removeprefix("vision_model.") if name.startswith("vision_model.vision_model.") else name


def text_model(config: ModelConfig) -> Iterator[Expected]:
    """`CLIPTextModel`, without the prefix `text_model.` that files may have."""
    return flat(_text(config.part("text_config", TEXT_DEFAULTS) or config))


def text_model_with_projection(config: ModelConfig) -> Iterator[Expected]:
    """`CLIPTextModelWithProjection`, likewise."""
    config = config.part("text_config", TEXT_DEFAULTS) or config
    yield from weight("text_projection", config.natural("projection_dim"), config.natural("hidden_size"))
    yield from flat(_text(config))


def vision_model_with_projection(config: ModelConfig) -> Iterator[Expected]:
    """`CLIPVisionModelWithProjection`, without the prefix `vision_model.`."""
    config = config.part("vision_config", VISION_DEFAULTS) or config
    yield from weight("visual_projection", config.natural("projection_dim"), config.natural("hidden_size"))
    yield from flat(_vision(config))


def safety_checker(config: ModelConfig) -> Iterator[Expected]:
    """`StableDiffusionSafetyChecker` of diffusers."""
    # what `vision_config_dict` says, and the defaults for what it does not, replaces all of vision_config
    vision = (
        config.part("vision_config_dict", VISION_DEFAULTS)
        or config.part("vision_config", VISION_DEFAULTS)
        or ModelConfig({}, VISION_DEFAULTS)
    )
    size = config.natural("projection_dim")
    yield from weight("visual_projection", size, vision.natural("hidden_size"))
    yield "concept_embeds", (_CONCEPTS, size)
    yield "concept_embeds_weights", (_CONCEPTS,)
    yield "special_care_embeds", (_SPECIAL_CONCEPTS, size)
    yield "special_care_embeds_weights", (_SPECIAL_CONCEPTS,)
    for name, shape in flat(_vision(vision)):
        yield f"vision_model.{name}", shape


def _text(config: ModelConfig) -> Iterator[Layers]:
    size = config.natural("hidden_size")
    yield weight("embeddings.token_embedding", config.natural("vocab_size"), size)
    yield weight("embeddings.position_embedding", config.natural("max_position_embeddings"), size)
    yield from _encoder(config)
    yield norm("final_layer_norm", size)


def _vision(config: ModelConfig) -> Iterator[Layers]:
    size, patch = config.natural("hidden_size"), config.natural("patch_size")
    if not patch:
        raise NotKnown("patch_size")
    patches = (config.natural("image_size") // patch) ** 2
    yield [("embeddings.class_embedding", (size,))]
    yield weight("embeddings.patch_embedding", size, config.natural("num_channels"), patch, patch)
    yield weight("embeddings.position_embedding", patches + 1, size)
    yield norm("pre_layrnorm", size)  # as it is spelled
    yield from _encoder(config)
    yield norm("post_layernorm", size)


def _encoder(config: ModelConfig) -> Iterator[Layers]:
    size, inner = config.natural("hidden_size"), config.natural("intermediate_size")
    for number in range(config.natural("num_hidden_layers")):
        layer = f"encoder.layers.{number}"
        attention = f"{layer}.self_attn"
        yield [
            *norm(f"{layer}.layer_norm1", size),
            *(tensor for part in ("q", "k", "v", "out") for tensor in linear(f"{attention}.{part}_proj", size, size)),
            *norm(f"{layer}.layer_norm2", size),
            *linear(f"{layer}.mlp.fc1", size, inner),
            *linear(f"{layer}.mlp.fc2", inner, size),
        ]
