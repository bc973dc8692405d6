"""Owns the rules on the configs of components: there, readable, and saying something that the library can use.

What a config says of weights is compared with them in `weights`; what components say of each other, in `fits`.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from pumas_agent.bundles.bundle import Bundle, Component, Rule, Unusable
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, notice, shown
from pumas_agent.bundles.tables import ComponentKind as Kind

MODELS = (Kind.DIFFUSERS_MODEL, Kind.TRANSFORMERS_MODEL)
PREPROCESSOR = "preprocessor_config.json"
PROCESSOR = "processor_config.json"
_PROCESSORS = (Kind.FEATURE_EXTRACTOR, Kind.IMAGE_PROCESSOR, Kind.PROCESSOR)
_NAMES = {
    Kind.DIFFUSERS_MODEL: "config.json",
    Kind.TRANSFORMERS_MODEL: "config.json",
    Kind.SCHEDULER: "scheduler_config.json",
    Kind.GUIDER: "guider_config.json",
}
_SAYS_A_SCHEDULE = frozenset(
    {
        *("num_train_timesteps", "trained_betas", "beta_start", "beta_end", "beta_schedule", "shift"),
        *("sigma_min", "sigma_max", "num_vec_classes", "mask_token_id", "scaler", "s"),
    }
)
"""Parameters of which every scheduler that diffusers saves has one."""
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
_SAYS_NOTHING = frozenset({"image_processor_type", "feature_extractor_type", "processor_class", "tokenizer_class"})
_FRACTIONS = ("attention_dropout", "initializer_range", "initializer_factor", "layer_norm_eps", "layer_norm_epsilon")
_STRICT = ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel")
_WHOLE = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings"),
    *("projection_dim", "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads"),
)
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
_DTYPES = frozenset(
    {
        *("float16", "bfloat16", "float32", "float64", "half", "float", "double"),
        *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
        *("int8", "uint8", "int16", "int32", "int64", "bool"),
    }
)
_RELEASE = re.compile(r"\s*v?\d++(\.\d+)*([-_.]?[a-z]++[-_.]?\d*+)*+(\+[a-z0-9.]+)?\s*", re.IGNORECASE)
"""About what `packaging.version` parses; possessive, for a hostile text would be tried in all its divisions."""


def config_name(component: Component) -> str | None:
    """The file that describes a component; None for those that are described by several."""
    return _NAMES.get(component.kind)


def configs_are_readable(bundle: Bundle) -> Iterator[Problem]:
    """Each component has its config, under the one name that the library asks for, and it is a JSON object.

    transformers 5 takes a missing config.json of a model for its defaults; with them the weights never fit.
    """
    for component in bundle.components:
        name = config_name(component)
        if name is not None:
            yield from _readable(bundle, component, name)
        elif component.kind in _PROCESSORS:
            yield from _processor_readable(bundle, component)


def diffusers_configs_name_their_class(bundle: Bundle) -> Iterator[Problem]:
    """`_class_name`, where it is given, is a text, and `_diffusers_version` of a UNet a version."""
    for component, path, document in _documents(bundle, (Kind.DIFFUSERS_MODEL, Kind.SCHEDULER)):
        if not isinstance(document.get("_class_name", ""), str | list):
            yield fatal(FindingCode.INVALID_CONFIG_JSON, f"{path} has a _class_name that is no text", path)
        version = document.get("_diffusers_version", "0")
        if (
            component.class_name == "UNet2DConditionModel"
            and isinstance(version, str)
            and not _RELEASE.fullmatch(version)
        ):
            what = f"{path} has {version[:40]!r} for a version of diffusers"
            yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def configs_are_of_the_class(bundle: Bundle) -> Iterator[Problem]:
    """The class that a config was written for is the one that loads it; the library does not compare them."""
    for component, path, document in _documents(bundle, (Kind.DIFFUSERS_MODEL, Kind.SCHEDULER)):
        written = document.get("_class_name")
        if isinstance(written, str) and written != component.class_name:
            what = f"{path} was written for {written[:80]}, and {component.class_name} loads it"
            yield notice(FindingCode.CONFIG_CLASS_MISMATCH, what, path)


def configs_say_something(bundle: Bundle) -> Iterator[Problem]:
    """A config without a parameter that its class knows loads as the library's defaults, and draws another picture."""
    for _, path, document in _documents(bundle, (Kind.SCHEDULER,)):
        if not document.keys() & _SAYS_A_SCHEDULE:
            yield fatal(FindingCode.CONFIG_DEFAULTS, f"{path} says nothing about the schedule", path)
    for component in bundle.components:
        path = component.path(PREPROCESSOR)
        if component.kind in _PROCESSORS and bundle.is_file(path):
            settings = _document(bundle, path)
            if settings is not None and not any(_says(key) for key in settings):
                yield fatal(FindingCode.CONFIG_DEFAULTS, f"{path} says nothing about images", path)


