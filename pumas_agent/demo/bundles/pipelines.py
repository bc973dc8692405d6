"""Owns which components the small pipelines have."""

from pumas_agent.demo.bundles import configs
from pumas_agent.demo.bundles.components import (
    Component,
    Pipeline,
    image_processor,
    model,
    scheduler,
    text_encoder,
    tokenizer,
)
from pumas_agent.demo.bundles.shapes import Config
from pumas_agent.demo.bundles.tokenizers import clip_tokenizer, clip_vocabulary, t5_tokenizer, t5_vocabulary_size


def stable_diffusion(*, class_name: str = "StableDiffusionPipeline", unet: Config = configs.UNET) -> Pipeline:
    """Stable Diffusion 1, without the safety checker."""
    return Pipeline(
        class_name,
        {
            "feature_extractor": image_processor(configs.CLIP_IMAGES),
            "scheduler": scheduler(configs.PNDM),
            "text_encoder": _clip("CLIPTextModel"),
            "tokenizer": _clip_tokenizer(),
            "unet": model(unet),
            "vae": model(configs.VAE),
        },
        absent=("safety_checker",),
        settings={"requires_safety_checker": False},
    )


def stable_diffusion_inpaint() -> Pipeline:
    """One that fills a masked part of a picture."""
    return stable_diffusion(class_name="StableDiffusionInpaintPipeline", unet=configs.UNET_INPAINT)


def stable_diffusion_xl() -> Pipeline:
    """Two text encoders, of which the second also gives a pooled text."""
    return Pipeline(
        "StableDiffusionXLPipeline",
        {
            "scheduler": scheduler(configs.EULER),
            "text_encoder": _clip("CLIPTextModel"),
            "text_encoder_2": _clip("CLIPTextModelWithProjection", activation="gelu"),
            "tokenizer": _clip_tokenizer(),
            "tokenizer_2": _clip_tokenizer(pad="!"),
            "unet": model(configs.UNET_XL),
            "vae": model(configs.VAE),
        },
        absent=("feature_extractor", "image_encoder"),
        settings={"force_zeros_for_empty_prompt": True},
    )


def stable_diffusion_3() -> Pipeline:
    """Three text encoders and a transformer."""
    return Pipeline(
        "StableDiffusion3Pipeline",
        {
            "scheduler": scheduler(configs.FLOW_MATCH),
            "text_encoder": _clip("CLIPTextModelWithProjection"),
            "text_encoder_2": _clip("CLIPTextModelWithProjection", activation="gelu"),
            "text_encoder_3": _t5(),
            "tokenizer": _clip_tokenizer(),
            "tokenizer_2": _clip_tokenizer(pad="!"),
            "tokenizer_3": _t5_tokenizer(),
            "transformer": model(configs.SD3),
            "vae": model(configs.VAE_SHIFTED),
        },
    )


def flux() -> Pipeline:
    """Two text encoders of different kinds and a transformer."""
    return Pipeline(
        "FluxPipeline",
        {
            "scheduler": scheduler(configs.FLOW_MATCH),
            "text_encoder": _clip("CLIPTextModel"),
            "text_encoder_2": _t5(),
            "tokenizer": _clip_tokenizer(),
            "tokenizer_2": _t5_tokenizer(),
            "transformer": model(configs.FLUX),
            "vae": model(configs.VAE_SHIFTED),
        },
    )


def pixart() -> Pipeline:
    """One text encoder, which is not CLIP."""
    return Pipeline(
        "PixArtAlphaPipeline",
        {
            "scheduler": scheduler(configs.DPM_SOLVER),
            "text_encoder": _t5(),
            "tokenizer": _t5_tokenizer(),
            "transformer": model(configs.PIXART),
            "vae": model(configs.VAE_EIGHTH),
        },
    )


def unconditional() -> Pipeline:
    """One that is told nothing and draws pixels."""
    return Pipeline(
        "DDPMPipeline",
        {"scheduler": scheduler(configs.DDPM), "unet": model(configs.UNET_UNCONDITIONAL)},
    )


def _clip(class_name: str, *, activation: str = "quick_gelu") -> Component:
    return text_encoder(configs.clip(class_name, clip_vocabulary(configs.MERGES), activation=activation))


def _clip_tokenizer(**pad: str) -> Component:
    return tokenizer("CLIPTokenizer", clip_tokenizer(configs.MERGES, **pad))


def _t5() -> Component:
    return text_encoder(configs.t5(t5_vocabulary_size(configs.WORDS)))


def _t5_tokenizer() -> Component:
    return tokenizer("T5Tokenizer", t5_tokenizer(configs.WORDS))
