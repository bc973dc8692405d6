"""Owns the tensors of `AutoencoderKL`, as diffusers 0.42 builds it from a config."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pumas_agent.bundles.weights.blocks import require_blocks
from pumas_agent.bundles.weights.config import Misfit, ModelConfig, NotKnown
from pumas_agent.bundles.weights.layers import Expected, Layers, attention, conv, flat, norm, resnet

DEFAULTS: Mapping[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D"],
    "block_out_channels": [64],
    "layers_per_block": 1,
    "act_fn": "silu",
    "latent_channels": 4,
    "norm_num_groups": 32,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "mid_block_add_attention": True,
}

_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def canonical(name: str) -> str:
    """The name of today: files from before diffusers 0.13 call the parts of an attention otherwise.

    The library renames them in a single file (`_fix_state_dict_keys_on_load`), not in shards.
    """
    if ".mid_block.attentions." not in name:
        return name
    block, _, rest = name.rpartition(".")
    block, _, part = block.rpartition(".")
    return f"{block}.{_OLD_NAMES[part]}.{rest}" if part in _OLD_NAMES else name


def is_of_the_encoder(name: str) -> bool:
    """Drawing from text decodes latents and encodes nothing."""
    return name.startswith(("encoder.", "quant_conv."))


def autoencoder_kl(config: ModelConfig) -> Iterator[Expected]:
    """All tensors of `AutoencoderKL`.

    Raises:
        NotKnown: the config asks for a kind of block that is not known here.
        Misfit: no model can be made from it.
    """
    return flat(_autoencoder(config))


def _autoencoder(config: ModelConfig) -> Iterator[Layers]:
    channels = config.naturals("block_out_channels")
    attending = []
    for key, kind in (("up_block_types", "UpDecoderBlock2D"), ("down_block_types", "DownEncoderBlock2D")):
        kinds = config.texts(key)
        require_blocks(key, kinds)
        if len(kinds) != len(channels):
            if key == "down_block_types":  # of the encoder, by which nothing is drawn
                raise NotKnown(key)
            raise Misfit(f"{key} has {len(kinds)} values for {len(channels)} blocks")
        if not {kind, f"Attn{kind}"} >= set(kinds):
            raise NotKnown(key)
        attending.append([name != kind for name in kinds])
    config.divides("norm_num_groups", channels)
    config.activation("act_fn")
    latent = config.natural("latent_channels")
    yield conv("encoder.conv_in", config.natural("in_channels"), channels[0])
    yield conv("decoder.conv_out", channels[0], config.natural("out_channels"))
    yield from _encoder(config, channels, 2 * latent, attending[1])
    yield from _decoder(config, channels, latent, attending[0])
    if config.flag("use_quant_conv"):
        yield conv("quant_conv", 2 * latent, 2 * latent, 1)
    if config.flag("use_post_quant_conv"):
        yield conv("post_quant_conv", latent, latent, 1)


def _encoder(config: ModelConfig, channels: Sequence[int], outputs: int, attending: Sequence[bool]) -> Iterator[Layers]:
    before = channels[0]
    for number, size in enumerate(channels):
        block = f"encoder.down_blocks.{number}"
        for layer in range(config.natural("layers_per_block")):
            yield resnet(f"{block}.resnets.{layer}", before if layer == 0 else size, size, None)
            if attending[number]:
                yield from _attention(f"{block}.attentions.{layer}", size)
        if number < len(channels) - 1:
            yield conv(f"{block}.downsamplers.0.conv", size, size)
        before = size
    yield from _middle("encoder.mid_block", config, before)
    yield norm("encoder.conv_norm_out", before)
    yield conv("encoder.conv_out", before, outputs)


def _decoder(config: ModelConfig, channels: Sequence[int], inputs: int, attending: Sequence[bool]) -> Iterator[Layers]:
    before = channels[-1]
    yield conv("decoder.conv_in", inputs, before)
    yield from _middle("decoder.mid_block", config, before)
    for number, size in enumerate(reversed(channels)):
        block = f"decoder.up_blocks.{number}"
        for layer in range(config.natural("layers_per_block") + 1):
            yield resnet(f"{block}.resnets.{layer}", before if layer == 0 else size, size, None)
            if attending[number]:
                yield from _attention(f"{block}.attentions.{layer}", size)
        if number < len(channels) - 1:
            yield conv(f"{block}.upsamplers.0.conv", size, size)
        before = size
    yield norm("decoder.conv_norm_out", before)


def _middle(name: str, config: ModelConfig, size: int) -> Iterator[Layers]:
    yield resnet(f"{name}.resnets.0", size, size, None)
    if config.flag("mid_block_add_attention"):
        yield from _attention(f"{name}.attentions.0", size)
    yield resnet(f"{name}.resnets.1", size, size, None)


def _attention(name: str, size: int) -> Iterator[Layers]:
    yield norm(f"{name}.group_norm", size)
    yield attention(name, size, size, bias=True)