def pictures_have_a_size(bundle: Bundle) -> Iterator[Problem]:
    """The sizes of an image processor are named in one of the ways that transformers knows (`get_size_dict`)."""
    for component in bundle.components:
        path = component.path(PREPROCESSOR)
        settings = _document(bundle, path) if component.kind is Kind.IMAGE_PROCESSOR and bundle.is_file(path) else None
        for name in ("size", "crop_size"):
            size = settings.get(name) if settings is not None else None
            if isinstance(size, dict) and frozenset(size) not in _SIZES:
                what = f"{path} names {name} by {shown(sorted(size))}"
                yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def numbers_are_numbers(bundle: Bundle) -> Iterator[Problem]:
    """What the class calculates with when it is made, or at each step, is a number."""
    for _, path, document in _documents(bundle, (Kind.SCHEDULER,)):
        steps = document.get("num_train_timesteps", 1)
        if type(steps) is not int or steps < 1:
            yield _no_number(path, "num_train_timesteps", steps)
        for name in ("beta_start", "beta_end", "shift"):
            if not _is_number(document.get(name, 0)):
                yield _no_number(path, name, document[name])
        if not isinstance(document.get("trained_betas"), list | None):
            yield _no_number(path, "trained_betas", document["trained_betas"])
    for component, path, document in _documents(bundle, (Kind.DIFFUSERS_MODEL,)):
        scale = document.get("scaling_factor", 1)
        if component.class_name == "AutoencoderKL" and (not _is_number(scale) or scale == 0):
            yield _no_number(path, "scaling_factor", scale)


def schedules_are_known(bundle: Bundle) -> Iterator[Problem]:
    """The names in a scheduler's config are among those that any scheduler of diffusers knows."""
    for component, path, document in _documents(bundle, (Kind.SCHEDULER,)):
        for name, known in _SCHEDULES.items():
            given = document.get(name)
            ignored = given is None or component.class_name.startswith("FlowM")  # they ask for none of these
            if not ignored and (not isinstance(given, str) or given not in known):
                what = f"{path} has {shown(given)} for {name}, which no scheduler knows"
                yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def numbers_of_transformers_are_numbers(bundle: Bundle) -> Iterator[Problem]:
    """Transformers 5 checks the types of a config when it reads it (`StrictDataclassFieldValidationError`)."""
    for component, path, document in _documents(bundle, (Kind.TRANSFORMERS_MODEL,)):
        for name in _FRACTIONS:
            if document.get(name) is not None and not _is_number(document[name]):
                yield _no_number(path, name, document[name])
        for name in _WHOLE if component.class_name in _STRICT else ():
            if type(document.get(name, 0)) is not int:
                yield _no_number(path, name, document[name])
        for name in _TOKENS:
            number = document.get(name)
            if not isinstance(number, int | list | None) or (number is None and _must_end(component, name, document)):
                yield _no_number(path, name, number)
        size, heads = document.get("hidden_size"), document.get("num_attention_heads")
        if not component.class_name.startswith("CLIP") or type(size) is not int or type(heads) is not int:
            continue
        if heads < 1 or size % heads:
            what = f"{path} gives {shown(heads)} num_attention_heads for a hidden_size of {shown(size)}"
            yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def _must_end(component: Component, name: str, document: dict[str, Any]) -> bool:
    """A CLIP text encoder looks for the end of the prompt by its number."""
    return component.class_name.startswith("CLIPText") and name == "eos_token_id" and name in document


