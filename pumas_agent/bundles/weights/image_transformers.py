"""Owns the tensors of the transformers that draw: Flux, Stable Diffusion 3, PixArt, as diffusers 0.42 builds them."""

from collections.abc import Iterator, Mapping
from typing import Any

from pumas_agent.bundles.findings import shown
from pumas_agent.bundles.weights.config import Misfit, ModelConfig, NotKnown
from pumas_agent.bundles.weights.layers import (
    Expected,
    Layers,
    attention,
    conv,
    feed_forward,
    flat,
    linear,
    norm,
    two_linears,
    weight,
)

FLUX_DEFAULTS: Mapping[str, Any] = {
    "patch_size": 1,
    "in_channels": 64,
    "out_channels": None,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": False,
    "axes_dims_rope": (16, 56, 56),
}
SD3_DEFAULTS: Mapping[str, Any] = {
    "patch_size": 2,
    "in_channels": 16,
    "num_layers": 18,
    "attention_head_dim": 64,
    "num_attention_heads": 18,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1152,
    "pooled_projection_dim": 2048,
    "out_channels": 16,
    "pos_embed_max_size": 96,
    "dual_attention_layers": [],
    "qk_norm": None,
    "sample_size": 128,
}
PIXART_DEFAULTS: Mapping[str, Any] = {
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 28,
    "cross_attention_dim": 1152,
    "attention_bias": True,
    "sample_size": 128,
    "patch_size": 2,
    "use_additional_conditions": None,
    "norm_type": "ada_norm_single",
    "caption_channels": None,
    "norm_elementwise_affine": False,
}
_NORMS = ("layer_norm", "fp32_layer_norm", "layer_norm_across_heads", "rms_norm", "rms_norm_across_heads", "l2")
"""Of queries and keys (diffusers: `Attention`)."""
_TIMES = 256
"""Numbers that a time is spread over before it is embedded."""
_QUERIES = ("to_q", "to_k", "to_v")
_ADDED_QUERIES = ("add_q_proj", "add_k_proj", "add_v_proj")
_ADDITIONAL_CONDITIONS_SIZE = 128
"""The `sample_size` from which PixArt is told the size of the picture (`PixArtTransformer2DModel`)."""


def flux_transformer_2d_model(config: ModelConfig) -> Iterator[Expected]:
    """All tensors of `FluxTransformer2DModel`."""
    return flat(_flux(config))


def sd3_transformer_2d_model(config: ModelConfig) -> Iterator[Expected]:
    """All tensors of `SD3Transformer2DModel`."""
    return flat(_sd3(config))


def pixart_transformer_2d_model(config: ModelConfig) -> Iterator[Expected]:
    """All tensors of `PixArtTransformer2DModel`."""
    return flat(_pixart(config))


def _flux(config: ModelConfig) -> Iterator[Layers]:
    head = config.natural("attention_head_dim")
    size = config.natural("num_attention_heads") * head
    inputs = config.natural("in_channels")
    outputs = config.natural("patch_size") ** 2 * (config.optional("out_channels") or inputs)
    if sum(config.naturals("axes_dims_rope")) != head:
        raise Misfit("axes_dims_rope does not add up to attention_head_dim")
    yield linear("x_embedder", inputs, size)
    yield linear("proj_out", size, outputs)
    yield linear("context_embedder", config.natural("joint_attention_dim"), size)
    yield two_linears("time_text_embed.timestep_embedder", _TIMES, size)
    if config.flag("guidance_embeds"):
        yield two_linears("time_text_embed.guidance_embedder", _TIMES, size)
    yield two_linears("time_text_embed.text_embedder", config.natural("pooled_projection_dim"), size)
    yield linear("norm_out.linear", size, 2 * size)
    for number in range(config.natural("num_layers")):
        block = f"transformer_blocks.{number}"
        yield [
            *linear(f"{block}.norm1.linear", size, 6 * size),
            *linear(f"{block}.norm1_context.linear", size, 6 * size),
            *_joint_attention(f"{block}.attn", size, head),
            *linear(f"{block}.attn.to_add_out", size, size),
            *feed_forward(f"{block}.ff", size),
            *feed_forward(f"{block}.ff_context", size),
        ]
    for number in range(config.natural("num_single_layers")):
        block = f"single_transformer_blocks.{number}"
        yield [
            *linear(f"{block}.norm.linear", size, 3 * size),
            *linear(f"{block}.proj_mlp", size, 4 * size),
            *linear(f"{block}.proj_out", 5 * size, size),
            *_projections(f"{block}.attn", _QUERIES, size),
            *weight(f"{block}.attn.norm_q", head),
            *weight(f"{block}.attn.norm_k", head),
        ]


