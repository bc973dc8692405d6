"""Owns the tensors of `T5EncoderModel`, as transformers 5 builds it from a config."""

from collections.abc import Iterator, Mapping
from typing import Any

from pumas_agent.bundles.weights.config import ModelConfig, NotKnown
from pumas_agent.bundles.weights.layers import Expected, Layers, flat, weight

DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 32128,
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 6,
    "num_heads": 8,
    "relative_attention_num_buckets": 32,
    "feed_forward_proj": "relu",
}
"""`T5Config`."""
_OTHER_NAMES = ("hidden_size", "num_attention_heads", "num_hidden_layers", "head_dim")
"""By which the config can say the same (`T5Config.attribute_map`)."""


def canonical(name: str) -> str:
    """Transformers takes either name of the embedding, and names with its own prefix."""
    bare = name.removeprefix("transformer.")
    return "shared.weight" if bare == "encoder.embed_tokens.weight" else bare


def t5_encoder_model(config: ModelConfig) -> Iterator[Expected]:
    """`T5EncoderModel`; its embedding as `shared`, of which `encoder.embed_tokens` is another name."""
    return flat(_t5(config))


def _t5(config: ModelConfig) -> Iterator[Layers]:
    config.require(is_decoder=False, **dict.fromkeys(_OTHER_NAMES))
    size, heads, inner = config.natural("d_model"), config.natural("num_heads"), config.natural("d_ff")
    width = heads * config.natural("d_kv")
    activation = config.value("feed_forward_proj")
    if not isinstance(activation, str):
        raise NotKnown("feed_forward_proj")
    entries = ("wi_0", "wi_1") if activation.startswith("gated-") else ("wi",)
    yield weight("shared", config.natural("vocab_size"), size)
    buckets = config.natural("relative_attention_num_buckets")
    for number in range(config.natural("num_layers")):
        block = f"encoder.block.{number}.layer"
        yield [
            *(tensor for part in "qkv" for tensor in weight(f"{block}.0.SelfAttention.{part}", width, size)),
            *weight(f"{block}.0.SelfAttention.o", size, width),
            *(weight(f"{block}.0.SelfAttention.relative_attention_bias", buckets, heads) if number == 0 else ()),
            *weight(f"{block}.0.layer_norm", size),
            *(tensor for part in entries for tensor in weight(f"{block}.1.DenseReluDense.{part}", inner, size)),
            *weight(f"{block}.1.DenseReluDense.wo", size, inner),
            *weight(f"{block}.1.layer_norm", size),
        ]
    yield weight("encoder.final_layer_norm", size)