def dtypes_are_known(bundle: Bundle) -> Iterator[Problem]:
    """The dtype that a config of transformers names is one of torch (`PretrainedConfig`)."""
    for _, path, document in _documents(bundle, (Kind.TRANSFORMERS_MODEL,)):
        for name in ("dtype", "torch_dtype"):
            given = document.get(name)
            if given is None or isinstance(given, dict):
                continue
            if not isinstance(given, str) or given.removeprefix("torch.") not in _DTYPES:
                what = f"{path} names {shown(given)}, which is no dtype of torch"
                yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def quantization_can_be_loaded(bundle: Bundle) -> Iterator[Problem]:
    """Quantized weights need a package, and mostly a GPU, that only the operator knows of."""
    for component, path, document in _documents(bundle, MODELS):
        config = document.get("quantization_config")
        if config is None:
            continue
        method = config.get("quant_method") if isinstance(config, dict) else None
        if method not in bundle.policy.quantization_backends:
            what = f"{component.name} is quantized by {shown(method)}"
            yield fatal(FindingCode.QUANTIZED_BACKEND, what, path)


def code_of_configs_is_not_run(bundle: Bundle) -> Iterator[Problem]:
    """`auto_map` names code for the Auto classes; a pipeline names its classes itself."""
    for _, path, document in _documents(bundle, (Kind.TRANSFORMERS_MODEL,)):
        if document.get("auto_map"):
            yield notice(FindingCode.UNUSED_CODE, f"{path} names code in auto_map, which no runtime runs", path)


def _readable(bundle: Bundle, component: Component, name: str) -> Iterator[Problem]:
    path = component.path(name)
    if not bundle.is_file(path):
        yield bundle.no_file(path, FindingCode.MISSING_CONFIG, f"{component.name} has no {name}")
        return
    try:
        bundle.document(path)
    except Unusable as unusable:
        yield unusable.problem


def _processor_readable(bundle: Bundle, component: Component) -> Iterator[Problem]:
    """preprocessor_config.json, or processor_config.json with the image processor in it; each that is there is read.

    transformers 5: `ImageProcessingMixin.get_image_processor_dict`.
    """
    there = [name for name in (PREPROCESSOR, PROCESSOR) if bundle.is_file(component.path(name))]
    broken = False
    for name in there:
        try:
            bundle.document(component.path(name))
        except Unusable as unusable:
            broken = True
            yield unusable.problem
    if broken or PREPROCESSOR in there:
        return
    document = _document(bundle, component.path(PROCESSOR)) if there else None
    nested = document is not None and isinstance(document.get("image_processor"), dict)
    if not nested and not (there and component.kind is Kind.PROCESSOR):
        path = component.path(PREPROCESSOR)
        yield bundle.no_file(path, FindingCode.MISSING_CONFIG, f"{component.name} has no {PREPROCESSOR}")


def _documents(bundle: Bundle, kinds: Sequence[Kind]) -> Iterator[tuple[Component, str, dict[str, Any]]]:
    """The configs that could be read, of components of these kinds."""
    for component in bundle.components:
        name = config_name(component)
        if name is None or component.kind not in kinds:
            continue
        path = component.path(name)
        document = _document(bundle, path) if bundle.is_file(path) else None
        if document is not None:
            yield component, path, document


def _document(bundle: Bundle, path: str) -> dict[str, Any] | None:
    try:
        return bundle.document(path)
    except Unusable:
        return None


def _says(key: str) -> bool:
    return not key.startswith("_") and key not in _SAYS_NOTHING


def _is_number(value: object) -> bool:
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))


def _no_number(path: str, name: str, value: object) -> Problem:
    return fatal(FindingCode.INVALID_CONFIG_JSON, f"{path} gives {shown(value)} for {name}", path)


CONFIG_RULES: tuple[Rule, ...] = (
    configs_are_readable,
    diffusers_configs_name_their_class,
    configs_are_of_the_class,
    configs_say_something,
    pictures_have_a_size,
    numbers_are_numbers,
    schedules_are_known,
    numbers_of_transformers_are_numbers,
    dtypes_are_known,
    quantization_can_be_loaded,
    code_of_configs_is_not_run,
)
