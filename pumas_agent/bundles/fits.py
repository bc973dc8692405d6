"""Owns the rules on what components say of each other: classes that the pipeline can call, and widths that agree.

diffusers compares neither when it loads (a class that is not expected is a line in its log): the first prompt fails, or
draws noise.
"""

from collections.abc import Callable, Iterator
from typing import Any

from pumas_agent.bundles.bundle import Bundle, Component, Rule, Unusable
from pumas_agent.bundles.configs import PREPROCESSOR, config_name
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, shown
from pumas_agent.bundles.special_tokens import TOKENIZER_CONFIG, WHOLE_TOKENIZERS
from pumas_agent.bundles.tables import ComponentKind as Kind
from pumas_agent.bundles.weights.config import MAX_SIZE

_ALIKE = {
    "AutoencoderKL": ("AutoencoderTiny", "AsymmetricAutoencoderKL", "ConsistencyDecoderVAE"),
    "PixArtTransformer2DModel": ("Transformer2DModel",),
    "T5EncoderModel": ("MT5EncoderModel", "UMT5EncoderModel"),
}
"""Classes that may stand for the one that a constructor is annotated with."""
_LOADS_OTHERS = {"Transformer2DModel", "MT5EncoderModel"}
"""Of the first, diffusers makes the class that the config means; the second is built as T5EncoderModel is."""
_CALLED_IN_DETAIL = ("CLIPTextModelWithProjection", "T5EncoderModel")
"""Text encoders whose answer the pipeline takes apart; of others, any that the model was trained with will do."""
_CLIP_IMAGES = ("CLIPImageProcessor", "CLIPFeatureExtractor", "CLIPImageProcessorPil")
_CLIP_PICTURE = 224
"""Pixels a side, where a config of CLIP does not say."""
_ADDS_A_SHIFT = (
    *("FluxPipeline", "StableDiffusion3", "Chroma", "HiDreamImage", "Lumina2", "LongCatImage"),
    *("OvisImage", "ZImage"),
)
"""Pipelines whose last step is `latents / scaling_factor + shift_factor` (diffusers 0.42)."""
_CLIP = ("CLIPTextModel", "CLIPTextModelWithProjection")


def classes_fit_the_pipeline(bundle: Bundle) -> Iterator[Problem]:
    """A model is of the class that the pipeline calls, by the annotations of its constructor."""
    for component, expected in _expected(bundle):
        strict = component.kind is Kind.DIFFUSERS_MODEL or all(name in _CALLED_IN_DETAIL for name in expected)
        if component.kind is Kind.PROCESSOR and all(name.endswith("ImageProcessor") for name in expected):
            strict = True  # it would look for a tokenizer too
        if strict and not _is_one_of(component.class_name, expected):
            yield _unfit(bundle, component, expected, "and calls it as such")


def classes_are_not_relabelled(bundle: Bundle) -> Iterator[Problem]:
    """A component that was saved as the class that the pipeline expects is not loaded as another one."""
    for component, expected in _expected(bundle):
        saved_as = _written_for(bundle, component)
        plain = {name.removesuffix("Fast") for name in expected}
        others = plain | _LOADS_OTHERS | WHOLE_TOKENIZERS
        if saved_as is None or not others.isdisjoint({component.class_name, component.class_name.removesuffix("Fast")}):
            continue
        if saved_as.removesuffix("Fast") in plain:
            yield _unfit(bundle, component, expected, f"and its files are of {saved_as[:80]}")


def scheduler_fits_the_pipeline(bundle: Bundle) -> Iterator[Problem]:
    """The scheduler has every attribute and parameter that the pipeline uses without asking whether it is there."""
    facts = bundle.facts
    for component in bundle.components:
        provides = bundle.tables.scheduler_provides(component.class_name) if component.kind is Kind.SCHEDULER else None
        if facts is None or provides is None or component.name != "scheduler":
            continue
        lacking = [need for need in facts.scheduler_needs if need not in provides]
        if lacking:
            what = f"{component.class_name} has no {', '.join(lacking)}, which {facts.name} uses"
            yield fatal(FindingCode.COMPONENT_CLASS_MISMATCH, what, component.name)


def unet_takes_what_the_vae_gives(bundle: Bundle) -> Iterator[Problem]:
    """The UNet works on latents of as many channels as the VAE has; those for inpainting take nine."""
    unet, vae = _model(bundle, "unet", "UNet2DConditionModel"), _model(bundle, "vae", "AutoencoderKL")
    if unet is None or vae is None:
        return
    takes, gives = _number(bundle, unet, "in_channels", 4), _number(bundle, vae, "latent_channels", 4)
    if takes is not None and gives is not None and takes != gives:
        path = unet.path("config.json")
        what = f"{path}: the UNet takes {takes} channels, and the VAE has {gives}"
        yield fatal(FindingCode.UNET_IN_CHANNELS, what, path)


