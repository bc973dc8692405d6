"""Owns the rules on what components say of each other: classes that the pipeline can call, and settings that agree.

How wide things are is for `widths`.

diffusers compares neither when it loads (a class that is not expected is a line in its log): the first prompt fails, or
draws noise.
"""

import itertools
from collections.abc import Iterator
from typing import Any

from pumas_agent.bundles.bundle import Bundle, Component, Rule, Unusable
from pumas_agent.bundles.configs import PREPROCESSOR, config_name
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, shown
from pumas_agent.bundles.settings import is_number
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
_PIXELS, _HALVINGS = 8, 16
_SDXL_CHANNELS = 4
_DDPM = ("DDPMScheduler", "DDPMParallelScheduler")


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


def configs_are_not_exchanged(bundle: Bundle) -> Iterator[Problem]:
    """No two models have each other's configs: each was saved as the class of the other.

    transformers compares neither; with one of the two alone, a model was loaded as another class on purpose.
    """
    models = [part for part in bundle.components if part.kind is Kind.TRANSFORMERS_MODEL]
    saved = {part.name: _written_for(bundle, part) for part in models}
    for one, other in itertools.combinations(models, 2):
        classes = (one.class_name, other.class_name)
        if len(set(classes)) > 1 and (saved[other.name], saved[one.name]) == classes:
            path = one.path("config.json")
            what = f"{path} was written for {saved[one.name]}, and the one of {other.name} for {one.class_name}"
            yield fatal(FindingCode.COMPONENT_CLASS_MISMATCH, what, path)


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


def noise_has_its_width(bundle: Bundle) -> Iterator[Problem]:
    """A sampler that draws with a learned width of noise is told it by the UNet, in as many channels again.

    diffusers: `DDPMScheduler.step` splits what the model says, and `_get_variance` calculates with the second half.
    """
    unet = model_of(bundle, "unet", "UNet2DConditionModel")
    for component in bundle.components:
        learned = component.class_name in _DDPM and str(config_of(bundle, component).get("variance_type"))
        if unet is None or not learned or not learned.startswith("learned"):
            continue
        takes, says = number_of(bundle, unet, "in_channels", 4), number_of(bundle, unet, "out_channels", 4)
        if takes is not None and says is not None and says != 2 * takes:
            path = component.path("scheduler_config.json")
            what = f"{path} asks for a variance that is {learned}, and the UNet says {says} numbers of {takes}"
            yield fatal(FindingCode.COMPONENT_CLASS_MISMATCH, what, path)


def unet_takes_what_the_vae_gives(bundle: Bundle) -> Iterator[Problem]:
    """The UNet works on latents of as many channels as the VAE has; those for inpainting take nine."""
    unet, vae = model_of(bundle, "unet", "UNet2DConditionModel"), model_of(bundle, "vae", "AutoencoderKL")
    if unet is None or vae is None:
        return
    takes, gives = number_of(bundle, unet, "in_channels", 4), number_of(bundle, vae, "latent_channels", 4)
    if takes is not None and gives is not None and takes != gives:
        path = unet.path("config.json")
        what = f"{path}: the UNet takes {takes} channels, and the VAE has {gives}"
        yield fatal(FindingCode.UNET_IN_CHANNELS, what, path)


def vae_says_its_shift(bundle: Bundle) -> Iterator[Problem]:
    """Pipelines of the newer kind add the VAE's `shift_factor` to what they drew; the class has none by itself."""
    vae, facts = model_of(bundle, "vae", "AutoencoderKL"), bundle.facts
    config = {} if vae is None else config_of(bundle, vae)
    if vae is None or not config or facts is None or not facts.name.startswith(_ADDS_A_SHIFT):
        return
    shift = config.get("shift_factor")
    path = vae.path("config.json")
    if not isinstance(shift, int | float) or isinstance(shift, bool):
        what = f"{path} gives {shown(shift)} for shift_factor, which {facts.name} adds"
        yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)
    elif "scaling_factor" not in config:
        what = f"{path} says no scaling_factor; the one that the class has is of a VAE without a shift"
        yield fatal(FindingCode.CONFIG_DEFAULTS, what, path)


def vae_says_its_middle_in_full(bundle: Bundle) -> Iterator[Problem]:
    """SDXL takes the VAE's latents to the middle and the width that it says, which is a number for each channel.

    diffusers: `torch.tensor(latents_mean).view(1, 4, 1, 1)` of `StableDiffusionXLPipeline.__call__`.
    """
    vae, facts = model_of(bundle, "vae", "AutoencoderKL"), bundle.facts
    if vae is None or facts is None or not facts.name.startswith("StableDiffusionXL"):
        return
    config, path = config_of(bundle, vae), vae.path("config.json")
    mean, width = config.get("latents_mean"), config.get("latents_std")
    for name, value in (("latents_mean", mean), ("latents_std", width)) if None not in (mean, width) else ():
        numbers = value if isinstance(value, list) and all(map(is_number, value)) else []
        if len(numbers) != _SDXL_CHANNELS or (name == "latents_std" and not all(numbers)):
            yield fatal(FindingCode.INVALID_CONFIG_JSON, f"{path} gives {shown(value)} for {name}", path)


