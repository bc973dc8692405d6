"""Owns the tensors of the diffusion transformers: Flux, Stable Diffusion 3 and PixArt.

Names and shapes are those that diffusers gives to models of these configs. Never uses torch.
"""

from pumas_agent.demo.bundles.shapes import (
    Config,
    Named,
    Tensors,
    affine,
    affines,
    conv,
    embedder,
    feed_forward,
    scale,
)

_TIME = 256  # how wide diffusers makes the sines of a time step for these models


def flux_tensors(config: Config) -> Tensors:
    """Of a FluxTransformer2DModel."""
    head = config["attention_head_dim"]
    width = head * config["num_attention_heads"]

    def tensors() -> Named:
        yield from embedder("time_text_embed.timestep_embedder", _TIME, width)
        if config["guidance_embeds"]:
            yield from embedder("time_text_embed.guidance_embedder", _TIME, width)
        yield from embedder("time_text_embed.text_embedder", config["pooled_projection_dim"], width)
        yield from affine("context_embedder", config["joint_attention_dim"], width)
        yield from affine("x_embedder", config["in_channels"], width)
        for number in range(config["num_layers"]):
            block = f"transformer_blocks.{number}"
            yield from _joint_block(block, width, last=False)
            for part in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
                yield from scale(f"{block}.attn.{part}", head)
        for number in range(config["num_single_layers"]):
            block = f"single_transformer_blocks.{number}"
            yield from affine(f"{block}.norm.linear", width, 3 * width)
            yield from affine(f"{block}.proj_mlp", width, 4 * width)
            yield from affine(f"{block}.proj_out", 5 * width, width)
            yield from affines((f"{block}.attn.{part}" for part in ("to_q", "to_k", "to_v")), width, width)
            for part in ("norm_q", "norm_k"):
                yield from scale(f"{block}.attn.{part}", head)
        yield from affine("norm_out.linear", width, 2 * width)
        yield from affine("proj_out", width, config["patch_size"] ** 2 * config["in_channels"])

    return dict(tensors())


def sd3_tensors(config: Config) -> Tensors:
    """Of a SD3Transformer2DModel without norms on queries and keys, as Stable Diffusion 3 medium is."""
    width = config["attention_head_dim"] * config["num_attention_heads"]
    patch, layers = config["patch_size"], config["num_layers"]

    def tensors() -> Named:
        yield "pos_embed.pos_embed", (1, config["pos_embed_max_size"] ** 2, width)
        yield from conv("pos_embed.proj", config["in_channels"], width, kernel=patch)
        yield from embedder("time_text_embed.timestep_embedder", _TIME, width)
        yield from embedder("time_text_embed.text_embedder", config["pooled_projection_dim"], width)
        yield from affine("context_embedder", config["joint_attention_dim"], config["caption_projection_dim"])
        for number in range(layers):
            yield from _joint_block(f"transformer_blocks.{number}", width, last=number == layers - 1)
        yield from affine("norm_out.linear", width, 2 * width)
        yield from affine("proj_out", width, patch**2 * config["out_channels"])

    return dict(tensors())


def pixart_tensors(config: Config) -> Tensors:
    """Of a PixArtTransformer2DModel that is not told the size of the picture (a sample_size other than 128)."""
    width = config["attention_head_dim"] * config["num_attention_heads"]
    patch = config["patch_size"]

    def tensors() -> Named:
        yield "scale_shift_table", (2, width)
        yield from conv("pos_embed.proj", config["in_channels"], width, kernel=patch)
        for number in range(config["num_layers"]):
            block = f"transformer_blocks.{number}"
            yield f"{block}.scale_shift_table", (6, width)
            for attention, context in (("attn1", width), ("attn2", config["cross_attention_dim"])):
                yield from affines((f"{block}.{attention}.{part}" for part in ("to_q", "to_out.0")), width, width)
                yield from affines((f"{block}.{attention}.{part}" for part in ("to_k", "to_v")), context, width)
            yield from feed_forward(f"{block}.ff", width)
        yield from affine("proj_out", width, patch**2 * config["out_channels"])
        yield from embedder("adaln_single.emb.timestep_embedder", _TIME, width)
        yield from affine("adaln_single.linear", width, 6 * width)
        yield from embedder("caption_projection", config["caption_channels"], width)

    return dict(tensors())


def _joint_block(block: str, width: int, *, last: bool) -> Named:
    """Picture and text attend to each other; the last block of some models has no use for the text it would give."""
    yield from affine(f"{block}.norm1.linear", width, 6 * width)
    yield from affine(f"{block}.norm1_context.linear", width, 2 * width if last else 6 * width)
    parts = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj")
    yield from affines((f"{block}.attn.{part}" for part in parts), width, width)
    yield from feed_forward(f"{block}.ff", width)
    if not last:
        yield from affine(f"{block}.attn.to_add_out", width, width)
        yield from feed_forward(f"{block}.ff_context", width)
