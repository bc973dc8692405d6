"""Owns the tensors of the layers that models are made of: their names and shapes, as torch stores them."""

from collections.abc import Iterable, Iterator

Shape = tuple[int, ...]
Expected = tuple[str, Shape]
"""A tensor that a model needs."""
Layers = list[Expected]
"""Those of one block."""


def linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Layers:
    """`torch.nn.Linear`."""
    weight = (f"{name}.weight", (outputs, inputs))
    return [weight, (f"{name}.bias", (outputs,))] if bias else [weight]


def conv(name: str, inputs: int, outputs: int, kernel: int = 3) -> Layers:
    """`torch.nn.Conv2d` with a square kernel."""
    return [(f"{name}.weight", (outputs, inputs, kernel, kernel)), (f"{name}.bias", (outputs,))]


def norm(name: str, size: int) -> Layers:
    """`torch.nn.LayerNorm` or `GroupNorm` with weights of its own."""
    return [(f"{name}.weight", (size,)), (f"{name}.bias", (size,))]


def weight(name: str, *shape: int) -> Layers:
    """A lone weight: an embedding, or a norm without bias."""
    return [(f"{name}.weight", shape)]


def two_linears(name: str, inputs: int, size: int) -> Layers:
    """The embeddings of diffusers: `linear_1` and `linear_2` (`TimestepEmbedding`, `PixArtAlphaTextProjection`)."""
    return [*linear(f"{name}.linear_1", inputs, size), *linear(f"{name}.linear_2", size, size)]


def feed_forward(name: str, size: int, *, gated: bool = False) -> Layers:
    """`FeedForward` of diffusers, four times as wide inside; twice that for GEGLU."""
    inner = 4 * size
    return [*linear(f"{name}.net.0.proj", size, inner * (2 if gated else 1)), *linear(f"{name}.net.2", inner, size)]


def attention(name: str, size: int, source: int, *, bias: bool = False) -> Layers:
    """`Attention` of diffusers: queries of `size`, keys and values made from `source`."""
    return [
        *linear(f"{name}.to_q", size, size, bias=bias),
        *linear(f"{name}.to_k", source, size, bias=bias),
        *linear(f"{name}.to_v", source, size, bias=bias),
        *linear(f"{name}.to_out.0", size, size),
    ]


def resnet(name: str, inputs: int, outputs: int, time: int | None, *, scale_shift: bool = False) -> Layers:
    """`ResnetBlock2D` of diffusers, with a time embedding of `time` numbers, which gives a shift or a scale too."""
    given = outputs * 2 if scale_shift else outputs
    return [
        *norm(f"{name}.norm1", inputs),
        *conv(f"{name}.conv1", inputs, outputs),
        *(linear(f"{name}.time_emb_proj", time, given) if time is not None else ()),
        *norm(f"{name}.norm2", outputs),
        *conv(f"{name}.conv2", outputs, outputs),
        *(conv(f"{name}.conv_shortcut", inputs, outputs, 1) if inputs != outputs else ()),
    ]


def flat(blocks: Iterable[Layers]) -> Iterator[Expected]:
    """The tensors of the blocks, each block made only when it is asked for."""
    for block in blocks:
        yield from block
