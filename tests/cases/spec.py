"""Changes to the entries of model_index.json: their form, their absence, their library, their class."""

from collections.abc import Iterator, Mapping

from tests.cases.change import Change, drop_keys, remove, set_keys, steps, write
from tests.cases.index import INDEX

UNET = ["diffusers", "UNet2DConditionModel"]
PARTS: Mapping[str, tuple[str, ...]] = {
    "sd-tiny": ("unet", "vae", "text_encoder", "tokenizer", "scheduler", "safety_checker", "feature_extractor"),
    "sdxl-tiny": ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"),
    "flux-tiny": ("transformer", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"),
    "sd3-tiny": (
        *("transformer", "vae", "scheduler", "text_encoder", "text_encoder_2", "text_encoder_3"),
        *("tokenizer", "tokenizer_2", "tokenizer_3"),
    ),
    "pixart-tiny": ("transformer", "vae", "text_encoder", "tokenizer", "scheduler"),
}
OPTIONAL = {"safety_checker", "feature_extractor"}


def tag(base: str, name: str) -> str:
    """How a component of a base is called in a change's name: plain for Stable Diffusion, else with its family."""
    family = base.removesuffix("-sharded").removesuffix("-tiny")
    return name if family.startswith("sd-") or family == "sd" else f"{family}_{name}"


def spec_changes() -> Iterator[Change]:
    """The form of an entry, presence, library and class."""
    yield from _forms()
    yield from _presence()
    yield from _libraries()
    yield from _classes()


def _forms() -> Iterator[Change]:
    forms: dict[str, object] = {
        "two_char_string": "ab",
        "string": "diffusers",
        "empty_string": "",
        "three_elements": [*UNET, "fp16"],
        "one_element": ["diffusers"],
        "empty_list": [],
        "half_null": ["diffusers", None],
        "library_null": [None, "UNet2DConditionModel"],
        "null": None,
        "false": False,
        "true": True,
        "number": 5,
        "object": {"library": "diffusers", "class": "UNet2DConditionModel"},
        "object_of_two": {"diffusers": 1, "UNet2DConditionModel": 2},
        "empty_strings": ["", ""],
        "class_empty": ["diffusers", ""],
        "library_empty": ["", "UNet2DConditionModel"],
        "numbers": [1, 2],
        "booleans": [False, False],
        "class_number": ["diffusers", 3],
        "nested": [["diffusers", "UNet2DConditionModel"]],
        "class_list": ["diffusers", ["UNet2DConditionModel"]],
    }
    for form, value in forms.items():
        yield Change(f"spec_{form}", "sd-tiny", set_keys(INDEX, {"unet": value}))
        yield Change(f"spec_{form}_safety_checker", "sd-tiny", set_keys(INDEX, {"safety_checker": value}))
    for form in ("null", "empty_list", "half_null", "library_null", "false"):
        yield Change(f"spec_{form}_image_encoder", "sd-tiny", set_keys(INDEX, {"image_encoder": forms[form]}))
        yield Change(f"spec_{form}_tokenizer", "sd-tiny", set_keys(INDEX, {"tokenizer": forms[form]}))


def _presence() -> Iterator[Change]:
    for base, names in PARTS.items():
        for name in names:
            kind = "optional" if name in OPTIONAL else "required"
            yield Change(f"{kind}_{tag(base, name)}_null", base, set_keys(INDEX, {name: [None, None]}))
            yield Change(f"{kind}_{tag(base, name)}_absent", base, drop_keys(INDEX, name))
    for name in PARTS["sd-tiny"]:
        gone = steps(remove(name), drop_keys(INDEX, name))
        yield Change(f"gone_{name}", "sd-tiny", gone)
    safety = steps(
        remove("safety_checker", "feature_extractor"), drop_keys(INDEX, "safety_checker", "feature_extractor")
    )
    yield Change("optional_safety_checker_and_feature_extractor_gone", "sd-tiny", safety)
    both = {"safety_checker": [None, None], "feature_extractor": [None, None]}
    yield Change("optional_safety_checker_and_feature_extractor_null", "sd-tiny", set_keys(INDEX, both))
    yield Change("optional_image_encoder_absent", "sd-tiny", drop_keys(INDEX, "image_encoder"))
    encoder = ["transformers", "CLIPVisionModelWithProjection"]
    yield Change("optional_image_encoder_named_without_folder", "sd-tiny", set_keys(INDEX, {"image_encoder": encoder}))
    four = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
    yield Change("sdxl_text_encoders_null", "sdxl-tiny", set_keys(INDEX, {name: [None, None] for name in four}))
    first = {"text_encoder": [None, None], "tokenizer": [None, None]}
    yield Change("sdxl_first_encoder_null", "sdxl-tiny", set_keys(INDEX, first))
    second = {"text_encoder_2": [None, None], "tokenizer_2": [None, None]}
    yield Change("sdxl_second_encoder_null", "sdxl-tiny", set_keys(INDEX, second))
    third = {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    yield Change("sd3_third_encoder_null", "sd3-tiny", set_keys(INDEX, third))
    yield Change("sd3_third_encoder_absent", "sd3-tiny", drop_keys(INDEX, "text_encoder_3", "tokenizer_3"))


def _libraries() -> Iterator[Change]:
    libraries: dict[str, tuple[str, list[str]]] = {
        "stdlib": ("unet", ["json", "JSONDecoder"]),
        "torch": ("unet", ["torch.nn", "Linear"]),
        "unknown": ("unet", ["nowhere", "UNet2DConditionModel"]),
        "moved_module": ("unet", ["wuerstchen", "WuerstchenDiffNeXt"]),
        "paint_by_example": ("safety_checker", ["paint_by_example", "PaintByExampleImageEncoder"]),
        "pipeline_module_for_model": ("unet", ["stable_diffusion", "UNet2DConditionModel"]),
        "pipeline_module_stale": ("unet", ["latent_diffusion", "UNet2DConditionModel"]),
        "transformers_for_diffusers": ("unet", ["transformers", "UNet2DConditionModel"]),
        "diffusers_for_transformers": ("text_encoder", ["diffusers", "CLIPTextModel"]),
        "diffusers_for_tokenizer": ("tokenizer", ["diffusers", "CLIPTokenizer"]),
        "safety_checker_by_diffusers": ("safety_checker", ["diffusers", "StableDiffusionSafetyChecker"]),
        "safety_checker_by_module_path": (
            "safety_checker",
            ["diffusers.pipelines.stable_diffusion", "StableDiffusionSafetyChecker"],
        ),
        "safety_checker_by_file": ("safety_checker", ["safety_checker", "StableDiffusionSafetyChecker"]),
        "submodule_diffusers": ("unet", ["diffusers.models", "UNet2DConditionModel"]),
        "submodule_transformers": ("text_encoder", ["transformers.models.clip", "CLIPTextModel"]),
        "upper_case": ("unet", ["Diffusers", "UNet2DConditionModel"]),
        "space": ("unet", ["diffusers ", "UNet2DConditionModel"]),
        "path_escape": ("unet", ["../evil", "UNet2DConditionModel"]),
        "dots": ("unet", ["..", "UNet2DConditionModel"]),
        "absolute": ("unet", ["/tmp/evil", "UNet2DConditionModel"]),  # noqa: S108 - a name in an index, never opened
        "builtins": ("scheduler", ["builtins", "dict"]),
        "schedulers_module": ("scheduler", ["schedulers", "PNDMScheduler"]),
        "onnx": ("unet", ["optimum.onnxruntime", "ORTModelForCustomTasks"]),
    }
    for name, (component, value) in libraries.items():
        yield Change(f"component_library_{name}", "sd-tiny", set_keys(INDEX, {component: value}))
    code = "from diffusers import UNet2DConditionModel as Mine\n"
    local = steps(set_keys(INDEX, {"unet": ["mine", "Mine"]}), write("unet/mine.py", code))
    yield Change("component_library_local_code", "sd-tiny", local)
    yield Change("component_library_local_code_trusted", "sd-tiny", local, {"trust_remote_code": True})
    kept = steps(set_keys(INDEX, {"unet": ["diffusers", "UNet2DConditionModel"]}), write("unet/diffusers.py", code))
    yield Change("component_library_shadowed_by_file", "sd-tiny", kept)


def _classes() -> Iterator[Change]:
    diffusers = {
        "unknown": ("unet", "NoSuchModel"),
        "vae_for_unet": ("unet", "AutoencoderKL"),
        "unet_for_vae": ("vae", "UNet2DConditionModel"),
        "unet_motion": ("unet", "UNetMotionModel"),
        "unet_2d": ("unet", "UNet2DModel"),
        "unet_flat": ("unet", "UNetFlatConditionModel"),
        "unet_flax": ("unet", "FlaxUNet2DConditionModel"),
        "unet_auto": ("unet", "AutoModel"),
        "unet_mixin": ("unet", "ModelMixin"),
        "unet_pipeline": ("unet", "StableDiffusionPipeline"),
        "vae_tiny": ("vae", "AutoencoderTiny"),
        "vae_asymmetric": ("vae", "AsymmetricAutoencoderKL"),
        "vae_temporal": ("vae", "AutoencoderKLTemporalDecoder"),
        "vae_consistency": ("vae", "ConsistencyDecoderVAE"),
        "scheduler_swapped": ("scheduler", "EulerDiscreteScheduler"),
        "scheduler_ddim": ("scheduler", "DDIMScheduler"),
        "scheduler_lms": ("scheduler", "LMSDiscreteScheduler"),
        "scheduler_dpm": ("scheduler", "DPMSolverMultistepScheduler"),
        "scheduler_sde": ("scheduler", "DPMSolverSDEScheduler"),
        "scheduler_flow": ("scheduler", "FlowMatchEulerDiscreteScheduler"),
        "scheduler_mixin": ("scheduler", "SchedulerMixin"),
        "scheduler_vq": ("scheduler", "VQDiffusionScheduler"),
        "scheduler_flax": ("scheduler", "FlaxPNDMScheduler"),
        "scheduler_is_model": ("scheduler", "UNet2DConditionModel"),
        "unet_is_scheduler": ("unet", "PNDMScheduler"),
        "lower_case": ("unet", "unet2dconditionmodel"),
    }
    for name, (component, value) in diffusers.items():
        yield Change(f"component_class_{name}", "sd-tiny", set_keys(INDEX, {component: ["diffusers", value]}))
    transformers = {
        "unknown_transformers": ("text_encoder", "NoSuchTextModel"),
        "auto": ("text_encoder", "AutoModel"),
        "auto_tokenizer": ("tokenizer", "AutoTokenizer"),
        "auto_processor": ("feature_extractor", "AutoImageProcessor"),
        "clip_model": ("text_encoder", "CLIPModel"),
        "clip_vision": ("text_encoder", "CLIPVisionModel"),
        "clip_projection": ("text_encoder", "CLIPTextModelWithProjection"),
        "clip_pretrained_base": ("text_encoder", "CLIPPreTrainedModel"),
        "clip_config": ("text_encoder", "CLIPTextConfig"),
        "pretrained_model": ("text_encoder", "PreTrainedModel"),
        "tf_clip": ("text_encoder", "TFCLIPTextModel"),
        "flax_clip": ("text_encoder", "FlaxCLIPTextModel"),
        "bert_for_clip": ("text_encoder", "BertModel"),
        "t5_for_clip": ("text_encoder", "T5EncoderModel"),
        "roberta_series": ("text_encoder", "XLMRobertaModel"),
        "tokenizer_fast": ("tokenizer", "CLIPTokenizerFast"),
        "tokenizer_t5": ("tokenizer", "T5Tokenizer"),
        "tokenizer_t5_fast": ("tokenizer", "T5TokenizerFast"),
        "tokenizer_bert": ("tokenizer", "BertTokenizer"),
        "tokenizer_gpt2": ("tokenizer", "GPT2Tokenizer"),
        "tokenizer_base": ("tokenizer", "PreTrainedTokenizer"),
        "tokenizer_base_fast": ("tokenizer", "PreTrainedTokenizerFast"),
        "tokenizer_is_model": ("tokenizer", "CLIPTextModel"),
        "text_encoder_is_tokenizer": ("text_encoder", "CLIPTokenizer"),
        "deprecated_remap": ("feature_extractor", "CLIPFeatureExtractor"),
        "processor_fast": ("feature_extractor", "CLIPImageProcessorFast"),
        "processor_pil": ("feature_extractor", "CLIPImageProcessorPil"),
        "processor_clip": ("feature_extractor", "CLIPProcessor"),
        "processor_siglip": ("feature_extractor", "SiglipImageProcessor"),
        "processor_vit": ("feature_extractor", "ViTImageProcessor"),
        "processor_vit_old": ("feature_extractor", "ViTFeatureExtractor"),
        "processor_dpt": ("feature_extractor", "DPTFeatureExtractor"),
        "safety_checker_clip": ("safety_checker", "CLIPModel"),
    }
    for name, (component, value) in transformers.items():
        yield Change(f"component_class_{name}", "sd-tiny", set_keys(INDEX, {component: ["transformers", value]}))
    flux: dict[str, tuple[str, list[str]]] = {
        "flux_t5_model": ("text_encoder_2", ["transformers", "T5Model"]),
        "flux_t5_conditional": ("text_encoder_2", ["transformers", "T5ForConditionalGeneration"]),
        "flux_umt5": ("text_encoder_2", ["transformers", "UMT5EncoderModel"]),
        "flux_mt5": ("text_encoder_2", ["transformers", "MT5EncoderModel"]),
        "flux_tokenizer_2_slow": ("tokenizer_2", ["transformers", "T5Tokenizer"]),
        "flux_tokenizer_2_fast": ("tokenizer_2", ["transformers", "T5TokenizerFast"]),
        "flux_tokenizer_2_clip": ("tokenizer_2", ["transformers", "CLIPTokenizer"]),
        "flux_tokenizer_2_llama": ("tokenizer_2", ["transformers", "LlamaTokenizer"]),
        "flux_tokenizer_2_mt5": ("tokenizer_2", ["transformers", "MT5Tokenizer"]),
        "flux_transformer_chroma": ("transformer", ["diffusers", "ChromaTransformer2DModel"]),
        "flux_transformer_sd3": ("transformer", ["diffusers", "SD3Transformer2DModel"]),
        "flux_scheduler_euler": ("scheduler", ["diffusers", "EulerDiscreteScheduler"]),
        "flux_transformer_pipeline_module": ("transformer", ["flux", "FluxTransformer2DModel"]),
    }
    for name, (component, entry) in flux.items():
        yield Change(f"component_class_{name}", "flux-tiny", set_keys(INDEX, {component: entry}))
    plain = set_keys(INDEX, {"text_encoder_2": ["transformers", "CLIPTextModel"]})
    yield Change("component_class_sdxl_text_encoder_2_plain", "sdxl-tiny", plain)
    old = set_keys(INDEX, {"transformer": ["diffusers", "Transformer2DModel"]})
    yield Change("component_class_pixart_transformer_2d", "pixart-tiny", old)
