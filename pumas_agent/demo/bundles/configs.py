"""Owns the configs of the smallest models that the libraries build and run.

Sizes that two models have to agree on have one name here. A config is a fresh value each time it is asked for, or is
never changed.
"""

from typing import Any, Final

VERSION: Final = "0.30.0"
MERGES: Final = ("t h", "th e</w>", "c a", "ca t</w>", "d o", "do g</w>")
WORDS: Final = ("a", "the", "cat", "dog", "photo", "of")

CLIP_WIDTH = 16
T5_WIDTH = 32  # at least as wide as both of the CLIP encoders of Stable Diffusion 3 together
_HEAD = 8
_HEADS = 2
_WIDTH = _HEAD * _HEADS
_CHANNELS = (4, 8)
_LATENT = 4
_GROUPS = 2
_TIME_IDS = 6  # the numbers that Stable Diffusion XL is told about a picture's size, each as so many sines
_TIME_ID_WIDTH = 4


def _unet(class_name: str, **differing: Any) -> dict[str, Any]:
    return {
        "_class_name": class_name,
        "_diffusers_version": VERSION,
        "act_fn": "silu",
        "attention_head_dim": 2,
        "block_out_channels": _CHANNELS,
        "center_input_sample": False,
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": _LATENT,
        "layers_per_block": 1,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-05,
        "norm_num_groups": _GROUPS,
        "out_channels": _LATENT,
        "sample_size": 16,
        **differing,
    }


UNET: Final = _unet(
    "UNet2DConditionModel",
    cross_attention_dim=CLIP_WIDTH,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
)
UNET_INPAINT: Final = {**UNET, "in_channels": 2 * _LATENT + 1}  # the latents, a mask, the latents below it
UNET_XL: Final = _unet(
    "UNet2DConditionModel",
    addition_embed_type="text_time",
    addition_time_embed_dim=_TIME_ID_WIDTH,
    attention_head_dim=(1, 2),
    cross_attention_dim=2 * CLIP_WIDTH,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
    projection_class_embeddings_input_dim=_TIME_IDS * _TIME_ID_WIDTH + CLIP_WIDTH,
    transformer_layers_per_block=(1, 2),
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    use_linear_projection=True,
)
UNET_UNCONDITIONAL: Final = _unet(
    "UNet2DModel",
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    in_channels=3,
    out_channels=3,
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
)

FLUX: Final[dict[str, Any]] = {
    "_class_name": "FluxTransformer2DModel",
    "_diffusers_version": VERSION,
    "attention_head_dim": _WIDTH,
    "axes_dims_rope": (4, 4, 8),  # together the width of a head
    "guidance_embeds": True,
    "in_channels": 4 * _LATENT,  # four latents are one token
    "joint_attention_dim": T5_WIDTH,
    "num_attention_heads": _HEADS,
    "num_layers": 1,
    "num_single_layers": 1,
    "patch_size": 1,
    "pooled_projection_dim": CLIP_WIDTH,
}

SD3: Final[dict[str, Any]] = {
    "_class_name": "SD3Transformer2DModel",
    "_diffusers_version": VERSION,
    "attention_head_dim": _HEAD,
    "caption_projection_dim": _WIDTH,
    "in_channels": _LATENT,
    "joint_attention_dim": T5_WIDTH,
    "num_attention_heads": _HEADS,
    "num_layers": 2,
    "out_channels": _LATENT,
    "patch_size": 2,
    "pooled_projection_dim": 2 * CLIP_WIDTH,
    "pos_embed_max_size": 16,
    "sample_size": 16,
}

PIXART: Final[dict[str, Any]] = {
    "_class_name": "PixArtTransformer2DModel",
    "_diffusers_version": VERSION,
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "attention_head_dim": _HEAD,
    "caption_channels": T5_WIDTH,
    "cross_attention_dim": _WIDTH,
    "in_channels": _LATENT,
    "norm_elementwise_affine": False,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "norm_type": "ada_norm_single",
    "num_attention_heads": _HEADS,
    "num_embeds_ada_norm": 1000,
    "num_layers": 2,
    "out_channels": 2 * _LATENT,  # a mean and a variance
    "patch_size": 2,
    "sample_size": 32,  # the least for which the pipeline has a table of picture sizes
}


