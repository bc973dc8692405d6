"""Owns the comparison of a component's weights with its config: is every tensor there that the class needs, in its
shape? Knows which classes are known, and reads no file but the config.

A missing tensor loads in diffusers and transformers alike, and draws from random numbers or fails at the prompt; one of
another shape does not load. Tensors that the class does not need are ignored by both.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from pumas_agent.bundles.bundle import Bundle, Component, Unusable
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, shown
from pumas_agent.bundles.weights import clip, image_transformers, t5, unet, vae
from pumas_agent.bundles.weights.anchors import Anchor, anchors_of
from pumas_agent.bundles.weights.config import Misfit, ModelConfig, NotKnown
from pumas_agent.bundles.weights.layers import Expected, Shape
from pumas_agent.bundles.weights.safetensors import Tensors

_WHOLE_NUMBERS = frozenset({"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"})
_NUMBER = re.compile(r"\.\d+\.")
_MAX_TENSORS = 10_000
"""That a model is made of, at most: the largest has a third of it, and a hostile config asks for a billion."""
_COMPUTED = frozenset({"pos_embed.pos_embed"})
"""Tables that the library computes where a file has none."""


_TRANSFORMER_PARTS = ("transformer_blocks.",)
_UNET_PARTS = ("down_blocks.", "mid_block.", "up_blocks.", "add_embedding.", "class_embedding.", "encoder_hid_proj.")
_ADDED_LATER = ("lora", "processor", "adapter")
"""What the names of tensors hold that tools put into a model's file, and that its class leaves alone."""


def _same(name: str) -> str:
    return name


