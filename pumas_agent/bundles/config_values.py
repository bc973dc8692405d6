"""Owns the rules on settings of a config that depend on each other; each by itself is for `settings`.

Never asks whether a config is there or what it says of weights, which is for `configs` and `weights`.
"""

from collections.abc import Iterator

from pumas_agent.bundles.bundle import Bundle, Rule
from pumas_agent.bundles.configs import PREPROCESSOR, document_of, documents
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, shown
from pumas_agent.bundles.settings import is_activation, is_number
from pumas_agent.bundles.tables import ComponentKind as Kind

_SIZES = {
    frozenset(names)
    for names in (
        *({"height", "width"}, {"shortest_edge"}, {"shortest_edge", "longest_edge"}, {"longest_edge"}),
        *({"max_height", "max_width"}, {"min_pixels", "max_pixels"}),
    )
}
_DISTANCE = "relative_attention_max_distance"
_PIXART_SIZES = {
    "PixArtAlphaPipeline": frozenset({32, 64, 128}),
    "PixArtSigmaPipeline": frozenset({32, 64, 128, 256}),
}
_NEEDED_WHERE_ASKED = {"do_normalize": ("image_mean", "image_std"), "do_center_crop": ("crop_size",)}


def pictures_have_a_size(bundle: Bundle) -> Iterator[Problem]:
    """The sizes of an image processor are named in one of the ways that transformers knows (`get_size_dict`)."""
    for component in bundle.components:
        path = component.path(PREPROCESSOR)
        settings = (
            document_of(bundle, path) if component.kind is Kind.IMAGE_PROCESSOR and bundle.is_file(path) else None
        )
        for name in ("size", "crop_size"):
            size = settings.get(name) if settings is not None else None
            sides = size.values() if isinstance(size, dict) else ()
            if isinstance(size, dict) and frozenset(size) not in _SIZES:
                what = f"{path} names {name} by {shown(sorted(size))}"
                yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)
            elif isinstance(size, str) or any(type(side) is not int or side < 1 for side in sides):
                yield _unusable(path, name, size)


def pictures_can_be_prepared(bundle: Bundle) -> Iterator[Problem]:
    """What an image processor is told to do, it is told how (`validate_preprocess_arguments` of transformers)."""
    for component in bundle.components:
        path = component.path(PREPROCESSOR)
        if component.kind is not Kind.IMAGE_PROCESSOR or not bundle.is_file(path):
            continue
        settings = document_of(bundle, path) or {}
        for step, names in _NEEDED_WHERE_ASKED.items():
            for name in names if settings.get(step) is True else ():
                if name in settings and (settings[name] is None or isinstance(settings[name], str)):
                    yield _unusable(path, name, settings[name])
        if settings.get("do_resize") is True and settings.get("resample", 0) is None:
            yield _unusable(path, "resample", None)
        if settings.get("do_rescale") is True and not is_number(settings.get("rescale_factor", 1)):
            yield _unusable(path, "rescale_factor", settings["rescale_factor"])


def resolutions_have_bins(bundle: Bundle) -> Iterator[Problem]:
    """PixArt draws at the resolutions it has a table of shapes for (`ASPECT_RATIO_*_BIN` of its pipelines)."""
    known = _PIXART_SIZES.get(bundle.index.pipeline_class or "", frozenset())
    for component, path, document in documents(bundle, (Kind.DIFFUSERS_MODEL,)):
        size = document.get("sample_size")
        if known and component.name == "transformer" and type(size) is int and size not in known:
            yield _unusable(path, "sample_size", size)