def unet_is_told_what_it_asks(bundle: Bundle) -> Iterator[Problem]:
    """The UNet of SDXL asks for the pooled prompt and the picture's size, others for a class; few pipelines tell."""
    unet, facts = model_of(bundle, "unet", "UNet2DConditionModel"), bundle.facts
    if unet is None or facts is None or not facts.name.startswith(("StableDiffusion", "LatentConsistency", "Kolors")):
        return
    config, path = config_of(bundle, unet), unet.path("config.json")
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
    """Stable Diffusion draws as large as its UNet says, when nobody asks for a size: in pixels, a multiple of eight.

    diffusers: `check_inputs` of the pipelines; a latent is as many pixels wide as the VAE halves them.
    """
    unet, facts = model_of(bundle, "unet", "UNet2DConditionModel"), bundle.facts
    if unet is None or facts is None or not facts.name.startswith("StableDiffusion"):
        return
    config, path = config_of(bundle, unet), unet.path("config.json")
    unsaid = config.get("_use_default_values")  # what diffusers then takes from the class, which has no size
    is_unsaid = isinstance(unsaid, list) and "sample_size" in unsaid
    size = None if is_unsaid else config.get("sample_size")
    if config and (not isinstance(size, int | list) or not size):
        what = f"{path} has {shown(size)} for sample_size: a picture would have no size"
        yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)
        return
    vae = model_of(bundle, "vae", "AutoencoderKL")
    channels = config_of(bundle, vae).get("block_out_channels") if vae is not None else None
    pixels = 1 << min(len(channels) - 1, _HALVINGS) if isinstance(channels, list) and channels else _PIXELS
    for side in size if isinstance(size, list) else [size]:
        if isinstance(side, int) and (side <= 0 or side * pixels % _PIXELS):
            what = f"{path} has {shown(size)} for sample_size: a side of {side * pixels} pixels is not drawn"
            yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)
            break


def safety_checker_sees_what_it_takes(bundle: Bundle) -> Iterator[Problem]:
    """The feature extractor makes pictures of the size that the safety checker takes."""
    checker = model_of(bundle, "safety_checker", "StableDiffusionSafetyChecker")
    eyes = next((part for part in bundle.components if part.name == "feature_extractor"), None)
    if checker is None or eyes is None or eyes.class_name not in _CLIP_IMAGES:
        return
    vision = config_of(bundle, checker).get("vision_config")
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
        architectures = config_of(bundle, component).get("architectures")
        named = architectures[0] if isinstance(architectures, list) and len(architectures) == 1 else None
    else:
        named = config_of(bundle, component).get("_class_name")
    return named if isinstance(named, str) else None


def model_of(bundle: Bundle, name: str, class_name: str) -> Component | None:
    """The component of this name, when it is of this class."""
    found = (part for part in bundle.components if part.name == name and part.class_name == class_name)
    return next(found, None)


def config_of(bundle: Bundle, component: Component) -> dict[str, Any]:
    """What describes it; nothing when it cannot be read, which another rule says."""
    name = config_name(component)
    return {} if name is None else _document(bundle, component.path(name))


def _document(bundle: Bundle, path: str) -> dict[str, Any]:
    """The document; nothing when it cannot be read, which another rule says."""
    try:
        return bundle.document(path) if bundle.is_file(path) else {}
    except Unusable:
        return {}


def number_of(bundle: Bundle, component: Component, key: str, default: int) -> int | None:
    """What the config says, or what the class takes when it does not; None when nobody can tell."""
    config = config_of(bundle, component)
    value = config.get(key, default) if config else None
    return value if type(value) is int and abs(value) <= MAX_SIZE else None


def _unfit(bundle: Bundle, component: Component, expected: tuple[str, ...], why: str) -> Problem:
    takes = " or ".join(expected)
    what = (
        f"{component.name} is of the class {component.class_name}; {bundle.index.pipeline_class} takes {takes}, {why}"
    )
    return fatal(FindingCode.COMPONENT_CLASS_MISMATCH, what, component.name)


FIT_RULES: tuple[Rule, ...] = (
    classes_fit_the_pipeline,
    classes_are_not_relabelled,
    configs_are_not_exchanged,
    scheduler_fits_the_pipeline,
    noise_has_its_width,
    unet_takes_what_the_vae_gives,
    vae_says_its_shift,
    vae_says_its_middle_in_full,
    unet_is_told_what_it_asks,
    unet_says_how_large,
    safety_checker_sees_what_it_takes,
)
