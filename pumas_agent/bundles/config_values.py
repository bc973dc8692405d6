"""Owns the rules on settings of a config that depend on each other; each by itself is for `settings`.

Never asks whether a config is there or what it says of weights, which is for `configs` and `weights`.
"""

from collections.abc import Iterator

from pumas_agent.bundles.bundle import Bundle, Rule
from pumas_agent.bundles.configs import PREPROCESSOR, document_of, documents
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, shown
from pumas_agent.bundles.settings import is_number
from pumas_agent.bundles.tables import ComponentKind as Kind

_SCHEDULES = {
    "beta_schedule": frozenset({"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace", "exp"}),
    "prediction_type": frozenset({"epsilon", "sample", "v_prediction", "flow_prediction", "original_sample"}),
    "timestep_spacing": frozenset({"linspace", "leading", "trailing"}),
}
"""What any scheduler of diffusers 0.42 takes."""
_SIZES = {
    frozenset(names)
    for names in (
        *({"height", "width"}, {"shortest_edge"}, {"shortest_edge", "longest_edge"}, {"longest_edge"}),
        *({"max_height", "max_width"}, {"min_pixels", "max_pixels"}),
    )
}
_TIMESTEPS = 1000
"""What a scheduler takes when its config does not say."""
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
            if isinstance(size, dict) and frozenset(size) not in _SIZES:
                what = f"{path} names {name} by {shown(sorted(size))}"
                yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)
            elif isinstance(size, str):
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


def shifts_are_numbers(bundle: Bundle) -> Iterator[Problem]:
    """A schedule that is shifted by the picture's size says by how much."""
    for _, path, document in documents(bundle, (Kind.SCHEDULER,)):
        for name in ("base_shift", "max_shift") if document.get("use_dynamic_shifting") is True else ():
            if not is_number(document.get(name, 1)):
                yield _unusable(path, name, document[name])


def schedules_are_known(bundle: Bundle) -> Iterator[Problem]:
    """The names in a scheduler's config are among those that any scheduler of diffusers knows."""
    for component, path, document in documents(bundle, (Kind.SCHEDULER,)):
        for name, known in _SCHEDULES.items():
            given = document.get(name)
            ignored = name not in document or component.class_name.startswith("FlowM")  # they ask for none of these
            ignored = ignored or (name == "beta_schedule" and document.get("trained_betas") is not None)
            if not ignored and (not isinstance(given, str) or given not in known):
                what = f"{path} has {shown(given)} for {name}, which no scheduler knows"
                yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def betas_reach_the_end(bundle: Bundle) -> Iterator[Problem]:
    """A trained schedule has a beta for each of its timesteps: they are read by number."""
    for _, path, document in documents(bundle, (Kind.SCHEDULER,)):
        betas, timesteps = document.get("trained_betas"), document.get("num_train_timesteps", _TIMESTEPS)
        if isinstance(betas, list) and type(timesteps) is int and len(betas) < timesteps:
            what = f"{path} has {len(betas)} trained_betas for {timesteps} timesteps"
            yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def resolutions_have_bins(bundle: Bundle) -> Iterator[Problem]:
    """PixArt draws at the resolutions it has a table of shapes for (`ASPECT_RATIO_*_BIN` of its pipelines)."""
    known = _PIXART_SIZES.get(bundle.index.pipeline_class or "", frozenset())
    for component, path, document in documents(bundle, (Kind.DIFFUSERS_MODEL,)):
        size = document.get("sample_size")
        if known and component.name == "transformer" and type(size) is int and size not in known:
            yield _unusable(path, "sample_size", size)


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
    shifts_are_numbers,
    schedules_are_known,
    betas_reach_the_end,
    resolutions_have_bins,
    heads_share_the_width,
)
