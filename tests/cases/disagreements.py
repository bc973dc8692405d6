"""Where a verdict and the real library differ, by reason: the only places where they may.

A change that no longer needs its place here fails the comparison, as one does that is missing.
"""

from collections.abc import Mapping

BEYOND: Mapping[str, tuple[str, ...]] = {
    "another pipeline or scheduler, which takes the same components: people choose theirs, and the index says which": (
        *("class_name_pag", "class_name_sag", "class_name_sd3_pag", "class_name_sdxl_pag"),
        *("component_class_scheduler_ddim", "component_class_scheduler_dpm", "component_class_scheduler_swapped"),
    ),
    "another whole component that fits: a VAE or a text encoder of another training is exchanged on purpose": (
        *("taken_vae_from_flux_tiny_vae_for_sd_tiny", "taken_vae_from_pixart_tiny_vae_for_sd_tiny"),
        *("taken_vae_from_sd3_tiny_vae_for_pixart_tiny", "taken_vae_from_sd_tiny_vae_for_pixart_tiny"),
        "taken_text_encoder_from_flux_tiny_text_encoder_2_for_pixart_tiny",
        *("exchange_sd3_text_encoders", "exchange_sdxl_first_encoder_is_second"),
        *("tok_sdxl_folders_swapped", "dir_symlink_to_other_component"),  # two of CLIP, which fill prompts otherwise
    ),
    "how noise is taken away: the class draws with each value, and no file says which the weights were trained for": (
        *("config_scheduler_beta_schedule_linear", "config_scheduler_prediction_type_v", "setting_sch_train_10"),
        *("setting_pndm_schedule_cosine", "setting_pndm_spacing_trailing"),
        *("setting_dpm_flow_sigmas", "setting_dpm_lu_lambdas", "setting_dpm_prediction_flow"),
        *("setting_dpm_rescale_betas", "setting_dpm_thresholding"),
        *("setting_class_ddim_clip_text", "setting_class_ddim_rescale", "setting_class_dpmm_rescale_sigma"),
        *("setting_class_ddpm_sigmoid", "setting_class_heun_exp", "setting_class_euler_original"),
        *("setting_xl_sch_interpolation_log", "setting_xl_sch_prediction_sample", "setting_xl_sch_schedule_cosine"),
        *("setting_flow_invert", "setting_flux_sched_dynamic"),
    ),
    "a setting left to its class, which has a value for it: no other file says that another one was meant": (
        *("setting_pndm_without_schedule", "setting_xl_sch_spacing_absent", "setting_flow_without_shift"),
        *("config_text_encoder_without_num_attention_heads", "setting_xl_te2_act_gone"),
    ),
    "a sampler that needs four steps: the pictures compared here are of two": (
        *("config_scheduler_skip_prk_steps_false", "setting_sch_skip_null", "setting_pndm_without_skip_prk"),
        "taken_scheduler_from_sdxl_tiny_scheduler_for_sd_tiny",
    ),
    "how a layer calculates: no tensor has another shape by it, and no file says what the weights were trained with": (
        *("config_unet_act_fn_gelu", "setting_unet_act_relu", "setting_vae_act_relu", "setting_te_act_silu"),
        *("config_text_encoder_hidden_act_gelu", "setting_te_act_gelu_new", "setting_xl_te2_act_quick"),
        *("setting_unet_post_act_silu", "setting_unet_time_act_silu", "config_unet_center_input_sample"),
        *("setting_unet_groups_4", "setting_vae_groups_4", "setting_te_eps_half", "setting_unet_mid_scale_2"),
        *("setting_unet_downsample_padding", "setting_unet_cosines_false", "setting_unet_freq_1"),
    ),
    "how a width is divided among heads or axes: the tensors are of the whole width": (
        *("config_unet_attention_head_dim_4", "config_text_encoder_num_attention_heads_8"),
        *("setting_te_heads_1", "setting_te_heads_16", "setting_xl_te2_heads_4"),
        *("setting_px_tr_heads_swapped", "setting_sd3_tr_heads_swapped", "config_flux_transformer_axes_dims_rope"),
    ),
    "how large, how bright, how far: the owner tunes these, and every value draws": (
        *("config_unet_sample_size_pair", "config_pixart_transformer_sample_size_64", "setting_px_tr_scale_2"),
        *("config_vae_scaling_factor", "setting_t5_relpos", "tok_config_model_max_length_16"),
    ),
    "what a prompt is filled with, and where: OpenCLIP's tokenizers take `!`, others their end": (
        *("tok_special_map_pad_other", "setting_clip_pad_resized", "setting_t5json_padding_fixed"),
    ),
    "the numbers in the tensors: gigabytes, which no look reads": (
        *("weights_zeroed_conv_out_weight_unet", "weights_zeroed_linear_1_unet"),
        *("weights_zeroed_decoder_conv_out_weight_vae", "weights_zeroed_proj_out_weight_pixart_transformer"),
        *("weights_zeroed_position_embedding_text_encoder", "weights_zeroed_token_embedding_text_encoder"),
        *("weights_zeroed_proj_out_weight_flux_transformer", "weights_zeroed_x_embedder_weight_flux_transformer"),
        *("weights_zeroed_shared_weight_flux_text_encoder_2", "weights_embeddings_differ_flux_text_encoder_2"),
        "weights_zeroed_context_embedder_weight_sd3_transformer",
        *("numbers_all_f8_e4m3_sdxl_unet", "numbers_all_f8_e4m3_sdxl_text_encoder_2"),  # all of them zeros
        *("numbers_all_f8_e4m3_flux_transformer", "numbers_all_f8_e4m3_flux_text_encoder_2"),
        *("numbers_all_f8_e4m3_sd3_transformer", "numbers_all_f8_e4m3_pixart_transformer", "weights_one_f8_unet"),
    ),
    "sines that the library computes when no file has them, and that the small bundle has other numbers for": (
        "weights_missing_pos_embed_pos_embed_sd3_transformer",
    ),
    "which words a vocabulary has, and their numbers: the text encoder says how many, and for rows in reserve too": (
        *("tok_vocab_without_letter", "tok_t5_vocab_shorter", "words_vocab_letters_swapped"),
        *("pieces_half", "pieces_last_lost", "pieces_without_letter"),
    ),
}
"""Valid, although the library fails or draws another picture: no file tells it from what an owner means."""