def _sd3(config: ModelConfig) -> Iterator[Layers]:
    head = config.natural("attention_head_dim")
    size = config.natural("num_attention_heads") * head
    inputs, patch = config.natural("in_channels"), config.natural("patch_size")
    outputs = config.optional("out_channels")
    dual, normed = config.value("dual_attention_layers"), config.value("qk_norm")
    if not isinstance(dual, list) or not all(isinstance(number, int) for number in dual):
        raise NotKnown("dual_attention_layers")
    if normed is not None and normed not in _NORMS:
        raise Misfit(f"qk_norm is {shown(normed)}, which the class does not know")
    if normed not in (None, "rms_norm"):
        raise NotKnown("qk_norm")
    config.natural("sample_size")
    dual = frozenset(dual)
    yield conv("pos_embed.proj", inputs, size, patch)
    yield [("pos_embed.pos_embed", (1, config.natural("pos_embed_max_size") ** 2, size))]
    yield linear("proj_out", size, patch**2 * (inputs if outputs is None else outputs))
    yield linear("context_embedder", config.natural("joint_attention_dim"), config.natural("caption_projection_dim"))
    yield two_linears("time_text_embed.timestep_embedder", _TIMES, size)
    yield two_linears("time_text_embed.text_embedder", config.natural("pooled_projection_dim"), size)
    yield linear("norm_out.linear", size, 2 * size)
    count = config.natural("num_layers")
    for number in range(count):
        last = number == count - 1  # it gives the prompt no further
        yield _sd3_block(f"transformer_blocks.{number}", size, head if normed else None, last=last, dual=number in dual)


def _sd3_block(block: str, size: int, head: int | None, *, last: bool, dual: bool) -> Layers:
    layers = [
        *linear(f"{block}.norm1.linear", size, (9 if dual else 6) * size),
        *linear(f"{block}.norm1_context.linear", size, (2 if last else 6) * size),
        *_joint_attention(f"{block}.attn", size, head),
        *feed_forward(f"{block}.ff", size),
    ]
    if not last:
        layers += [*linear(f"{block}.attn.to_add_out", size, size), *feed_forward(f"{block}.ff_context", size)]
    if dual:
        layers += _projections(f"{block}.attn2", (*_QUERIES, "to_out.0"), size)
        layers += _norms(f"{block}.attn2", ("norm_q", "norm_k"), head)
    return layers


def _pixart(config: ModelConfig) -> Iterator[Layers]:
    if config.value("norm_type") != "ada_norm_single":
        raise Misfit("norm_type is not ada_norm_single, the one that the class knows")
    config.require(attention_type="default")
    config.require(activation_fn="gelu-approximate")
    size = config.natural("num_attention_heads") * config.natural("attention_head_dim")
    inputs, patch = config.natural("in_channels"), config.natural("patch_size")
    outputs = config.optional("out_channels")
    bias = config.flag("attention_bias")
    config.natural("sample_size")
    sized = config.value("use_additional_conditions")
    yield conv("pos_embed.proj", inputs, size, patch)
    yield linear("proj_out", size, patch**2 * (inputs if outputs is None else outputs))
    yield [("scale_shift_table", (2, size))]
    yield two_linears("adaln_single.emb.timestep_embedder", _TIMES, size)
    if config.value("sample_size") == _ADDITIONAL_CONDITIONS_SIZE if sized is None else sized:
        yield two_linears("adaln_single.emb.resolution_embedder", _TIMES, size // 3)
        yield two_linears("adaln_single.emb.aspect_ratio_embedder", _TIMES, size // 3)
    yield linear("adaln_single.linear", size, 6 * size)
    if (caption := config.optional("caption_channels")) is not None:
        yield two_linears("caption_projection", caption, size)
    prompt = config.natural("cross_attention_dim")
    affine = config.flag("norm_elementwise_affine")
    for number in range(config.natural("num_layers")):
        block = f"transformer_blocks.{number}"
        yield [
            (f"{block}.scale_shift_table", (6, size)),
            *(tensor for part in ("norm1", "norm2") if affine for tensor in norm(f"{block}.{part}", size)),
            *attention(f"{block}.attn1", size, size, bias=bias),
            *attention(f"{block}.attn2", size, prompt, bias=bias),
            *feed_forward(f"{block}.ff", size),
        ]


def _joint_attention(name: str, size: int, head: int | None) -> Layers:
    """Picture and prompt attend to each other; `head` is the size of a head where queries and keys are normed."""
    norms = ("norm_q", "norm_k", "norm_added_q", "norm_added_k")
    return [*_projections(name, (*_QUERIES, *_ADDED_QUERIES, "to_out.0"), size), *_norms(name, norms, head)]


def _projections(name: str, parts: tuple[str, ...], size: int) -> Layers:
    return [tensor for part in parts for tensor in linear(f"{name}.{part}", size, size)]


def _norms(name: str, parts: tuple[str, ...], head: int | None) -> Layers:
    return [] if head is None else [tensor for part in parts for tensor in weight(f"{name}.{part}", head)]
