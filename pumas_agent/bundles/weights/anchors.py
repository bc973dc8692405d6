"""Owns the few tensors that tell whether weights are those of their config, for configs whose other tensors are not
known here: a first and a last layer, in shapes that every model of the class has.
"""

from collections.abc import Iterator, Mapping

from pumas_agent.bundles.weights.config import Misfit, ModelConfig, NotKnown

Anchor = tuple[str, tuple[int | None, ...]]
"""A tensor, and its shape as far as it is known."""

_Size = str | None
"""The key of the config that says it, of a list the first; None for any."""

_ANCHORS: Mapping[str, Mapping[str, tuple[_Size, ...]]] = {
    "AutoencoderKL": {
        "encoder.conv_in.weight": ("block_out_channels", "in_channels", None, None),
        "decoder.conv_out.weight": ("out_channels", None, None, None),
    },
    "FluxTransformer2DModel": {
        "x_embedder.weight": (None, "in_channels"),
        "proj_out.weight": (None, None),
        "context_embedder.weight": (None, "joint_attention_dim"),
    },
    "PixArtTransformer2DModel": {
        "pos_embed.proj.weight": (None, "in_channels", None, None),
        "proj_out.weight": (None, None),
    },
    "SD3Transformer2DModel": {
        "pos_embed.proj.weight": (None, "in_channels", None, None),
        "context_embedder.weight": (None, "joint_attention_dim"),
        "proj_out.weight": (None, None),
    },
    "UNet2DConditionModel": {
        "conv_in.weight": ("block_out_channels", "in_channels", None, None),
        "conv_in.bias": (None,),
        "conv_out.weight": ("out_channels", None, None, None),
        "time_embedding.linear_1.weight": (None, None),
    },
}


def anchors_of(class_name: str, config: ModelConfig) -> Iterator[Anchor]:
    """What every model of the class has; nothing for a class without anchors."""
    for name, sizes in _ANCHORS.get(class_name, {}).items():
        yield name, tuple(_size(config, key) for key in sizes)


def _size(config: ModelConfig, key: _Size) -> int | None:
    if key is None:
        return None
    try:
        return config.naturals(key)[0] if key == "block_out_channels" else config.natural(key)
    except (Misfit, NotKnown):
        return None
