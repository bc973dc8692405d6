"""Owns the rules on how wide what one component gives another is: prompts, and what is told beside them.

diffusers compares none of it when it loads: the first prompt fails.
"""

from collections.abc import Callable, Iterator

from pumas_agent.bundles.bundle import Bundle, Component, Rule
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, shown
from pumas_agent.bundles.fits import config_of, model_of, number_of

_TIME_IDS = 6
"""Numbers that SDXL is told of a picture: its size before, where it was cut, its size now."""
_CLIP = ("CLIPTextModel", "CLIPTextModelWithProjection")


def unet_embeds_what_it_is_told(bundle: Bundle) -> Iterator[Problem]:
    """SDXL's UNet embeds six numbers of the picture's size, and the pooled prompt, as wide as its weights expect.

    diffusers: `StableDiffusionXLPipeline._get_add_time_ids` raises ValueError.
    """
    unet = model_of(bundle, "unet", "UNet2DConditionModel")
    encoder = model_of(bundle, "text_encoder_2", "CLIPTextModelWithProjection")
    if unet is None or encoder is None or config_of(bundle, unet).get("addition_embed_type") != "text_time":
        return
    each = config_of(bundle, unet).get("addition_time_embed_dim")
    pooled = number_of(bundle, encoder, "projection_dim", 512)
    takes = number_of(bundle, unet, "projection_class_embeddings_input_dim", 0)
    if takes is None or pooled is None or "text_config" in config_of(bundle, encoder):
        return
    if type(each) is not int or _TIME_IDS * each + pooled != takes:
        path = unet.path("config.json")
        given = f"{_TIME_IDS} times {shown(each)} (addition_time_embed_dim) and {pooled}"
        what = f"{path}: the UNet embeds {takes} numbers, and is told {given}"
        yield fatal(FindingCode.WEIGHTS_SHAPE_MISMATCH, what, path)


def prompt_is_as_wide_as_it_should_be(bundle: Bundle) -> Iterator[Problem]:
    """What the text encoders give for a token is as wide as what the denoiser takes."""
    for denoiser_class, widths in _WIDTHS.items():
        for name in ("unet", "transformer"):
            denoiser = model_of(bundle, name, denoiser_class)
            if denoiser is not None:
                for taken, given in widths(bundle, denoiser):
                    if taken is not None and given is not None and taken != given:
                        path = denoiser.path("config.json")
                        what = f"{path}: the {name} takes {taken} numbers a token, the text encoders give {given}"
                        yield fatal(FindingCode.WEIGHTS_SHAPE_MISMATCH, what, path)


_Widths = Iterator[tuple[int | None, int | None]]


def _of_unet(bundle: Bundle, unet: Component) -> _Widths:
    config = config_of(bundle, unet)
    encoders = [component for component in bundle.components if component.name.startswith("text_encoder")]
    clip = all(component.class_name in _CLIP for component in encoders)
    if encoders and clip and config.get("encoder_hid_dim_type") is None and config.get("encoder_hid_dim") is None:
        given = _sum(number_of(bundle, encoder, "hidden_size", 512) for encoder in encoders)
        yield number_of(bundle, unet, "cross_attention_dim", 1280), given


def _of_flux(bundle: Bundle, transformer: Component) -> _Widths:
    clip, t5 = model_of(bundle, "text_encoder", "CLIPTextModel"), model_of(bundle, "text_encoder_2", "T5EncoderModel")
    if t5 is not None:
        yield number_of(bundle, transformer, "joint_attention_dim", 4096), number_of(bundle, t5, "d_model", 512)
    if clip is not None:
        yield number_of(bundle, transformer, "pooled_projection_dim", 768), number_of(bundle, clip, "hidden_size", 512)


def _of_sd3(bundle: Bundle, transformer: Component) -> _Widths:
    t5 = model_of(bundle, "text_encoder_3", "T5EncoderModel")
    clips = [model_of(bundle, name, "CLIPTextModelWithProjection") for name in ("text_encoder", "text_encoder_2")]
    if t5 is not None:
        yield number_of(bundle, transformer, "joint_attention_dim", 4096), number_of(bundle, t5, "d_model", 512)
    pooled = _sum(None if clip is None else number_of(bundle, clip, "projection_dim", 512) for clip in clips)
    yield number_of(bundle, transformer, "pooled_projection_dim", 2048), pooled


def _of_pixart(bundle: Bundle, transformer: Component) -> _Widths:
    t5 = model_of(bundle, "text_encoder", "T5EncoderModel")
    if t5 is not None and "caption_channels" in config_of(bundle, transformer):
        yield number_of(bundle, transformer, "caption_channels", 0), number_of(bundle, t5, "d_model", 512)


_WIDTHS: dict[str, Callable[[Bundle, Component], _Widths]] = {
    "UNet2DConditionModel": _of_unet,
    "FluxTransformer2DModel": _of_flux,
    "SD3Transformer2DModel": _of_sd3,
    "PixArtTransformer2DModel": _of_pixart,
}
"""Of each denoiser: pairs of what it takes and what it is given. The defaults are those of the classes."""


def _sum(numbers: Iterator[int | None]) -> int | None:
    known = list(numbers)
    return None if None in known else sum(number for number in known if number is not None)


WIDTH_RULES: tuple[Rule, ...] = (unet_embeds_what_it_is_told, prompt_is_as_wide_as_it_should_be)
