"""Which tensors a class needs is known from its config: as many, as large, as the published weights have."""

import math
from typing import Any

import pytest

from pumas_agent.bundles.weights.architectures import ARCHITECTURES
from pumas_agent.bundles.weights.config import Misfit, ModelConfig, NotKnown

SD15_UNET = {"block_out_channels": [320, 640, 1280, 1280], "cross_attention_dim": 768, "attention_head_dim": 8}
SDXL_UNET = {
    "addition_embed_type": "text_time",
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "projection_class_embeddings_input_dim": 2816,
    "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "use_linear_projection": True,
}
VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "layers_per_block": 2,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "projection_dim": 768}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "projection_dim": 1280}
SAFETY_CHECKER = {
    "projection_dim": 768,
    "vision_config_dict": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "patch_size": 14},
}
T5_XXL = {"d_ff": 10240, "d_model": 4096, "feed_forward_proj": "gated-gelu", "num_heads": 64, "num_layers": 24}


def tensors_of(class_name: str, config: dict[str, Any]) -> list[tuple[str, tuple[int, ...]]]:
    architecture = ARCHITECTURES[class_name]
    return list(architecture.tensors(ModelConfig(config, architecture.defaults)))


@pytest.mark.parametrize(
    ("class_name", "config", "tensors", "parameters"),
    [
        ("UNet2DConditionModel", SD15_UNET, 686, 859_520_964),
        ("UNet2DConditionModel", SDXL_UNET, 1680, 2_567_463_684),
        ("StableDiffusionSafetyChecker", SAFETY_CHECKER, 396, 303_981_588),
        ("AutoencoderKL", VAE, 248, 83_653_863),
        ("CLIPTextModel", CLIP_L, 196, 123_060_480),
        ("CLIPTextModelWithProjection", CLIP_G, 517, 694_659_840),
        ("T5EncoderModel", T5_XXL, 219, 4_762_310_656),
        ("FluxTransformer2DModel", {"guidance_embeds": True}, 1160, 11_901_408_320),
        ("FluxTransformer2DModel", {}, 1156, 11_891_178_560),
    ],
)
def test_known_models(class_name: str, config: dict[str, Any], tensors: int, parameters: int) -> None:
    """The published models are counted right."""
    expected = tensors_of(class_name, config)

    assert len(dict(expected)) == len(expected) == tensors
    assert sum(math.prod(shape) for _, shape in expected) == parameters


@pytest.mark.parametrize(
    "unusable",
    [
        {"block_out_channels": "320"},
        {"in_channels": None},
        {"down_block_types": ["NoBlock2D"] * 4},
        {"mid_block_type": "NoBlock2D"},
        {"attention_head_dim": [3, 3, 3, 3]},
        {"attention_head_dim": None},
        {"attention_head_dim": 0},
        {"only_cross_attention": [True, False]},
        {"encoder_hid_dim_type": "text_proj"},
        {"encoder_hid_dim": 16, "encoder_hid_dim_type": "made up"},
        {"addition_embed_type": "made up"},
        {"transformer_layers_per_block": "1"},
    ],
)
def test_configs_of_which_no_model_can_be_made(unusable: dict[str, Any]) -> None:
    """The library raises on them, whatever the weights are."""
    with pytest.raises(Misfit):
        tensors_of("UNet2DConditionModel", SD15_UNET | unusable)


@pytest.mark.parametrize(
    "odd",
    [
        {"class_embed_type": "timestep"},
        {"only_cross_attention": "yes"},
        {"down_block_types": ["AttnDownBlock2D"] * 4},
        {"transformer_layers_per_block": {"a": 1}},
    ],
)
def test_odd_configs_are_not_guessed_at(odd: dict[str, Any]) -> None:
    """Of settings that are not known here nothing is claimed."""
    with pytest.raises(NotKnown):
        tensors_of("UNet2DConditionModel", SD15_UNET | odd)


@pytest.mark.parametrize("wrong", ["4", 4.5, [4], {"a": 4}])
def test_sizes_that_are_no_numbers_fit_no_model(wrong: Any) -> None:
    """From a text, a fraction or a list where a number belongs, torch makes no layer."""
    with pytest.raises(Misfit):
        tensors_of("UNet2DConditionModel", SD15_UNET | {"in_channels": wrong})


def test_groups_divide_their_channels() -> None:
    """`torch.nn.GroupNorm` raises for channels that its groups do not divide."""
    with pytest.raises(Misfit):
        tensors_of("AutoencoderKL", {"block_out_channels": [48]})


def test_settings_that_were_defaults_when_saved_are_left_to_the_class() -> None:
    """Diffusers ignores what `_use_default_values` lists (`ConfigMixin.extract_init_dict`)."""
    config = {"in_channels": 9, "_use_default_values": ["in_channels"]}

    assert dict(tensors_of("UNet2DConditionModel", config))["conv_in.weight"] == (320, 4, 3, 3)


@pytest.mark.parametrize(
    ("class_name", "name", "canonical"),
    [
        (
            "AutoencoderKL",
            "decoder.mid_block.attentions.0.proj_attn.bias",
            "decoder.mid_block.attentions.0.to_out.0.bias",
        ),
        ("AutoencoderKL", "encoder.mid_block.attentions.0.query.weight", "encoder.mid_block.attentions.0.to_q.weight"),
        ("CLIPTextModel", "text_model.final_layer_norm.bias", "final_layer_norm.bias"),
        ("T5EncoderModel", "encoder.embed_tokens.weight", "shared.weight"),
        ("T5EncoderModel", "transformer.shared.weight", "shared.weight"),
        ("UNet2DConditionModel", "text_model.conv_in.weight", "text_model.conv_in.weight"),
    ],
)
def test_names_that_libraries_take_for_one(class_name: str, name: str, canonical: str) -> None:
    """Old names and prefixes, which the libraries read as the names of today."""
    assert ARCHITECTURES[class_name].canonical(name) == canonical