def _never(_name: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Architecture:
    """What is known of a class."""

    tensors: Callable[[ModelConfig], Iterator[Expected]]
    """All that it needs, lazily."""
    defaults: Mapping[str, Any]
    canonical: Callable[[str], str] = _same
    """The name by which `tensors` calls a tensor of a file."""
    unused: Callable[[str], bool] = _never
    """Tensors that drawing from text does without: their absence spoils nothing."""
    parts: tuple[str, ...] = ()
    """How tensors begin, or end, of parts that the class has by some configs: in a file, they ask for such a config."""


ARCHITECTURES: Mapping[str, Architecture] = {
    "AutoencoderKL": Architecture(
        vae.autoencoder_kl, vae.DEFAULTS, vae.canonical, vae.is_of_the_encoder, ("decoder.", "post_quant_conv.")
    ),
    "CLIPTextModel": Architecture(clip.text_model, clip.TEXT_DEFAULTS, clip.text_canonical),
    "CLIPTextModelWithProjection": Architecture(
        clip.text_model_with_projection, clip.TEXT_DEFAULTS, clip.text_canonical
    ),
    "CLIPVisionModelWithProjection": Architecture(
        clip.vision_model_with_projection, clip.VISION_DEFAULTS, clip.vision_canonical
    ),
    "FluxTransformer2DModel": Architecture(
        image_transformers.flux_transformer_2d_model,
        image_transformers.FLUX_DEFAULTS,
        parts=(*_TRANSFORMER_PARTS, "single_transformer_blocks.", "time_text_embed.guidance_embedder."),
    ),
    "PixArtTransformer2DModel": Architecture(
        image_transformers.pixart_transformer_2d_model,
        image_transformers.PIXART_DEFAULTS,
        parts=(*_TRANSFORMER_PARTS, "caption_projection.", "adaln_single.emb."),
    ),
    "SD3Transformer2DModel": Architecture(
        image_transformers.sd3_transformer_2d_model, image_transformers.SD3_DEFAULTS, parts=_TRANSFORMER_PARTS
    ),
    "StableDiffusionSafetyChecker": Architecture(clip.safety_checker, clip.SAFETY_DEFAULTS, clip.safety_canonical),
    "T5EncoderModel": Architecture(t5.t5_encoder_model, t5.DEFAULTS, t5.canonical),
    "UNet2DConditionModel": Architecture(unet.unet_2d_condition_model, unet.DEFAULTS, parts=_UNET_PARTS),
}


def disagreements_with_config(
    bundle: Bundle, component: Component, path: str, tensors: Tensors, *, sharded: bool
) -> Iterator[Problem]:
    """Every tensor that the component needs is in its weights, in the shape that its config asks for.

    Args:
        bundle: for the config.
        component: whose weights these are.
        path: of the file that holds them, or of its index.
        tensors: in all its files.
        sharded: they are in several: diffusers then does not know old names of layers.
    """
    known = _known(bundle, component)
    if known is None:
        return
    class_name, architecture, document = known
    if architecture.canonical is not _same and not (sharded and architecture.canonical is vae.canonical):
        tensors = {architecture.canonical(name): tensor for name, tensor in tensors.items()}
    try:
        expected = _expected(class_name, _key(document))
    except Misfit as misfit:
        yield _unfit(component, misfit)
    except NotKnown:
        config = ModelConfig(document, architecture.defaults)
        yield from _compare_anchors(path, tensors, anchors_of(class_name, config))
        yield from _without_an_embedding(path, tensors, document)
    else:
        yield from _compare(path, tensors, expected, architecture)


def is_described(bundle: Bundle, component: Component) -> bool:
    """Every tensor that the component is made of is known, by its class and its config."""
    known = _known(bundle, component)
    if known is None:
        return False
    class_name, _, document = known
    try:
        _expected(class_name, _key(document))
    except (Misfit, NotKnown):
        return False
    return True


def pickle_faults(bundle: Bundle, component: Component, path: str, names: AbstractSet[str] | None) -> Iterator[Problem]:
    """From the config a model can be made, and its weights and biases are among those that pickles name.

    Args:
        bundle: for the config.
        component: whose weights these are.
        path: of the file that holds them, or of its index.
        names: of the tensors in all its files; None where nobody can tell.
    """
    known = _known(bundle, component)
    if known is None:
        return
    class_name, architecture, document = known
    try:
        expected = _expected(class_name, _key(document))
    except Misfit as misfit:
        yield _unfit(component, misfit)
    except NotKnown:
        return
    else:
        there = None if names is None else {architecture.canonical(name) for name in names}
        missing = [
            name for name in expected if there is not None and name.endswith((".weight", ".bias")) and name not in there
        ]
        missing = [name for name in missing if not architecture.unused(name)]
        if missing:
            what = f"{path} lacks {missing[0]}{_and_more(missing)}, which the model is made of"
            yield fatal(FindingCode.WEIGHTS_INCOMPLETE, what, path)


@lru_cache(maxsize=8)
def _expected(class_name: str, config: str) -> Mapping[str, Shape]:
    """What a model of the class is made of by its config; many bundles share one.

    Raises:
        Misfit, NotKnown: as `ModelConfig`.
    """
    architecture = ARCHITECTURES[class_name]
    return dict(islice(architecture.tensors(ModelConfig(json.loads(config), architecture.defaults)), _MAX_TENSORS))


def _key(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True)


def _known(bundle: Bundle, component: Component) -> tuple[str, Architecture, dict[str, Any]] | None:
    """The class, what is known of it, and its config; None where nothing is known, or can be said."""
    class_name = _class_of(bundle, component)
    architecture = ARCHITECTURES.get(class_name)
    if architecture is None:
        return None
    try:
        document = bundle.document(component.path("config.json"))
    except Unusable:
        return None  # said where configs are judged
    if document.get("quantization_config") is not None:
        return None  # its tensors are packed in a way of its own
    return class_name, architecture, document


def _unfit(component: Component, misfit: Misfit) -> Problem:
    path = component.path("config.json")
    return fatal(FindingCode.WEIGHTS_SHAPE_MISMATCH, f"{path}: {misfit}", path)


def _class_of(bundle: Bundle, component: Component) -> str:
    """Diffusers makes a PixArt transformer of the class that files of its first version name."""
    if component.class_name == "Transformer2DModel":
        try:
            document = bundle.document(component.path("config.json"))
        except Unusable:
            return component.class_name
        if document.get("norm_type") == "ada_norm_single":
            return "PixArtTransformer2DModel"
    return component.class_name


def _compare(
    path: str, tensors: Tensors, expected: Mapping[str, Shape], architecture: Architecture
) -> Iterator[Problem]:
    missing: list[str] = []
    misshapen: list[tuple[str, Shape, Shape]] = []
    whole: list[str] = []
    for name, needed in expected.items():
        found = tensors.get(name)
        if found is None:
            if name not in _COMPUTED and not architecture.unused(name):
                missing.append(name)
        elif found.shape != needed:
            misshapen.append((name, found.shape, needed))
        elif found.dtype in _WHOLE_NUMBERS:
            whole.append(name)
    if missing:
        what = f"{path} lacks {missing[0]}{_and_more(missing)}, which the model is made of"
        yield fatal(FindingCode.WEIGHTS_INCOMPLETE, what, path)
    if misshapen:
        name, shape, needed = misshapen[0]
        what = f"{path}: {name} is {shown(list(shape))}, and by the config {shown(list(needed))}{_and_more(misshapen)}"
        yield fatal(FindingCode.WEIGHTS_SHAPE_MISMATCH, what, path)
    if whole:
        what = f"{path}: {whole[0]}{_and_more(whole)} is of whole numbers, and weights are fractions"
        yield fatal(FindingCode.WEIGHTS_SHAPE_MISMATCH, what, path)
    if not missing and not misshapen and len(expected) < len(tensors):
        others = tensors.keys() - expected.keys()
        yield from _layers_beyond(path, expected.keys(), others) or _parts_beyond(path, others, architecture.parts)


def _layers_beyond(path: str, known: AbstractSet[str], others: AbstractSet[str]) -> list[Problem]:
    """Layers that the config does not speak of: the weights are of a larger model, which would be cut short."""
    stems = {_NUMBER.sub(".#.", name) for name in known}
    beyond = sorted(name for name in others if _NUMBER.search(name) and _NUMBER.sub(".#.", name) in stems)
    if beyond:
        what = f"{path} has {beyond[0]}{_and_more(beyond)}, of a layer that the config does not speak of"
        return [fatal(FindingCode.WEIGHTS_SHAPE_MISMATCH, what, path)]
    return []


def _parts_beyond(path: str, others: AbstractSet[str], parts: tuple[str, ...]) -> list[Problem]:
    """Parts of a model that the config leaves out, and that the weights were trained with: both libraries drop them.

    diffusers and transformers: `unexpected_keys`, which are a line in the log.
    """
    beyond = sorted(
        name
        for name in others
        if name.startswith(parts)
        and name.endswith((".weight", ".bias"))
        and not any(mark in name for mark in _ADDED_LATER)
    )
    if parts and beyond:
        what = f"{path} has {beyond[0]}{_and_more(beyond)}, of a part that the config leaves out"
        return [fatal(FindingCode.WEIGHTS_SHAPE_MISMATCH, what, path)]
    return []


def _compare_anchors(path: str, tensors: Tensors, anchors: Iterator[Anchor]) -> Iterator[Problem]:
    for name, needed in anchors:
        found = tensors.get(name)
        if found is None:
            yield fatal(FindingCode.WEIGHTS_INCOMPLETE, f"{path} lacks {name}, which the model is made of", path)
        elif len(found.shape) != len(needed) or any(
            want is not None and have != want for have, want in zip(found.shape, needed, strict=True)
        ):
            shown = ", ".join("any" if want is None else str(want) for want in needed)
            what = f"{path}: {name} is {list(found.shape)!s:.100}, and by the config [{shown}]"
            yield fatal(FindingCode.WEIGHTS_SHAPE_MISMATCH, what, path)


def _without_an_embedding(path: str, tensors: Tensors, document: Mapping[str, Any]) -> Iterator[Problem]:
    """Whatever a UNet is told beside the prompt, it embeds (`UNet2DConditionModel._set_add_embedding`)."""
    kind = document.get("addition_embed_type")
    if kind is not None and not any(name.startswith("add_embedding.") for name in tensors):
        what = f"{path} has no add_embedding, which the config asks for ({shown(kind)})"
        yield fatal(FindingCode.WEIGHTS_INCOMPLETE, what, path)


def _and_more(items: list[Any]) -> str:
    return f" and {len(items) - 1:,} more" if len(items) > 1 else ""
