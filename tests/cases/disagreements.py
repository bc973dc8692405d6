"""Where a verdict and the real library differ, by reason: the only places where they may.

A change that no longer needs its place here fails the comparison, as one does that is missing.
"""

from collections.abc import Mapping

BEYOND: Mapping[str, tuple[str, ...]] = {
    "another pipeline or scheduler is the owner's choice": (
        *("class_name_pag", "class_name_sag", "class_name_sd3_pag", "class_name_sdxl_pag"),
        *("component_class_scheduler_ddim", "component_class_scheduler_dpm", "component_class_scheduler_swapped"),
    ),
    "another setting is the owner's choice": (
        *("config_scheduler_beta_schedule_linear", "config_scheduler_prediction_type_v", "scalar_null_sdxl"),
        *("config_unet_act_fn_gelu", "config_unet_attention_head_dim_4", "config_unet_center_input_sample"),
        *("config_unet_sample_size_pair", "config_pixart_transformer_sample_size_64"),
        *("config_vae_scaling_factor", "config_vae_use_quant_conv_false"),
        *("config_text_encoder_hidden_act_gelu", "config_swapped_sdxl_text_encoders"),
        *("config_text_encoder_num_attention_heads_8", "config_text_encoder_without_num_attention_heads"),
        *("config_text_encoder_num_hidden_layers_0", "config_flux_transformer_num_layers_0"),
        "config_flux_transformer_axes_dims_rope",
        *("tok_config_model_max_length_16", "tok_config_padding_side_left", "tok_special_map_pad_other"),
        *("setting_clip_pad_resized", "setting_flux_sched_dynamic", "setting_sch_train_10", "setting_t5_actg"),
        *("setting_sd_sched_set_alpha_text", "setting_t5_relpos", "setting_te_act_gelu_new", "setting_tok_len_3"),
        *("setting_tok_model_max_length_2", "setting_unet_act_relu", "setting_unet_downsample_padding"),
        *("setting_unet_flip_null", "setting_unet_mid_null", "setting_vae_mid_attn"),
    ),
    "a value that only the code of the library understands": (
        *("config_scheduler_skip_prk_steps_false", "scalar_watermarker_sdxl"),
        *("config_text_encoder_torch_dtype_float16", "setting_sch_skip_null"),
    ),
    "the numbers in the tensors": (
        *("weights_zeroed_conv_out_weight_unet", "weights_zeroed_linear_1_unet"),
        *("weights_zeroed_decoder_conv_out_weight_vae", "weights_zeroed_proj_out_weight_pixart_transformer"),
        *("weights_zeroed_position_embedding_text_encoder", "weights_zeroed_token_embedding_text_encoder"),
        *("weights_zeroed_proj_out_weight_flux_transformer", "weights_zeroed_x_embedder_weight_flux_transformer"),
        *("weights_zeroed_shared_weight_flux_text_encoder_2", "weights_embeddings_differ_flux_text_encoder_2"),
        "weights_zeroed_context_embedder_weight_sd3_transformer",
    ),
    "how exact the numbers are": (
        *("weights_all_bf16_text_encoder", "weights_all_bf16_unet", "weights_all_bf16_vae", "weights_one_f8_unet"),
        *("weights_all_f16_everywhere", "weights_all_f16_text_encoder", "weights_all_f16_unet"),
    ),
    "sines that the library computes when no file has them, and that the small bundle has other numbers for": (
        "weights_missing_pos_embed_pos_embed_sd3_transformer",
    ),
    "which words a vocabulary has, and their numbers": (
        *("tok_vocab_other_numbers", "tok_vocab_without_letter", "tok_t5_vocab_shorter"),
        *("tok_sdxl_folders_swapped", "dir_symlink_to_other_component"),
    ),
    "what is inside a pickle": ("bin_swapped_unet_vae",),
}
"""Valid, although the library fails or draws another picture: no look at files can tell."""

REFUSED: Mapping[str, tuple[str, ...]] = {
    "a tensor that is listed and that nobody has: the shard may be another file's": (
        *("shard_index_lists_missing_tensor_text_encoder", "shard_index_lists_missing_tensor_text_encoder_2"),
        "shard_index_lists_missing_tensor_unet",
    ),
    "tensors that are not there are made up, and the picture of this prompt does not depend on them": (
        *(
            "weights_missing_encoder_conv_in_weight_vae",
            "config_flux_text_encoder_2_feed_forward_relu",
            "setting_t5_relu",
        ),
        *("weights_missing_concept_embeds_safety_checker", "weights_missing_visual_projection_weight_safety_checker"),
        *(
            "weights_missing_special_care_embeds_weights_safety_checker",
            "weights_no_entries_empty_object_safety_checker",
        ),
    ),
    "a norm that is not there is made up of ones, which the small bundle has too": (
        *("weights_missing_final_layer_norm_weight_text_encoder",),
        "weights_missing_encoder_final_layer_norm_weight_flux_text_encoder_2",
    ),
    "whole numbers for weights: the picture does not depend on these": (
        "weights_header_dtype_i32_same_bytes_safety_checker",
    ),
    "a folder that can be entered and not listed: which weights load is decided by what it has": (
        *("dir_not_listable_scheduler", "dir_not_listable_unet"),
    ),
}
"""Refused, although the library loads it and draws the same picture."""

DELIBERATE: Mapping[str, str] = {
    "path_escape": "files outside of the bundle come and go without it",
    "quantized_backend": "needs a package that not every runtime has",
}
"""Findings with which a bundle is refused whatever the library draws."""

DIFFERS: Mapping[str, tuple[list[str], list[str]]] = {
    "control_fp16only_no_variant_kw": ([], ["variant_required"]),  # a descriptor names the variant to load
    "bundle_path_missing": (["path_not_found"], []),  # the name that the existing Pumas library has for it
}
"""Cases of tests/data/bundle-cases.json with an outcome of our own: findings and notices."""
