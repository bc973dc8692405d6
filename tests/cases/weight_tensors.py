"""Changes to the tensors of weight files that stay sound: missing, of another shape or type, under another name."""

import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.cases.change import Change
from tests.cases.tensors import (
    Tensor,
    Tensors,
    altered,
    as_type,
    edit_tensors,
    emptied,
    flattened,
    grown,
    named,
    shrunk,
    transposed,
    without,
    zeroed,
)
from tests.cases.weights import WEIGHTS

TRANSFORMER, T5 = "transformer/diffusion_pytorch_model.safetensors", "text_encoder_2/model.safetensors"
UNET, VAE, TEXT = WEIGHTS["unet"], WEIGHTS["vae"], WEIGHTS["text_encoder"]
TOKENS, POSITIONS = "embeddings.token_embedding.weight", "embeddings.position_embedding.weight"


def tensor_changes() -> Iterator[Change]:
    """What is missing, what is misshapen, what is called otherwise."""
    yield from _missing()
    yield from _shapes()
    yield from _names()
    yield from _embeddings()


MISSING: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "unet": (
        "sd-tiny",
        UNET,
        (
            *("conv_in.weight", "conv_in.bias", "conv_out.weight", "conv_out.bias", "conv_norm_out.weight"),
            *("time_embedding.linear_1.weight", "time_embedding.linear_2.bias", "mid_block.resnets.0.norm1.weight"),
            "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight",
            "up_blocks.0.attentions.0.proj_out.bias",
        ),
    ),
    "vae": (
        "sd-tiny",
        VAE,
        (
            *("encoder.conv_in.weight", "encoder.conv_in.bias", "decoder.conv_out.weight", "decoder.conv_out.bias"),
            *("decoder.conv_in.weight", "quant_conv.weight", "post_quant_conv.weight", "encoder.conv_out.weight"),
            "decoder.mid_block.attentions.0.to_q.weight",
        ),
    ),
    "text_encoder": (
        "sd-tiny",
        TEXT,
        (
            *(TOKENS, POSITIONS, "final_layer_norm.weight", "final_layer_norm.bias"),
            *("encoder.layers.0.self_attn.q_proj.weight", "encoder.layers.2.mlp.fc2.bias"),
        ),
    ),
    "safety_checker": (
        "sd-tiny",
        WEIGHTS["safety_checker"],
        ("visual_projection.weight", "concept_embeds", "concept_embeds_weights", "special_care_embeds_weights"),
    ),
    "sdxl_text_encoder_2": ("sdxl-tiny", T5, ("text_projection.weight", TOKENS, POSITIONS)),
    "sdxl_unet": ("sdxl-tiny", UNET, ("add_embedding.linear_1.weight", "conv_in.bias")),
    "flux_transformer": (
        "flux-tiny",
        TRANSFORMER,
        (
            *("x_embedder.weight", "x_embedder.bias", "proj_out.weight", "proj_out.bias", "context_embedder.weight"),
            *("context_embedder.bias", "time_text_embed.timestep_embedder.linear_1.weight"),
            "single_transformer_blocks.0.proj_out.weight",
        ),
    ),
    "flux_text_encoder_2": (
        "flux-tiny",
        T5,
        (
            *("shared.weight", "encoder.final_layer_norm.weight", "encoder.block.1.layer.1.DenseReluDense.wo.weight"),
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        ),
    ),
    "sd3_transformer": (
        "sd3-tiny",
        TRANSFORMER,
        (
            "pos_embed.proj.weight",
            "pos_embed.proj.bias",
            "pos_embed.pos_embed",
            "context_embedder.weight",
            "proj_out.weight",
        ),
    ),
    "sd3_text_encoder": ("sd3-tiny", TEXT, ("text_projection.weight", TOKENS)),
    "pixart_transformer": (
        "pixart-tiny",
        TRANSFORMER,
        (
            "pos_embed.proj.weight",
            "proj_out.weight",
            "proj_out.bias",
            "scale_shift_table",
            "caption_projection.linear_1.weight",
        ),
    ),
}