def vae_says_its_shift(bundle: Bundle) -> Iterator[Problem]:
    """Pipelines of the newer kind add the VAE's `shift_factor` to what they drew; the class has none by itself."""
    vae, facts = _model(bundle, "vae", "AutoencoderKL"), bundle.facts
    config = {} if vae is None else _config(bundle, vae)
    if vae is None or not config or facts is None or not facts.name.startswith(_ADDS_A_SHIFT):
        return
    shift = config.get("shift_factor")
    if not isinstance(shift, int | float) or isinstance(shift, bool):
        path = vae.path("config.json")
        what = f"{path} gives {shown(shift)} for shift_factor, which {facts.name} adds"
        yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def unet_is_told_what_it_asks(bundle: Bundle) -> Iterator[Problem]:
    """The UNet of SDXL asks for the pooled prompt and the picture's size, others for a class; few pipelines tell."""
    unet, facts = _model(bundle, "unet", "UNet2DConditionModel"), bundle.facts
    if unet is None or facts is None or not facts.name.startswith(("StableDiffusion", "LatentConsistency", "Kolors")):
        return
    config, path = _config(bundle, unet), unet.path("config.json")
    tells = facts.name.startswith(("StableDiffusionXL", "Kolors"))
    if config and tells != (config.get("addition_embed_type") == "text_time"):
        does = "does not take" if tells else "asks for"
        what = f"{path}: the UNet {does} the pooled prompt and the picture's size, unlike {facts.name}"
        yield fatal(FindingCode.COMPONENT_CLASS_MISMATCH, what, path)
    asks = [key for key in ("class_embed_type", "num_class_embeds") if config.get(key) is not None]
    if asks and "UnCLIP" not in facts.name:
        what = f"{path}: the UNet asks for a class ({asks[0]}), which {facts.name} does not tell"
        yield fatal(FindingCode.COMPONENT_CLASS_MISMATCH, what, path)


def unet_says_how_large(bundle: Bundle) -> Iterator[Problem]:
    """Stable Diffusion draws as large as its UNet says, when nobody asks for a size."""
    unet, facts = _model(bundle, "unet", "UNet2DConditionModel"), bundle.facts
    if unet is None or facts is None or not facts.name.startswith("StableDiffusion"):
        return
    config, path = _config(bundle, unet), unet.path("config.json")
    unsaid = config.get("_use_default_values")  # what diffusers then takes from the class, which has no size
    is_unsaid = isinstance(unsaid, list) and "sample_size" in unsaid
    size = None if is_unsaid else config.get("sample_size")
    if config and (not isinstance(size, int | list) or not size):
        what = f"{path} has {shown(size)} for sample_size: a picture would have no size"
        yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def safety_checker_sees_what_it_takes(bundle: Bundle) -> Iterator[Problem]:
    """The feature extractor makes pictures of the size that the safety checker takes."""
    checker = _model(bundle, "safety_checker", "StableDiffusionSafetyChecker")
    eyes = next((part for part in bundle.components if part.name == "feature_extractor"), None)
    if checker is None or eyes is None or eyes.class_name not in _CLIP_IMAGES:
        return
    vision = _config(bundle, checker).get("vision_config")
    images = _document(bundle, eyes.path(PREPROCESSOR))
    crop = images.get("crop_size", _CLIP_PICTURE)
    sides = (crop.get("height"), crop.get("width")) if isinstance(crop, dict) else (crop, crop)
    takes = vision.get("image_size", _CLIP_PICTURE) if isinstance(vision, dict) else None
    if takes is None or not images or not images.get("do_center_crop", True):
        return
    if any(type(side) is int and side != takes for side in sides):
        path = eyes.path(PREPROCESSOR)
        what = (
            f"{path} makes pictures of {shown(sides[0])} by {shown(sides[1])}; the safety checker takes {shown(takes)}"
        )
        yield fatal(FindingCode.WEIGHTS_SHAPE_MISMATCH, what, path)


def prompt_is_as_wide_as_it_should_be(bundle: Bundle) -> Iterator[Problem]:
    """What the text encoders give for a token is as wide as what the denoiser takes."""
    for denoiser_class, widths in _WIDTHS.items():
        for name in ("unet", "transformer"):
            denoiser = _model(bundle, name, denoiser_class)
            if denoiser is not None:
                for taken, given in widths(bundle, denoiser):
                    if taken is not None and given is not None and taken != given:
                        path = denoiser.path("config.json")
                        what = f"{path}: the {name} takes {taken} numbers a token, the text encoders give {given}"
                        yield fatal(FindingCode.WEIGHTS_SHAPE_MISMATCH, what, path)


_Widths = Iterator[tuple[int | None, int | None]]


def _of_unet(bundle: Bundle, unet: Component) -> _Widths:
    config = _config(bundle, unet)
    encoders = [component for component in bundle.components if component.name.startswith("text_encoder")]
    clip = all(component.class_name in _CLIP for component in encoders)
    if encoders and clip and config.get("encoder_hid_dim_type") is None and config.get("encoder_hid_dim") is None:
        given = _sum(_number(bundle, encoder, "hidden_size", 512) for encoder in encoders)
        yield _number(bundle, unet, "cross_attention_dim", 1280), given


