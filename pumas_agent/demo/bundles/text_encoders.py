"""Owns the tensors of the text encoders: CLIP and T5.

Names and shapes are those that the files of published models have. Never uses torch.
"""

from pumas_agent.demo.bundles.shapes import Config, Named, Tensors, affine, affines, norm, scale


def clip_tensors(config: Config) -> Tensors:
    """Of a CLIPTextModel, or of a CLIPTextModelWithProjection, which has one tensor more."""
    width, inner = config["hidden_size"], config["intermediate_size"]

    def tensors() -> Named:
        yield "text_model.embeddings.token_embedding.weight", (config["vocab_size"], width)
        yield "text_model.embeddings.position_embedding.weight", (config["max_position_embeddings"], width)
        for number in range(config["num_hidden_layers"]):
            layer = f"text_model.encoder.layers.{number}"
            parts = ("q_proj", "k_proj", "v_proj", "out_proj")
            yield from affines((f"{layer}.self_attn.{part}" for part in parts), width, width)
            yield from norm(f"{layer}.layer_norm1", width)
            yield from norm(f"{layer}.layer_norm2", width)
            yield from affine(f"{layer}.mlp.fc1", width, inner)
            yield from affine(f"{layer}.mlp.fc2", inner, width)
        yield from norm("text_model.final_layer_norm", width)
        if config["architectures"] == ["CLIPTextModelWithProjection"]:
            yield from affine("text_projection", width, config["projection_dim"], bias=False)

    return dict(tensors())


def t5_tensors(config: Config) -> Tensors:
    """Of a T5EncoderModel with a gated feed forward; the embedding is named once, by its shared name."""
    width, inner = config["d_model"], config["d_ff"]
    heads = config["num_heads"] * config["d_kv"]

    def tensors() -> Named:
        yield "shared.weight", (config["vocab_size"], width)
        for number in range(config["num_layers"]):
            attention, dense = (f"encoder.block.{number}.layer.{layer}" for layer in (0, 1))
            yield from affines((f"{attention}.SelfAttention.{part}" for part in "qkv"), width, heads, bias=False)
            yield from affine(f"{attention}.SelfAttention.o", heads, width, bias=False)
            if number == 0:
                buckets = config["relative_attention_num_buckets"]
                bias = f"{attention}.SelfAttention.relative_attention_bias"
                yield from affine(bias, config["num_heads"], buckets, bias=False)
            yield from scale(f"{attention}.layer_norm", width)
            yield from affines(
                (f"{dense}.DenseReluDense.{part}" for part in ("wi_0", "wi_1")), width, inner, bias=False
            )
            yield from affine(f"{dense}.DenseReluDense.wo", inner, width, bias=False)
            yield from scale(f"{dense}.layer_norm", width)
        yield from scale("encoder.final_layer_norm", width)

    return dict(tensors())