def places_reach_the_edge(bundle: Bundle) -> Iterator[Problem]:
    """Stable Diffusion 3 has a place for each part of a picture (`PatchEmbed.cropped_pos_embed` raises)."""
    for component, path, document in documents(bundle, (Kind.DIFFUSERS_MODEL,)):
        if component.class_name != "SD3Transformer2DModel":
            continue
        usual = {"sample_size": 128, "patch_size": 2, "pos_embed_max_size": 96}
        size, patch, most = (document.get(name, default) for name, default in usual.items())
        if all(type(value) is int and value > 0 for value in (size, patch, most)) and size // patch > most:
            what = f"{path} has places for {most} parts a side (pos_embed_max_size), and draws {size // patch}"
            yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def distances_can_be_told(bundle: Bundle) -> Iterator[Problem]:
    """T5 tells near words apart one by one, in a quarter of its buckets, and farther ones up to a distance beyond.

    transformers: `T5Attention._relative_position_bucket` divides by the logarithm of the two.
    """
    for component, path, document in documents(bundle, (Kind.TRANSFORMERS_MODEL,)):
        buckets, most = document.get("relative_attention_num_buckets", 32), document.get(_DISTANCE, 128)
        if component.class_name != "T5EncoderModel":
            continue
        if type(most) is not int or (type(buckets) is int and most <= buckets // 4):
            yield _unusable(path, _DISTANCE, most)


def activations_agree(bundle: Bundle) -> Iterator[Problem]:
    """T5 says in `feed_forward_proj` whether its layers are gated, and perhaps once more, which then counts.

    transformers 5: `T5Config.__post_init__` derives the second, and takes it from the file over that.
    """
    for component, path, document in documents(bundle, (Kind.TRANSFORMERS_MODEL,)):
        said, gated = document.get("feed_forward_proj", "relu"), document.get("is_gated_act")
        known = component.class_name == "T5EncoderModel" and isinstance(said, str) and gated is not None
        if known and bool(gated) != said.startswith("gated-"):
            what = f"{path} gives {shown(gated)} for is_gated_act, and {shown(said)} for feed_forward_proj"
            yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def safety_checkers_can_be_made(bundle: Bundle) -> Iterator[Problem]:
    """The vision model within a safety checker: `CLIPVisionConfig` of transformers 5 checks what it is given."""
    for component, path, document in documents(bundle, (Kind.DIFFUSERS_MODEL, Kind.TRANSFORMERS_MODEL)):
        vision = document.get("vision_config")
        if component.class_name != "StableDiffusionSafetyChecker" or not isinstance(vision, dict):
            continue
        if "hidden_act" in vision and not is_activation(vision["hidden_act"]):
            yield _unusable(path, "hidden_act", vision["hidden_act"])
        if not isinstance(vision.get("layer_norm_eps", 1e-5), float):
            yield _unusable(path, "layer_norm_eps", vision["layer_norm_eps"])
        size, heads = vision.get("hidden_size", 768), vision.get("num_attention_heads", 12)
        if type(size) is int and type(heads) is int and (heads < 1 or size % heads):
            yield _unusable(path, "num_attention_heads", heads)


def heads_share_the_width(bundle: Bundle) -> Iterator[Problem]:
    """The width of a CLIP model is divided among its heads."""
    for component, path, document in documents(bundle, (Kind.TRANSFORMERS_MODEL,)):
        size, heads = document.get("hidden_size"), document.get("num_attention_heads")
        if not component.class_name.startswith("CLIP") or type(size) is not int or type(heads) is not int:
            continue
        if heads < 1 or size % heads:
            what = f"{path} gives {shown(heads)} num_attention_heads for a hidden_size of {shown(size)}"
            yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def _unusable(path: str, name: str, value: object) -> Problem:
    return fatal(FindingCode.INVALID_CONFIG_JSON, f"{path} gives {shown(value)} for {name}", path)


CONFIG_VALUE_RULES: tuple[Rule, ...] = (
    pictures_have_a_size,
    pictures_can_be_prepared,
    resolutions_have_bins,
    places_reach_the_edge,
    distances_can_be_told,
    activations_agree,
    safety_checkers_can_be_made,
    heads_share_the_width,
)
