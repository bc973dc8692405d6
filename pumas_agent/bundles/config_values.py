"""Owns the rules on the values in the configs of components: those that the library's code refuses, or fails on later.

Never asks whether a config is there or what it says of weights, which is for `configs` and `weights`. Only what was
seen to fail is refused: a class ignores most of what it does not know.
"""

import math
from collections.abc import Iterator

from pumas_agent.bundles.bundle import Bundle, Rule
from pumas_agent.bundles.configs import PREPROCESSOR, document_of, documents
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, shown
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
_FRACTIONS = (
    "attention_dropout",
    "initializer_range",
    "initializer_factor",
    "layer_norm_eps",
    "layer_norm_epsilon",
    "dropout_rate",
)
_STRICT = ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel")
_WHOLE = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings"),
    *("projection_dim", "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads"),
)
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
_UNET_NAMES = {
    "time_embedding_type": ("positional", "fourier"),
    "resnet_time_scale_shift": ("default", "scale_shift", "ada_group", "spatial"),
}
_NEEDED_WHERE_ASKED = {"do_normalize": ("image_mean", "image_std"), "do_center_crop": ("crop_size",)}
_DTYPES = frozenset(
    {
        *("float16", "bfloat16", "float32", "float64", "half", "float", "double"),
        *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
        *("int8", "uint8", "int16", "int32", "int64", "bool"),
    }
)


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
        if settings.get("do_rescale") is True and not _is_number(settings.get("rescale_factor", 1)):
            yield _unusable(path, "rescale_factor", settings["rescale_factor"])


def numbers_are_numbers(bundle: Bundle) -> Iterator[Problem]:
    """What the class calculates with when it is made, or at each step, is a number."""
    for _, path, document in documents(bundle, (Kind.SCHEDULER,)):
        steps = document.get("num_train_timesteps", 1)
        if type(steps) is not int or steps < 1:
            yield _unusable(path, "num_train_timesteps", steps)
        if not _is_number(document.get("shift", 1)):
            yield _unusable(path, "shift", document["shift"])
        for name in ("base_shift", "max_shift") if document.get("use_dynamic_shifting") is True else ():
            if not _is_number(document.get(name, 1)):
                yield _unusable(path, name, document[name])
    for component, path, document in documents(bundle, (Kind.DIFFUSERS_MODEL,)):
        scale = document.get("scaling_factor", 1)
        if component.class_name == "AutoencoderKL" and (not _is_number(scale) or scale == 0):
            yield _unusable(path, "scaling_factor", scale)


def noise_is_a_share(bundle: Bundle) -> Iterator[Problem]:
    """The noise of a step lies between none and all of the picture; with other values pictures become NaN."""
    for _, path, document in documents(bundle, (Kind.SCHEDULER,)):
        for name in ("beta_start", "beta_end"):
            beta = document.get(name, 0.01)
            if not _is_number(beta) or not 0 <= beta < 1 or (name == "beta_end" and beta == 0):
                yield _unusable(path, name, beta)
        betas = document.get("trained_betas")
        if not isinstance(betas, list | None) or betas == []:
            yield _unusable(path, "trained_betas", betas)


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


def unets_can_be_made(bundle: Bundle) -> Iterator[Problem]:
    """Settings that change no tensor, and that `UNet2DConditionModel` refuses or calculates with at each step."""
    for component, path, document in documents(bundle, (Kind.DIFFUSERS_MODEL,)):
        if component.class_name != "UNet2DConditionModel":
            continue
        for name in ("norm_eps", "dropout", "freq_shift", "mid_block_scale_factor"):
            given = document.get(name, 1)
            if not _is_number(given) or (name == "mid_block_scale_factor" and given == 0):
                yield _unusable(path, name, given)
        for name, known in _UNET_NAMES.items():
            if document.get(name, known[0]) not in known:
                yield _unusable(path, name, document[name])
        if document.get("num_attention_heads") is not None:
            yield _unusable(path, "num_attention_heads", document["num_attention_heads"])


def numbers_of_transformers_are_numbers(bundle: Bundle) -> Iterator[Problem]:
    """Transformers 5 checks the types of a config when it reads it (`StrictDataclassFieldValidationError`)."""
    for component, path, document in documents(bundle, (Kind.TRANSFORMERS_MODEL,)):
        for name in _FRACTIONS:
            if document.get(name) is not None and not _is_number(document[name]):
                yield _unusable(path, name, document[name])
        for name in _WHOLE if component.class_name in _STRICT else ():
            if type(document.get(name, 0)) is not int:
                yield _unusable(path, name, document[name])
        for name in _TOKENS:
            number = document.get(name)
            of_the_end = name in document and name == "eos_token_id" and component.class_name.startswith("CLIPText")
            if not isinstance(number, int | list | None) or (of_the_end and not isinstance(number, int)):
                yield _unusable(path, name, number)
        if not isinstance(document.get("id2label"), dict | None):
            yield _unusable(path, "id2label", document["id2label"])


def heads_share_the_width(bundle: Bundle) -> Iterator[Problem]:
    """The width of a CLIP model is divided among its heads."""
    for component, path, document in documents(bundle, (Kind.TRANSFORMERS_MODEL,)):
        size, heads = document.get("hidden_size"), document.get("num_attention_heads")
        if not component.class_name.startswith("CLIP") or type(size) is not int or type(heads) is not int:
            continue
        if heads < 1 or size % heads:
            what = f"{path} gives {shown(heads)} num_attention_heads for a hidden_size of {shown(size)}"
            yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def dtypes_are_known(bundle: Bundle) -> Iterator[Problem]:
    """The dtype that a config of transformers names is one of torch (`PretrainedConfig`)."""
    for _, path, document in documents(bundle, (Kind.TRANSFORMERS_MODEL,)):
        for name in ("dtype", "torch_dtype"):
            given = document.get(name)
            if given is None or isinstance(given, dict):
                continue
            if not isinstance(given, str) or given.removeprefix("torch.") not in _DTYPES:
                what = f"{path} names {shown(given)}, which is no dtype of torch"
                yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def _is_number(value: object) -> bool:
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))


def _unusable(path: str, name: str, value: object) -> Problem:
    return fatal(FindingCode.INVALID_CONFIG_JSON, f"{path} gives {shown(value)} for {name}", path)


CONFIG_VALUE_RULES: tuple[Rule, ...] = (
    pictures_have_a_size,
    pictures_can_be_prepared,
    numbers_are_numbers,
    noise_is_a_share,
    schedules_are_known,
    unets_can_be_made,
    numbers_of_transformers_are_numbers,
    heads_share_the_width,
    dtypes_are_known,
)
