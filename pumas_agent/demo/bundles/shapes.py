"""Owns the words in which the models of a bundle are described: names and shapes of tensors, layer by layer.

Knows no model and no file.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Shape = tuple[int, ...]
Tensors = dict[str, Shape]
Named = Iterator[tuple[str, Shape]]
Config = Mapping[str, Any]


def affine(name: str, before: int, after: int, *, bias: bool = True) -> Named:
    """A linear layer: torch keeps its weight as (after, before)."""
    yield f"{name}.weight", (after, before)
    if bias:
        yield f"{name}.bias", (after,)


def affines(names: Iterable[str], before: int, after: int, *, bias: bool = True) -> Named:
    """Linear layers of one shape."""
    for name in names:
        yield from affine(name, before, after, bias=bias)


def conv(name: str, before: int, after: int, *, kernel: int = 3) -> Named:
    """A convolution in two dimensions."""
    yield f"{name}.weight", (after, before, kernel, kernel)
    yield f"{name}.bias", (after,)


def norm(name: str, width: int) -> Named:
    """A layer norm or group norm with a bias."""
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def scale(name: str, width: int) -> Named:
    """A norm without a bias, as RMS norms are."""
    yield f"{name}.weight", (width,)


def feed_forward(name: str, width: int, *, gated: bool = False) -> Named:
    """The one of diffusers' transformer blocks, four times as wide inside; a gate doubles its first layer."""
    yield from affine(f"{name}.net.0.proj", width, 8 * width if gated else 4 * width)
    yield from affine(f"{name}.net.2", 4 * width, width)


def embedder(name: str, before: int, width: int) -> Named:
    """Two linear layers, which turn a time step, a pooled text or a caption into a condition."""
    yield from affine(f"{name}.linear_1", before, width)
    yield from affine(f"{name}.linear_2", width, width)


def resnet(name: str, before: int, after: int, time: int | None = None) -> Named:
    """The residual block of UNets (which are told the time) and of autoencoders (which are not)."""
    yield from norm(f"{name}.norm1", before)
    yield from conv(f"{name}.conv1", before, after)
    if time is not None:
        yield from affine(f"{name}.time_emb_proj", time, after)
    yield from norm(f"{name}.norm2", after)
    yield from conv(f"{name}.conv2", after, after)
    if before != after:
        yield from conv(f"{name}.conv_shortcut", before, after, kernel=1)


def pixel_attention(name: str, width: int) -> Named:
    """Attention among the pixels of a picture, without text."""
    yield from norm(f"{name}.group_norm", width)
    yield from affines((f"{name}.{part}" for part in ("to_q", "to_k", "to_v", "to_out.0")), width, width)
