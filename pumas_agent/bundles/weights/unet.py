"""Owns the tensors of `UNet2DConditionModel`, as diffusers 0.42 builds it from a config."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pumas_agent.bundles.findings import shown
from pumas_agent.bundles.weights.blocks import require_blocks
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
    resnet,
    two_linears,
    weight,
)

DEFAULTS: Mapping[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "cross_attention_dim": 1280,
    "transformer_layers_per_block": 1,
    "reverse_transformer_layers_per_block": None,
    "norm_num_groups": 32,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "attention_head_dim": 8,
    "only_cross_attention": False,
    "act_fn": "silu",
    "use_linear_projection": False,
    "addition_embed_type": None,
    "time_embedding_dim": None,
    "time_cond_proj_dim": None,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "projection_class_embeddings_input_dim": None,
    "resnet_time_scale_shift": "default",
    "timestep_post_act": None,
    "time_embedding_act_fn": None,
}
_USUAL: Mapping[str, Any] = {
    "mid_block_only_cross_attention": None,
    "dual_cross_attention": False,
    "class_embed_type": None,
    "num_class_embeds": None,
    "class_embeddings_concat": False,
    "time_embedding_type": "positional",
    "attention_type": "default",
    "cross_attention_norm": None,
    "num_attention_heads": None,
}
"""Settings that change which tensors there are, and the values for which it is known here."""
_DOWN = {"DownBlock2D": False, "CrossAttnDownBlock2D": True}
_UP = {"UpBlock2D": False, "CrossAttnUpBlock2D": True}
"""The kinds of blocks that are known here, and whether they attend to the prompt."""
_MIDDLES = ("UNetMidBlock2D", "UNetMidBlock2DCrossAttn", "UNetMidBlock2DSimpleCrossAttn")
_HIDDEN = ("text_proj", "text_image_proj", "image_proj")
_ADDED = ("text", "text_image", "text_time", "image", "image_hint")
"""What the class knows of each; another name ends the loading (diffusers: `UNet2DConditionModel.__init__`)."""


def unet_2d_condition_model(config: ModelConfig) -> Iterator[Expected]:
    """All tensors of `UNet2DConditionModel`.

    Raises:
        NotKnown: the config asks for a kind of block or embedding that is not known here.
        Misfit: no model can be made from it.
    """
    config.require(**_USUAL)
    return flat(_Unet(config).blocks())


class _Unet:
    """The settings, block by block."""

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._channels = config.naturals("block_out_channels")
        count = len(self._channels)
        self._down = _attending(config, "down_block_types", _DOWN, count)
        self._up = _attending(config, "up_block_types", _UP, count)
        self._layers = config.natural_each("layers_per_block", count)
        self._prompt = config.natural_each("cross_attention_dim", count)
        self._linear = config.flag("use_linear_projection")
        self._only_prompt = _flags(config, "only_cross_attention", count)
        config.divides("norm_num_groups", self._channels)
        for key in ("act_fn", "timestep_post_act", "time_embedding_act_fn"):
            if key == "act_fn" or config.value(key) is not None:
                config.activation(key)
        scale_shift = config.value("resnet_time_scale_shift")
        if scale_shift not in ("default", "scale_shift"):
            raise NotKnown("resnet_time_scale_shift")
        self._scale_shift = scale_shift == "scale_shift"
        self._time = config.optional("time_embedding_dim") or self._channels[0] * 4
        if config.value("attention_head_dim") is None:
            raise Misfit("attention_head_dim is null, and num_attention_heads cannot be said")
        self._heads = config.natural_each("attention_head_dim", count)  # the setting is named wrongly in the library
        depths = config.value("transformer_layers_per_block")
        self._depths = [depths] * count if isinstance(depths, int) else depths
        reverse = config.value("reverse_transformer_layers_per_block")
        if isinstance(depths, str | float):
            raise Misfit(f"transformer_layers_per_block is {shown(depths)}, which is no number")
        if not isinstance(self._depths, list) or len(self._depths) != count or not isinstance(reverse, list | None):
            raise NotKnown("transformer_layers_per_block")
        self._up_depths = self._depths[::-1] if reverse is None else reverse
        if len(self._up_depths) < count:
            raise Misfit(f"reverse_transformer_layers_per_block has {len(self._up_depths)} values for {count} blocks")

    def blocks(self) -> Iterator[Layers]:
        config = self._config
        first = self._channels[0]
        yield conv("conv_in", config.natural("in_channels"), first, config.natural("conv_in_kernel"))
        yield conv("conv_out", first, config.natural("out_channels"), config.natural("conv_out_kernel"))
        yield from self._embeddings()
        yield norm("conv_norm_out", first)
        yield from self._down_blocks()
        yield from self._mid_block()
        yield from self._up_blocks()

    def _embeddings(self) -> Iterator[Layers]:
        config = self._config
        first = self._channels[0]
        yield two_linears("time_embedding", first, self._time)
        if (condition := config.optional("time_cond_proj_dim")) is not None:
            yield weight("time_embedding.cond_proj", first, condition)
        kind = config.value("encoder_hid_dim_type")
        if kind is not None and kind not in _HIDDEN:
            raise Misfit(f"encoder_hid_dim_type is {shown(kind)}, which the class does not know")
        hidden = config.optional("encoder_hid_dim")
        if hidden is None and kind is not None:
            raise Misfit(f"encoder_hid_dim_type is {shown(kind)}, and there is no encoder_hid_dim")
        if hidden is not None:
            config.require(encoder_hid_dim_type="text_proj")
            yield linear("encoder_hid_proj", hidden, config.natural("cross_attention_dim"))
        match config.value("addition_embed_type"):
            case "text_time":  # SDXL
                size = config.natural("projection_class_embeddings_input_dim")
                yield two_linears("add_embedding", size, self._time)
            case None:
                pass
            case str(kind) if kind in _ADDED:
                raise NotKnown("addition_embed_type")
            case kind:
                raise Misfit(f"addition_embed_type is {shown(kind)}, which the class does not know")

    def _down_blocks(self) -> Iterator[Layers]:
        inputs = self._channels[0]
        for number, size in enumerate(self._channels):
            block = f"down_blocks.{number}"
            depths = _each(self._depths[number], self._layers[number])
            for layer in range(self._layers[number]):
                yield self._resnet(f"{block}.resnets.{layer}", inputs if layer == 0 else size, size)
                if self._down[number]:
                    name = f"{block}.attentions.{layer}"
                    yield from self._attention(name, number, depths[layer], only_prompt=self._only_prompt[number])
            if number < len(self._channels) - 1:
                yield conv(f"{block}.downsamplers.0.conv", size, size)
            inputs = size

    def _mid_block(self) -> Iterator[Layers]:
        size = self._channels[-1]
        kind = self._config.value("mid_block_type")
        if kind is not None and kind not in _MIDDLES:
            raise Misfit(f"mid_block_type is {shown(kind)}, which is no block of diffusers")
        if kind == "UNetMidBlock2DSimpleCrossAttn":
            raise NotKnown("mid_block_type")
        if kind is not None:
            yield self._resnet("mid_block.resnets.0", size, size)
        if kind == "UNetMidBlock2DCrossAttn":
            yield from self._attention("mid_block.attentions.0", -1, _each(self._depths[-1], 1)[0])
            yield self._resnet("mid_block.resnets.1", size, size)

    def _up_blocks(self) -> Iterator[Layers]:
        count = len(self._channels)
        before = self._channels[-1]
        for number in range(count):
            down = count - 1 - number  # the block whose outputs come in from the side
            size, skipped = self._channels[down], self._channels[max(down - 1, 0)]
            block = f"up_blocks.{number}"
            layers = self._layers[down] + 1
            depths = _each(self._up_depths[number] if number < len(self._up_depths) else None, layers)
            for layer in range(layers):
                inputs = (before if layer == 0 else size) + (skipped if layer == layers - 1 else size)
                yield self._resnet(f"{block}.resnets.{layer}", inputs, size)
                if self._up[number]:
                    name = f"{block}.attentions.{layer}"
                    yield from self._attention(name, down, depths[layer], only_prompt=self._only_prompt[down])
            if number < count - 1:
                yield conv(f"{block}.upsamplers.0.conv", size, size)
            before = size

    def _resnet(self, name: str, inputs: int, size: int) -> Layers:
        return resnet(name, inputs, size, self._time, scale_shift=self._scale_shift)

    def _attention(self, name: str, number: int, depth: int, *, only_prompt: bool = False) -> Iterator[Layers]:
        """`Transformer2DModel`, its heads together as wide as the block; its first attention may be to the prompt."""
        size, prompt, heads = self._channels[number], self._prompt[number], self._heads[number]
        if not heads:
            raise Misfit("attention_head_dim is 0")
        if size % heads:
            raise Misfit(f"attention_head_dim is {heads}, which does not divide {size} channels")
        project = linear if self._linear else _pointwise
        yield norm(f"{name}.norm", size)
        yield project(f"{name}.proj_in", size, size)
        for layer in range(depth):
            block = f"{name}.transformer_blocks.{layer}"
            yield [
                *norm(f"{block}.norm1", size),
                *attention(f"{block}.attn1", size, prompt if only_prompt else size),
                *norm(f"{block}.norm2", size),
                *attention(f"{block}.attn2", size, prompt),
                *norm(f"{block}.norm3", size),
                *feed_forward(f"{block}.ff", size, gated=True),
            ]
        yield project(f"{name}.proj_out", size, size)


def _attending(config: ModelConfig, key: str, known: Mapping[str, bool], count: int) -> Sequence[bool]:
    kinds = config.texts(key)
    if len(kinds) != count:
        raise Misfit(f"{key} has {len(kinds)} values for {count} blocks")
    require_blocks(key, kinds)
    if not known.keys() >= set(kinds):
        raise NotKnown(key)
    return [known[kind] for kind in kinds]


def _flags(config: ModelConfig, key: str, count: int) -> Sequence[bool]:
    """One for all blocks, or one for each."""
    value = config.value(key)
    flags = [value] * count if isinstance(value, bool) else value
    if not isinstance(flags, list) or not all(isinstance(flag, bool) for flag in flags):
        raise NotKnown(key)
    if len(flags) != count:
        raise Misfit(f"{key} has {len(flags)} values for {count} blocks")
    return flags


def _each(depth: Any, count: int) -> Mapping[int, int]:
    """The depth of each attention in a block by its place: one for all, however many the config asks for, or a list."""
    each = depth if isinstance(depth, list) else [depth]
    if not all(isinstance(item, int) and item >= 0 for item in each) or (isinstance(depth, list) and len(each) < count):
        raise NotKnown("transformer_layers_per_block")
    return dict(enumerate(each)) if isinstance(depth, list) else defaultdict(lambda: depth)


def _pointwise(name: str, inputs: int, outputs: int) -> Layers:
    return conv(name, inputs, outputs, 1)