REFUSED: Mapping[str, tuple[str, ...]] = {
    "tensors that are not there are made up, others dropped, and the pictures of these prompts do not depend on it": (
        "config_flux_text_encoder_2_feed_forward_relu",
        *("setting_t5_relu", "setting_flux_t5_proj_gone"),
        *("weights_missing_concept_embeds_safety_checker", "weights_missing_visual_projection_weight_safety_checker"),
        *("weights_missing_special_care_embeds_weights_safety_checker",),
        *("setting_checker_layers_1", "setting_checker_layers_3"),
    ),
    "a norm that is not there is made up of ones, which the small bundle has too": (
        *("weights_missing_final_layer_norm_weight_text_encoder",),
        "weights_missing_encoder_final_layer_norm_weight_flux_text_encoder_2",
    ),
    "whole numbers for weights: the pictures do not depend on these": (
        "weights_header_dtype_i32_same_bytes_safety_checker",
    ),
    "a word for which the text encoder has no row, and that is not in these prompts": (
        "setting_decoder_other_word_taken",
    ),
    "a model under the name of another kind, which only the class of the tokenizer puts right": (
        *("setting_v5_type_level", "setting_t5json_type_bpe"),
    ),
    "a folder that can be entered and not listed: which weights load is decided by what it has": (
        *("dir_not_listable_scheduler", "dir_not_listable_unet"),
    ),
}
"""Refused, although the library loads it and draws the same pictures."""

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
