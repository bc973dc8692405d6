"""Changes to single keys of the configs of components."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.cases.change import Change, copy, drop_keys, remove, set_keys, write
from tests.cases.configs import CONFIGS, FEATURES, SCHEDULER, TEXT, UNET, VAE


def config_key_changes() -> Iterator[Change]:
    """Stable Diffusion, then the families."""
    yield from _keys()
    yield from _families()


def _keys() -> Iterator[Change]:
    unet: dict[str, dict[str, Any]] = {
        "in_channels_9": {"in_channels": 9},
        "out_channels_8": {"out_channels": 8},
        "block_out_channels": {"block_out_channels": [8, 16]},
        "block_out_channels_short": {"block_out_channels": [4]},
        "block_out_channels_string": {"block_out_channels": "4,8"},
        "block_out_channels_null": {"block_out_channels": None},
        "in_channels_null": {"in_channels": None},
        "in_channels_string": {"in_channels": "4"},
        "in_channels_float": {"in_channels": 4.0},
        "cross_attention_dim": {"cross_attention_dim": 64},
        "cross_attention_dim_list": {"cross_attention_dim": [32, 32]},
        "layers_per_block_2": {"layers_per_block": 2},
        "layers_per_block_list": {"layers_per_block": [1, 1]},
        "sample_size_16": {"sample_size": 16},
        "sample_size_null": {"sample_size": None},
        "sample_size_pair": {"sample_size": [32, 32]},
        "attention_head_dim_4": {"attention_head_dim": 4},
        "down_block_unknown": {"down_block_types": ["NoBlock2D", "CrossAttnDownBlock2D"]},
        "act_fn_unknown": {"act_fn": "nothing"},
        "act_fn_gelu": {"act_fn": "gelu"},
        "norm_num_groups_3": {"norm_num_groups": 3},
        "linear_projection": {"use_linear_projection": True},
        "class_name_other": {"_class_name": "AutoencoderKL"},
        "class_name_null": {"_class_name": None},
        "name_or_path": {"_name_or_path": "../unet"},
        "torch_dtype": {"torch_dtype": "float16"},
        "extra_key": {"x_made_up": [1, 2, 3]},
        "center_input_sample": {"center_input_sample": True},
        "addition_embed_type": {"addition_embed_type": "text_time"},
        "class_embed_type": {"class_embed_type": "timestep"},
        "num_class_embeds": {"num_class_embeds": 10},
        "encoder_hid_dim": {"encoder_hid_dim": 16},
        "time_cond_proj_dim": {"time_cond_proj_dim": 8},
    }
    yield from _sd("unet", UNET, unet)
    for key in (
        "in_channels",
        "block_out_channels",
        "cross_attention_dim",
        "down_block_types",
        "norm_num_groups",
        "out_channels",
    ):
        yield Change(f"config_unet_without_{key}", "sd-tiny", drop_keys(UNET, key))
    vae: dict[str, dict[str, Any]] = {
        "latent_channels_8": {"latent_channels": 8},
        "in_channels_4": {"in_channels": 4},
        "out_channels_4": {"out_channels": 4},
        "block_out_channels": {"block_out_channels": [8, 16]},
        "scaling_factor": {"scaling_factor": 0.13025},
        "scaling_factor_null": {"scaling_factor": None},
        "scaling_factor_zero": {"scaling_factor": 0},
        "shift_factor": {"shift_factor": 0.1},
        "sample_size": {"sample_size": 512},
        "force_upcast_false": {"force_upcast": False},
        "layers_per_block_2": {"layers_per_block": 2},
        "use_quant_conv_false": {"use_quant_conv": False, "use_post_quant_conv": False},
        "class_name_other": {"_class_name": "UNet2DConditionModel"},
        "act_fn_unknown": {"act_fn": "nothing"},
    }
    yield from _sd("vae", VAE, vae)
    for key in ("scaling_factor", "latent_channels", "block_out_channels", "force_upcast"):
        yield Change(f"config_vae_without_{key}", "sd-tiny", drop_keys(VAE, key))
    text: dict[str, dict[str, Any]] = {
        "vocab_size_smaller": {"vocab_size": 999},
        "vocab_size_larger": {"vocab_size": 2000},
        "vocab_size_string": {"vocab_size": "1000"},
        "hidden_size_64": {"hidden_size": 64},
        "max_position_embeddings_64": {"max_position_embeddings": 64},
        "max_position_embeddings_248": {"max_position_embeddings": 248},
        "num_hidden_layers_2": {"num_hidden_layers": 2},
        "num_hidden_layers_4": {"num_hidden_layers": 4},
        "num_hidden_layers_0": {"num_hidden_layers": 0},
        "num_attention_heads_8": {"num_attention_heads": 8},
        "num_attention_heads_5": {"num_attention_heads": 5},
        "intermediate_size_64": {"intermediate_size": 64},
        "hidden_act_unknown": {"hidden_act": "nothing"},
        "hidden_act_gelu": {"hidden_act": "gelu"},
        "eos_token_id_999": {"eos_token_id": 999},
        "eos_token_id_null": {"eos_token_id": None},
        "pad_token_id_huge": {"pad_token_id": 100000},
        "projection_dim_64": {"projection_dim": 64},
        "model_type_mismatch": {"model_type": "t5"},
        "model_type_unknown": {"model_type": "made_up"},
        "model_type_null": {"model_type": None},
        "model_type_old": {"model_type": "clip"},
        "architectures_other": {"architectures": ["BertModel"]},
        "architectures_null": {"architectures": None},
        "architectures_string": {"architectures": "CLIPTextModel"},
        "torch_dtype_float16": {"dtype": "float16"},
        "torch_dtype_old_name": {"torch_dtype": "float32"},
        "torch_dtype_unknown": {"dtype": "float7"},
        "torch_dtype_auto": {"dtype": "auto"},
        "torch_dtype_null": {"dtype": None},
        "name_or_path": {"_name_or_path": "openai/clip-vit-large-patch14"},
        "layer_norm_eps_string": {"layer_norm_eps": "1e-05"},
        "use_return_dict": {"use_return_dict": False, "return_dict": False},
        "output_hidden_states": {"output_hidden_states": True},
        "attn_implementation": {"_attn_implementation": "flash_attention_2"},
        "tie_word_embeddings": {"tie_word_embeddings": False},
        "gradient_checkpointing": {"gradient_checkpointing": True},
        "nested_text_config": {"text_config": {"hidden_size": 8}},
        "is_decoder": {"is_decoder": True},
        "compression_config": {"compression_config": {"quant_method": "compressed-tensors"}},
    }
    yield from _sd("text_encoder", TEXT, text)
    for key in (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "intermediate_size",
        "num_attention_heads",
        "dtype",
        "eos_token_id",
    ):
        yield Change(f"config_text_encoder_without_{key}", "sd-tiny", drop_keys(TEXT, key))
    scheduler: dict[str, dict[str, Any]] = {
        "beta_schedule_unknown": {"beta_schedule": "made_up"},
        "beta_schedule_linear": {"beta_schedule": "linear"},
        "prediction_type_unknown": {"prediction_type": "made_up"},
        "prediction_type_v": {"prediction_type": "v_prediction"},
        "timestep_spacing_unknown": {"timestep_spacing": "made_up"},
        "trained_betas_short": {"trained_betas": [0.1, 0.2]},
        "num_train_timesteps_0": {"num_train_timesteps": 0},
        "num_train_timesteps_string": {"num_train_timesteps": "1000"},
        "beta_end_null": {"beta_end": None},
        "beta_start_string": {"beta_start": "0.00085"},
        "skip_prk_steps_false": {"skip_prk_steps": False},
        "steps_offset_0": {"steps_offset": 0},
        "clip_sample": {"clip_sample": True},
        "class_name_other": {"_class_name": "DDIMScheduler"},
        "class_name_unknown": {"_class_name": "NoScheduler"},
        "class_name_null": {"_class_name": None},
        "only_class": {},
    }
    only = write(SCHEDULER, b'{"_class_name": "PNDMScheduler"}')
    for name, values in scheduler.items():
        yield Change(f"config_scheduler_{name}", "sd-tiny", set_keys(SCHEDULER, values) if values else only)
    yield Change("config_scheduler_only_unknown_key", "sd-tiny", write(SCHEDULER, b'{"x_made_up": 1}'))
    yield Change("config_scheduler_only_version", "sd-tiny", write(SCHEDULER, b'{"_diffusers_version": "0.42.1"}'))
    yield Change("config_scheduler_is_unet_config", "sd-tiny", copy(UNET, SCHEDULER))
    features: dict[str, dict[str, Any]] = {
        "size_number": {"size": 30, "crop_size": 30},
        "size_224": {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}},
        "type_other": {"image_processor_type": "ViTImageProcessor"},
        "type_old": {"feature_extractor_type": "CLIPFeatureExtractor"},
        "type_fast": {"image_processor_type": "CLIPImageProcessorFast"},
        "processor_class": {"processor_class": "CLIPProcessor"},
        "image_mean_short": {"image_mean": [0.5]},
        "resample_unknown": {"resample": 99},
        "do_resize_false": {"do_resize": False},
    }
    yield from _sd("feature_extractor", FEATURES, features)
    yield Change("config_feature_extractor_without_size", "sd-tiny", drop_keys(FEATURES, "size", "crop_size"))
    checker: dict[str, dict[str, Any]] = {
        "projection_dim_16": {"projection_dim": 16},
        "vision_config_null": {"vision_config": None},
        "vision_config_empty": {"vision_config": {}},
        "text_config_null": {"text_config": None},
        "model_type_other": {"model_type": "bert"},
    }
    yield from _sd("safety_checker", CONFIGS["safety_checker"], checker)


def _sd(component: str, path: str, table: Mapping[str, dict[str, Any]]) -> Iterator[Change]:
    for name, values in table.items():
        yield Change(f"config_{component}_{name}", "sd-tiny", set_keys(path, values))


def _families() -> Iterator[Change]:
    def edit(base: str, path: str, name: str, values: dict[str, Any]) -> Change:
        return Change(f"config_{name}", base, set_keys(path, values))

    flux, sd3, pixart = "flux-tiny", "sd3-tiny", "pixart-tiny"
    transformer, t5 = "transformer/config.json", "text_encoder_2/config.json"
    yield edit(flux, transformer, "flux_transformer_in_channels_8", {"in_channels": 8})
    yield edit(flux, transformer, "flux_transformer_joint_attention_dim_64", {"joint_attention_dim": 64})
    yield edit(flux, transformer, "flux_transformer_num_layers_2", {"num_layers": 2})
    yield edit(flux, transformer, "flux_transformer_num_layers_0", {"num_layers": 0})
    yield edit(flux, transformer, "flux_transformer_guidance_embeds", {"guidance_embeds": True})
    yield edit(flux, transformer, "flux_transformer_axes_dims_rope", {"axes_dims_rope": [8, 4, 4]})
    yield edit(flux, t5, "flux_text_encoder_2_vocab_size_400", {"vocab_size": 400})
    yield edit(flux, t5, "flux_text_encoder_2_d_model_64", {"d_model": 64})
    yield edit(flux, t5, "flux_text_encoder_2_num_layers_3", {"num_layers": 3})
    yield edit(flux, t5, "flux_text_encoder_2_num_layers_1", {"num_layers": 1})
    yield edit(flux, t5, "flux_text_encoder_2_feed_forward_relu", {"feed_forward_proj": "relu"})
    yield edit(flux, t5, "flux_text_encoder_2_untied", {"tie_word_embeddings": False})
    yield edit(flux, t5, "flux_text_encoder_2_is_encoder_decoder", {"is_encoder_decoder": True})
    for name in ("transformer", "text_encoder_2"):
        path = f"{name}/config.json"
        yield Change(f"config_empty_object_flux_{name}", flux, write(path, b"{}"))
        yield Change(f"config_missing_flux_{name}", flux, remove(path))
    yield Change("config_empty_object_flux_scheduler", flux, write("scheduler/scheduler_config.json", b"{}"))
    only = write("scheduler/scheduler_config.json", b'{"_class_name": "FlowMatchEulerDiscreteScheduler"}')
    yield Change("config_flux_scheduler_only_class", flux, only)
    yield edit(sd3, transformer, "sd3_transformer_in_channels_8", {"in_channels": 8})
    yield edit(sd3, transformer, "sd3_transformer_joint_attention_dim_32", {"joint_attention_dim": 32})
    yield edit(sd3, transformer, "sd3_transformer_patch_size_1", {"patch_size": 1})
    yield edit(sd3, transformer, "sd3_transformer_pos_embed_max_size", {"pos_embed_max_size": 64})
    yield edit(sd3, transformer, "sd3_transformer_out_channels_8", {"out_channels": 8})
    yield edit(sd3, transformer, "sd3_transformer_dual_attention", {"dual_attention_layers": [0]})
    yield edit(sd3, transformer, "sd3_transformer_sample_size_16", {"sample_size": 16})
    for number in ("", "_2"):
        path = f"text_encoder{number}/config.json"
        yield edit(sd3, path, f"sd3_text_encoder{number}_projection_dim_16", {"projection_dim": 16})
    yield edit(pixart, transformer, "pixart_transformer_in_channels_8", {"in_channels": 8})
    yield edit(pixart, transformer, "pixart_transformer_caption_channels_64", {"caption_channels": 64})
    yield edit(pixart, transformer, "pixart_transformer_out_channels_4", {"out_channels": 4})
    yield edit(pixart, transformer, "pixart_transformer_sample_size_64", {"sample_size": 64})
    yield edit(pixart, transformer, "pixart_transformer_sample_size_8", {"sample_size": 8})
    yield edit(pixart, transformer, "pixart_transformer_additional_conditions", {"use_additional_conditions": True})
    sdxl = "sdxl-tiny"
    yield edit(sdxl, UNET, "sdxl_unet_in_channels_9", {"in_channels": 9})
    yield edit(sdxl, UNET, "sdxl_unet_addition_embed_type_null", {"addition_embed_type": None})
    yield edit(sdxl, UNET, "sdxl_unet_projection_input_dim", {"projection_class_embeddings_input_dim": 96})
    yield edit(sdxl, UNET, "sdxl_unet_cross_attention_dim_32", {"cross_attention_dim": 32})
    yield edit(sdxl, "text_encoder_2/config.json", "sdxl_text_encoder_2_projection_dim_16", {"projection_dim": 16})
    yield edit(sdxl, "text_encoder_2/config.json", "sdxl_text_encoder_2_model_type_clip", {"model_type": "clip"})
    inpaint = set_keys("model_index.json", {"_class_name": "StableDiffusionPipeline"})
    yield Change("config_unet_9_channels_in_text_to_image_class", "sd-inpaint-tiny", inpaint)
