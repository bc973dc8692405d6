"""Owns the rules on the configs of components: there, readable, of the class, and saying something.

The values in them are judged in `settings` and `config_values`. What a config says of weights is compared with them in
`weights`; what components say of each other, in `fits`.
"""

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
_SAYS_NOTHING = frozenset({"image_processor_type", "feature_extractor_type", "processor_class", "tokenizer_class"})
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
    for component, path, document in documents(bundle, (Kind.DIFFUSERS_MODEL, Kind.SCHEDULER)):
        if not isinstance(document.get("_class_name", ""), str | list):
            yield fatal(FindingCode.INVALID_CONFIG_JSON, f"{path} has a _class_name that is no text", path)
        version = document.get("_diffusers_version", "0")
        is_version = isinstance(version, str) and _RELEASE.fullmatch(version)
        if component.class_name == "UNet2DConditionModel" and not is_version:
            what = f"{path} has {shown(version)} for a version of diffusers"
            yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def configs_are_of_the_class(bundle: Bundle) -> Iterator[Problem]:
    """The class that a config was written for is the one that loads it; the library does not compare them."""
    for component, path, document in documents(bundle, (Kind.DIFFUSERS_MODEL, Kind.SCHEDULER)):
        written = document.get("_class_name")
        if isinstance(written, str) and written != component.class_name:
            what = f"{path} was written for {written[:80]}, and {component.class_name} loads it"
            yield notice(FindingCode.CONFIG_CLASS_MISMATCH, what, path)


def configs_say_something(bundle: Bundle) -> Iterator[Problem]:
    """A config without a parameter that its class knows loads as the library's defaults, and draws another picture."""
    for _, path, document in documents(bundle, (Kind.SCHEDULER,)):
        if not document.keys() & _SAYS_A_SCHEDULE:
            yield fatal(FindingCode.CONFIG_DEFAULTS, f"{path} says nothing about the schedule", path)
    for component in bundle.components:
        path = component.path(PREPROCESSOR)
        if component.kind in _PROCESSORS and bundle.is_file(path):
            settings = document_of(bundle, path)
            if settings is not None and not any(_says(key) for key in settings):
                yield fatal(FindingCode.CONFIG_DEFAULTS, f"{path} says nothing about images", path)


def quantization_can_be_loaded(bundle: Bundle) -> Iterator[Problem]:
    """Quantized weights need a package, and mostly a GPU, that only the operator knows of."""
    for component, path, document in documents(bundle, MODELS):
        config = document.get("quantization_config")
        if config is None:
            continue
        method = config.get("quant_method") if isinstance(config, dict) else None
        if method not in bundle.policy.quantization_backends:
            what = f"{component.name} is quantized by {shown(method)}"
            yield fatal(FindingCode.QUANTIZED_BACKEND, what, path)


def code_of_configs_is_not_run(bundle: Bundle) -> Iterator[Problem]:
    """`auto_map` names code for the Auto classes; a pipeline names its classes itself."""
    for _, path, document in documents(bundle, (Kind.TRANSFORMERS_MODEL,)):
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
    document = document_of(bundle, component.path(PROCESSOR)) if there else None
    nested = document is not None and isinstance(document.get("image_processor"), dict)
    if not nested and not (there and component.kind is Kind.PROCESSOR):
        path = component.path(PREPROCESSOR)
        yield bundle.no_file(path, FindingCode.MISSING_CONFIG, f"{component.name} has no {PREPROCESSOR}")


def documents(bundle: Bundle, kinds: Sequence[Kind]) -> Iterator[tuple[Component, str, dict[str, Any]]]:
    """The configs that could be read, of components of these kinds."""
    for component in bundle.components:
        name = config_name(component)
        if name is None or component.kind not in kinds:
            continue
        path = component.path(name)
        document = document_of(bundle, path) if bundle.is_file(path) else None
        if document is not None:
            yield component, path, document


def document_of(bundle: Bundle, path: str) -> dict[str, Any] | None:
    """The document; None when it cannot be read, which another rule says."""
    try:
        return bundle.document(path)
    except Unusable:
        return None


def _says(key: str) -> bool:
    return not key.startswith("_") and key not in _SAYS_NOTHING


CONFIG_RULES: tuple[Rule, ...] = (
    configs_are_readable,
    diffusers_configs_name_their_class,
    configs_are_of_the_class,
    configs_say_something,
    quantization_can_be_loaded,
    code_of_configs_is_not_run,
)
