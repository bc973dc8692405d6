"""Owns the tensors of the demo bundle: their names and shapes, and how a safetensors file is written.

Names and shapes are those that diffusers and transformers give to models of these configs. Never uses torch.
"""

import hashlib
import itertools
import json
import math
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

Shape = tuple[int, ...]
Tensors = dict[str, Shape]
Named = Iterator[tuple[str, Shape]]


def write_safetensors(path: Path, tensors: Tensors, *, seed: str) -> None:
    """Write small values that depend on `seed` and each tensor's name alone; norms are ones, as after no training.

    The format: header length as u64 LE, JSON header padded with spaces to a multiple of 8, then the data as F32.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = bytearray()
    for name, shape in sorted(tensors.items()):
        begin = len(data)
        data += _values(name, math.prod(shape), seed)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def _values(name: str, count: int, seed: str) -> bytes:
    if "norm" in name:
        return struct.pack(f"<{count}f", *itertools.repeat(float(name.endswith(".weight")), count))
    noise = struct.unpack(f"<{count}h", hashlib.shake_256(f"{seed}/{name}".encode()).digest(2 * count))
    return struct.pack(f"<{count}f", *(value / 2**20 for value in noise))


def clip_text_tensors(*, vocab: int, positions: int, width: int, inner: int, layers: int) -> Tensors:
    """Of a CLIPTextModel."""

    def tensors() -> Named:
        yield "embeddings.token_embedding.weight", (vocab, width)
        yield "embeddings.position_embedding.weight", (positions, width)
        for layer in range(layers):
            at = f"encoder.layers.{layer}"
            for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
                yield from _affine(f"{at}.self_attn.{projection}", (width, width))
            yield from _norms(width, f"{at}.layer_norm1", f"{at}.layer_norm2")
            yield from _affine(f"{at}.mlp.fc1", (inner, width))
            yield from _affine(f"{at}.mlp.fc2", (width, inner))
        yield from _norms(width, "final_layer_norm")

    return {f"text_model.{name}": shape for name, shape in tensors()}


def unet_tensors(*, channels: tuple[int, int], latent: int, text_width: int) -> Tensors:
    """Of a UNet2DConditionModel of two blocks with one layer each, the outer one with cross attention."""
    outer, inner = channels
    time = 4 * outer

    def tensors() -> Named:
        yield from _conv("conv_in", latent, outer)
        yield from _affine("time_embedding.linear_1", (time, outer))
        yield from _affine("time_embedding.linear_2", (time, time))
        yield from _resnet("down_blocks.0.resnets.0", outer, outer, time)
        yield from _transformer("down_blocks.0.attentions.0", outer, text_width)
        yield from _conv("down_blocks.0.downsamplers.0.conv", outer, outer)
        yield from _resnet("down_blocks.1.resnets.0", outer, inner, time)
        yield from _resnet("mid_block.resnets.0", inner, inner, time)
        yield from _transformer("mid_block.attentions.0", inner, text_width)
        yield from _resnet("mid_block.resnets.1", inner, inner, time)
        # Each layer on the way up also takes what a layer on the way down gave, the last first.
        yield from _resnet("up_blocks.0.resnets.0", inner + inner, inner, time)
        yield from _resnet("up_blocks.0.resnets.1", inner + outer, inner, time)
        yield from _conv("up_blocks.0.upsamplers.0.conv", inner, inner)
        yield from _resnet("up_blocks.1.resnets.0", inner + outer, outer, time)
        yield from _transformer("up_blocks.1.attentions.0", outer, text_width)
        yield from _resnet("up_blocks.1.resnets.1", outer + outer, outer, time)
        yield from _transformer("up_blocks.1.attentions.1", outer, text_width)
        yield from _norms(outer, "conv_norm_out")
        yield from _conv("conv_out", outer, latent)

    return dict(tensors())


def vae_tensors(*, channels: tuple[int, int], image: int, latent: int) -> Tensors:
    """Of an AutoencoderKL of two blocks with one layer each."""
    outer, inner = channels

    def tensors() -> Named:
        yield from _conv("encoder.conv_in", image, outer)
        yield from _resnet("encoder.down_blocks.0.resnets.0", outer, outer)
        yield from _conv("encoder.down_blocks.0.downsamplers.0.conv", outer, outer)
        yield from _resnet("encoder.down_blocks.1.resnets.0", outer, inner)
        yield from _vae_middle("encoder.mid_block", inner)
        yield from _norms(inner, "encoder.conv_norm_out")
        yield from _conv("encoder.conv_out", inner, 2 * latent)  # a mean and a variance
        yield from _conv("quant_conv", 2 * latent, 2 * latent, kernel=1)
        yield from _conv("post_quant_conv", latent, latent, kernel=1)
        yield from _conv("decoder.conv_in", latent, inner)
        yield from _vae_middle("decoder.mid_block", inner)
        yield from _resnet("decoder.up_blocks.0.resnets.0", inner, inner)
        yield from _resnet("decoder.up_blocks.0.resnets.1", inner, inner)
        yield from _conv("decoder.up_blocks.0.upsamplers.0.conv", inner, inner)
        yield from _resnet("decoder.up_blocks.1.resnets.0", inner, outer)
        yield from _resnet("decoder.up_blocks.1.resnets.1", outer, outer)
        yield from _norms(outer, "decoder.conv_norm_out")
        yield from _conv("decoder.conv_out", outer, image)

    return dict(tensors())


def _affine(name: str, shape: Shape) -> Named:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _conv(name: str, before: int, after: int, *, kernel: int = 3) -> Named:
    return _affine(name, (after, before, kernel, kernel))


def _norms(width: int, *names: str) -> Named:
    for name in names:
        yield from _affine(name, (width,))


def _resnet(name: str, before: int, after: int, time: int | None = None) -> Named:
    yield from _norms(before, f"{name}.norm1")
    yield from _conv(f"{name}.conv1", before, after)
    if time is not None:
        yield from _affine(f"{name}.time_emb_proj", (after, time))
    yield from _norms(after, f"{name}.norm2")
    yield from _conv(f"{name}.conv2", after, after)
    if before != after:
        yield from _conv(f"{name}.conv_shortcut", before, after, kernel=1)


def _transformer(name: str, width: int, text_width: int) -> Named:
    block = f"{name}.transformer_blocks.0"
    yield from _norms(width, f"{name}.norm", f"{block}.norm1", f"{block}.norm2", f"{block}.norm3")
    yield from _conv(f"{name}.proj_in", width, width, kernel=1)
    for attention, context in (("attn1", width), ("attn2", text_width)):
        yield f"{block}.{attention}.to_q.weight", (width, width)
        yield f"{block}.{attention}.to_k.weight", (width, context)
        yield f"{block}.{attention}.to_v.weight", (width, context)
        yield from _affine(f"{block}.{attention}.to_out.0", (width, width))
    yield from _affine(f"{block}.ff.net.0.proj", (8 * width, width))
    yield from _affine(f"{block}.ff.net.2", (width, 4 * width))
    yield from _conv(f"{name}.proj_out", width, width, kernel=1)


def _vae_middle(name: str, width: int) -> Named:
    yield from _resnet(f"{name}.resnets.0", width, width)
    yield from _norms(width, f"{name}.attentions.0.group_norm")
    yield from _projections(f"{name}.attentions.0", ("to_q", "to_k", "to_v", "to_out.0"), width)
    yield from _resnet(f"{name}.resnets.1", width, width)


def _projections(name: str, parts: Iterable[str], width: int) -> Named:
    for part in parts:
        yield from _affine(f"{name}.{part}", (width, width))