def _missing() -> Iterator[Change]:
    def first(tensors: Tensors) -> Tensors:
        return {name: tensors[name] for name in sorted(tensors)[1:]}

    yield Change("weights_missing_tensor_text_encoder", "sd-tiny", edit_tensors(TEXT, first))
    yield Change("weights_missing_tensor_unet", "sd-tiny", edit_tensors(UNET, first))
    yield Change("weights_missing_tensor_vae", "sd-tiny", edit_tensors(VAE, first))
    for tag, (base, path, endings) in MISSING.items():
        for ending in endings:
            name = f"weights_missing_{ending.replace('.', '_')}_{tag}"
            yield Change(name, base, edit_tensors(path, _exactly_without(ending)))


def _exactly_without(ending: str) -> Callable[[Tensors], Tensors]:
    """Without the tensor of this very name, or else with the one that ends so."""

    def edit(tensors: Tensors) -> Tensors:
        if ending in tensors:
            return {name: tensor for name, tensor in tensors.items() if name != ending}
        return without(ending)(tensors)

    return edit


def _shapes() -> Iterator[Change]:
    def change(tag: str, path: str, ending: str, base: str = "sd-tiny") -> Iterator[Change]:
        short = ending.removesuffix(".weight").rsplit(".", 1)[-1] if "embedding" in ending else ending.replace(".", "_")
        for what, alter in {"grown": grown, "shrunk": shrunk, "transposed": transposed, "flattened": flattened}.items():
            yield Change(f"weights_{what}_{short}_{tag}", base, edit_tensors(path, _altered(ending, alter)))
        for what, alter in {"emptied": emptied, "zeroed": zeroed}.items():
            yield Change(f"weights_{what}_{short}_{tag}", base, edit_tensors(path, _altered(ending, alter)))

    yield from change("unet", UNET, "conv_out.weight")
    yield from change("unet", UNET, "time_embedding.linear_1.weight")
    yield from change("vae", VAE, "encoder.conv_in.weight")
    yield from change("vae", VAE, "decoder.conv_out.weight")
    yield from change("text_encoder", TEXT, TOKENS)
    yield from change("text_encoder", TEXT, POSITIONS)
    yield from change("safety_checker", WEIGHTS["safety_checker"], "visual_projection.weight")
    yield from change("flux_transformer", TRANSFORMER, "x_embedder.weight", "flux-tiny")
    yield from change("flux_transformer", TRANSFORMER, "proj_out.weight", "flux-tiny")
    yield from change("flux_text_encoder_2", T5, "shared.weight", "flux-tiny")
    yield from change("pixart_transformer", TRANSFORMER, "proj_out.weight", "pixart-tiny")
    yield from change("sd3_transformer", TRANSFORMER, "context_embedder.weight", "sd3-tiny")
    for name, path in WEIGHTS.items():
        for dtype, code in {"F16": "e", "F64": "d", "BF16": "b"}.items():
            yield Change(f"weights_all_{dtype.lower()}_{name}", "sd-tiny", edit_tensors(path, as_type(dtype, code)))

    def all_f16(root: Path) -> None:
        for path in WEIGHTS.values():
            edit_tensors(path, as_type("F16", "e"))(root)

    yield Change("weights_all_f16_everywhere", "sd-tiny", all_f16)
    f8 = _altered("conv_in.bias", lambda tensor: Tensor("F8_E4M3", tensor.shape, tensor.data[: len(tensor.data) // 4]))
    yield Change("weights_one_f8_unet", "sd-tiny", edit_tensors(UNET, f8))


def _altered(ending: str, alter: Callable[[Tensor], Tensor]) -> Callable[[Tensors], Tensors]:
    def edit(tensors: Tensors) -> Tensors:
        if ending in tensors:
            return {**tensors, ending: alter(tensors[ending])}
        return altered(ending, alter)(tensors)

    return edit


def _all_named(name: Callable[[str], str]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name(old): tensor for old, tensor in tensors.items()}


def _extra(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: Tensor("F32", (2,), bytes(8))}


def _renamed(ending: str, new: str) -> Callable[[Tensors], Tensors]:
    def edit(tensors: Tensors) -> Tensors:
        old = ending if ending in tensors else named(tensors, ending)
        return {new if name == old else name: tensor for name, tensor in tensors.items()}

    return edit


def _names() -> Iterator[Change]:
    for name, path in WEIGHTS.items():
        yield Change(
            f"weights_all_renamed_{name}", "sd-tiny", edit_tensors(path, _all_named(lambda old: f"wrapped.{old}"))
        )
        yield Change(f"weights_extra_tensor_{name}", "sd-tiny", edit_tensors(path, _extra("made.up")))
        yield Change(
            f"weights_scalar_tensor_{name}",
            "sd-tiny",
            edit_tensors(path, lambda t: {**t, "x": Tensor("F32", (), bytes(4))}),
        )
        yield Change(
            f"weights_zero_length_tensor_{name}",
            "sd-tiny",
            edit_tensors(path, lambda t: {**t, "x": Tensor("F32", (0,), b"")}),
        )
    yield Change("weights_renamed_tensor_unet", "sd-tiny", edit_tensors(UNET, _renamed("conv_in.weight", "conv_in.w")))
    yield Change(
        "weights_renamed_tensor_vae", "sd-tiny", edit_tensors(VAE, _renamed("decoder.conv_out.weight", "x.weight"))
    )
    yield Change(
        "weights_renamed_tensor_text_encoder", "sd-tiny", edit_tensors(TEXT, _renamed(TOKENS, "tokens.weight"))
    )

    def prefixed(old: str) -> str:
        return old if old.startswith(("text_model.", "text_projection")) else f"text_model.{old}"

    def bare(old: str) -> str:
        return old.removeprefix("text_model.")

    yield Change("weights_text_model_prefix_text_encoder", "sd-tiny", edit_tensors(TEXT, _all_named(prefixed)))
    yield Change("weights_no_prefix_text_encoder", "sd-tiny", edit_tensors(TEXT, _all_named(bare)))
    yield Change("weights_no_prefix_sdxl_text_encoder_2", "sdxl-tiny", edit_tensors(T5, _all_named(bare)))
    ids = Tensor("I64", (1, 77), struct.pack("<77q", *range(77)))
    for name in ("text_model.embeddings.position_ids", "embeddings.position_ids"):
        buffer = edit_tensors(TEXT, lambda tensors, name=name: {**tensors, name: ids})  # type: ignore[misc]
        yield Change(f"weights_{name.replace('.', '_')}_text_encoder", "sd-tiny", buffer)
    deprecated = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}

    def old_attention(old: str) -> str:
        for new, before in deprecated.items():
            if "attentions" in old:
                old = old.replace(new, before)
        return old

    yield Change("weights_deprecated_attention_names_vae", "sd-tiny", edit_tensors(VAE, _all_named(old_attention)))


def _embeddings() -> Iterator[Change]:
    flux = "flux-tiny"
    both = edit_tensors(T5, lambda tensors: {**tensors, "encoder.embed_tokens.weight": tensors["shared.weight"]})
    yield Change("weights_both_embeddings_flux_text_encoder_2", flux, both)
    tokens = edit_tensors(T5, _renamed("shared.weight", "encoder.embed_tokens.weight"))
    yield Change("weights_embed_tokens_only_flux_text_encoder_2", flux, tokens)
    differing = edit_tensors(T5, lambda t: {**t, "encoder.embed_tokens.weight": zeroed(t["shared.weight"])})
    yield Change("weights_embeddings_differ_flux_text_encoder_2", flux, differing)
    head = edit_tensors(T5, lambda t: {**t, "lm_head.weight": t["shared.weight"], "decoder.x": t["shared.weight"]})
    yield Change("weights_lm_head_flux_text_encoder_2", flux, head)
    wrapped = edit_tensors(TRANSFORMER, _all_named(lambda old: f"model.diffusion_model.{old}"))
    yield Change("weights_all_renamed_flux_transformer", flux, wrapped)