def _of_flux(bundle: Bundle, transformer: Component) -> _Widths:
    clip, t5 = _model(bundle, "text_encoder", "CLIPTextModel"), _model(bundle, "text_encoder_2", "T5EncoderModel")
    if t5 is not None:
        yield _number(bundle, transformer, "joint_attention_dim", 4096), _number(bundle, t5, "d_model", 512)
    if clip is not None:
        yield _number(bundle, transformer, "pooled_projection_dim", 768), _number(bundle, clip, "hidden_size", 512)


def _of_sd3(bundle: Bundle, transformer: Component) -> _Widths:
    t5 = _model(bundle, "text_encoder_3", "T5EncoderModel")
    clips = [_model(bundle, name, "CLIPTextModelWithProjection") for name in ("text_encoder", "text_encoder_2")]
    if t5 is not None:
        yield _number(bundle, transformer, "joint_attention_dim", 4096), _number(bundle, t5, "d_model", 512)
    pooled = _sum(None if clip is None else _number(bundle, clip, "projection_dim", 512) for clip in clips)
    yield _number(bundle, transformer, "pooled_projection_dim", 2048), pooled


def _of_pixart(bundle: Bundle, transformer: Component) -> _Widths:
    t5 = _model(bundle, "text_encoder", "T5EncoderModel")
    if t5 is not None and "caption_channels" in _config(bundle, transformer):
        yield _number(bundle, transformer, "caption_channels", 0), _number(bundle, t5, "d_model", 512)


_WIDTHS: dict[str, Callable[[Bundle, Component], _Widths]] = {
    "UNet2DConditionModel": _of_unet,
    "FluxTransformer2DModel": _of_flux,
    "SD3Transformer2DModel": _of_sd3,
    "PixArtTransformer2DModel": _of_pixart,
}
"""Of each denoiser: pairs of what it takes and what it is given. The defaults are those of the classes."""


def _expected(bundle: Bundle) -> Iterator[tuple[Component, tuple[str, ...]]]:
    """The components for which the constructor of the pipeline is annotated with classes."""
    facts = bundle.facts
    for component in bundle.components:
        expected = facts.classes.get(component.name, ()) if facts is not None else ()
        if expected and component.kind is not Kind.SCHEDULER:
            yield component, expected


def _is_one_of(class_name: str, expected: tuple[str, ...]) -> bool:
    plain = class_name.removesuffix("Fast")
    return any(plain == name.removesuffix("Fast") or plain in _ALIKE.get(name, ()) for name in expected)


def _written_for(bundle: Bundle, component: Component) -> str | None:
    """The class that the component's own files name."""
    if component.kind is Kind.TOKENIZER:
        named = _document(bundle, component.path(TOKENIZER_CONFIG)).get("tokenizer_class")
    elif component.kind is Kind.TRANSFORMERS_MODEL:
        architectures = _config(bundle, component).get("architectures")
        named = architectures[0] if isinstance(architectures, list) and len(architectures) == 1 else None
    else:
        named = _config(bundle, component).get("_class_name")
    return named if isinstance(named, str) else None


def _model(bundle: Bundle, name: str, class_name: str) -> Component | None:
    found = (part for part in bundle.components if part.name == name and part.class_name == class_name)
    return next(found, None)


def _config(bundle: Bundle, component: Component) -> dict[str, Any]:
    name = config_name(component)
    return {} if name is None else _document(bundle, component.path(name))


def _document(bundle: Bundle, path: str) -> dict[str, Any]:
    """The document; nothing when it cannot be read, which another rule says."""
    try:
        return bundle.document(path) if bundle.is_file(path) else {}
    except Unusable:
        return {}


def _number(bundle: Bundle, component: Component, key: str, default: int) -> int | None:
    """What the config says, or what the class takes when it does not; None when nobody can tell."""
    config = _config(bundle, component)
    value = config.get(key, default) if config else None
    return value if type(value) is int and abs(value) <= MAX_SIZE else None


def _sum(numbers: Iterator[int | None]) -> int | None:
    known = list(numbers)
    return None if None in known else sum(number for number in known if number is not None)


def _unfit(bundle: Bundle, component: Component, expected: tuple[str, ...], why: str) -> Problem:
    takes = " or ".join(expected)
    what = (
        f"{component.name} is of the class {component.class_name}; {bundle.index.pipeline_class} takes {takes}, {why}"
    )
    return fatal(FindingCode.COMPONENT_CLASS_MISMATCH, what, component.name)


FIT_RULES: tuple[Rule, ...] = (
    classes_fit_the_pipeline,
    classes_are_not_relabelled,
    scheduler_fits_the_pipeline,
    unet_takes_what_the_vae_gives,
    vae_says_its_shift,
    unet_is_told_what_it_asks,
    unet_says_how_large,
    safety_checker_sees_what_it_takes,
    prompt_is_as_wide_as_it_should_be,
)