def _vae(*, channels: tuple[int, ...] = _CHANNELS, **differing: Any) -> dict[str, Any]:
    return {
        "_class_name": "AutoencoderKL",
        "_diffusers_version": VERSION,
        "act_fn": "silu",
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "in_channels": 3,
        "latent_channels": _LATENT,
        "layers_per_block": 1,
        "norm_num_groups": _GROUPS,
        "out_channels": 3,
        "sample_size": 32,
        "scaling_factor": 0.18215,
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        **differing,
    }


VAE: Final = _vae()
VAE_EIGHTH: Final = _vae(channels=(4, 4, 4, 8))  # a latent is eight pixels wide, as PixArt's tables have it
VAE_SHIFTED: Final = _vae(scaling_factor=0.3611, shift_factor=0.1159, use_post_quant_conv=False, use_quant_conv=False)


def clip(class_name: str, vocabulary: dict[str, int], *, activation: str = "quick_gelu") -> dict[str, Any]:
    """Of a text encoder for that vocabulary, whose last two words are the marks of start and end."""
    start, end = len(vocabulary) - 2, len(vocabulary) - 1
    return {
        "architectures": [class_name],
        "attention_dropout": 0.0,
        "bos_token_id": start,
        "eos_token_id": end,
        "hidden_act": activation,
        "hidden_size": CLIP_WIDTH,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": 2 * CLIP_WIDTH,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 77,
        "model_type": "clip_text_model",
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "pad_token_id": end,
        "projection_dim": CLIP_WIDTH,
        "torch_dtype": "float32",
        "vocab_size": len(vocabulary),
    }


def t5(vocabulary_size: int) -> dict[str, Any]:
    """Of a text encoder for that many words."""
    return {
        "architectures": ["T5EncoderModel"],
        "d_ff": 2 * T5_WIDTH,
        "d_kv": 8,
        "d_model": T5_WIDTH,
        "decoder_start_token_id": 0,
        "dense_act_fn": "gelu_new",
        "dropout_rate": 0.1,
        "eos_token_id": 1,
        "feed_forward_proj": "gated-gelu",
        "initializer_factor": 1.0,
        "is_encoder_decoder": True,
        "is_gated_act": True,
        "layer_norm_epsilon": 1e-06,
        "model_type": "t5",
        "num_decoder_layers": 2,
        "num_heads": 2,
        "num_layers": 2,
        "pad_token_id": 0,
        "relative_attention_max_distance": 128,
        "relative_attention_num_buckets": 32,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "vocab_size": vocabulary_size,
    }


def _diffusion_steps(class_name: str, **differing: Any) -> dict[str, Any]:
    return {
        "_class_name": class_name,
        "_diffusers_version": VERSION,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "num_train_timesteps": 1000,
        "prediction_type": "epsilon",
        "timestep_spacing": "leading",
        "trained_betas": None,
        **differing,
    }


PNDM: Final = _diffusion_steps("PNDMScheduler", set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1)
EULER: Final = _diffusion_steps("EulerDiscreteScheduler", interpolation_type="linear", steps_offset=1)
DPM_SOLVER: Final = _diffusion_steps(
    "DPMSolverMultistepScheduler",
    algorithm_type="dpmsolver++",
    beta_schedule="linear",
    solver_order=2,
    solver_type="midpoint",
    timestep_spacing="linspace",
)
DDPM: Final = _diffusion_steps(
    "DDPMScheduler",
    beta_end=0.02,
    beta_schedule="linear",
    beta_start=0.0001,
    clip_sample=True,
    variance_type="fixed_small",
)
FLOW_MATCH: Final[dict[str, Any]] = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "_diffusers_version": VERSION,
    "num_train_timesteps": 1000,
    "shift": 3.0,
}

CLIP_IMAGES: Final[dict[str, Any]] = {
    "crop_size": {"height": 32, "width": 32},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 32},
}
