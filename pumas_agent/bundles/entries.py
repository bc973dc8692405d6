"""Owns the rules on the components that model_index.json names: which must be there, and of which classes they are.

Never looks at their folders.
"""

from collections.abc import Iterator
from typing import Any

from pumas_agent.bundles.bundle import Bundle, ComponentEntry
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, notice, shown
from pumas_agent.bundles.model_index import MODEL_INDEX
from pumas_agent.bundles.pipeline import TEXT_TO_IMAGE, custom_code, leads_away
from pumas_agent.bundles.tables import ComponentKind

MAX_ENTRIES = 200
"""Of a class that no table knows; no pipeline of diffusers has more than two dozen components."""
_PARTS = 2
"""`[library, class]`"""


def component_entries(bundle: Bundle) -> Iterator[ComponentEntry]:
    """The components that a runtime would load, by name: constructor parameters with an entry `[library, class]`."""
    for name, value in _given(bundle):
        if _is_entry(value):
            yield ComponentEntry(name, library=value[0], class_name=value[1])


def entries_are_well_formed(bundle: Bundle) -> Iterator[Problem]:
    """An entry is `[library, class]`, or `[null, …]` for a component that is left out.

    Anything else ends the loading, also of an optional component (diffusers: `load_module` in `from_pretrained`).
    """
    for name, value in _given(bundle):
        if not _is_entry(value) and not _is_null(value):
            what = f"gives {name} as {_shown(value)}, not as [library, class]"
            yield fatal(FindingCode.INVALID_COMPONENT_ENTRY, f"{MODEL_INDEX} {what}", name)


def settings_have_a_type(bundle: Bundle) -> Iterator[Problem]:
    """A setting is any JSON value but an empty list or object, which `_get_detailed_type` of diffusers fails on."""
    facts, fields = bundle.facts, bundle.index.fields
    for name in facts.config_keys if facts else ():
        if fields.get(name) in ([], {}):
            what = f"{MODEL_INDEX} gives {name} as {_shown(fields[name])}, which diffusers cannot tell the type of"
            yield fatal(FindingCode.INVALID_COMPONENT_ENTRY, what, name)


def required_components_are_named(bundle: Bundle) -> Iterator[Problem]:
    """What the constructor of the class cannot do without is named, and not as null.

    `save_pretrained` itself writes null for a component that was loaded as None; such a bundle loads only for a caller
    that passes None again.
    """
    facts, fields = bundle.facts, bundle.index.fields
    for name in facts.required if facts else ():
        if name not in fields:
            what = f"names no {name}, which {bundle.index.pipeline_class} cannot do without"
            yield fatal(FindingCode.REQUIRED_COMPONENT_ABSENT, f"{MODEL_INDEX} {what}", name)
        elif _is_null(fields[name]):
            what = f"gives {name} as null, which {bundle.index.pipeline_class} cannot do without"
            yield fatal(FindingCode.REQUIRED_COMPONENT_NULL, f"{MODEL_INDEX} {what}", name)


def prompt_can_be_encoded(bundle: Bundle) -> Iterator[Problem]:
    """The text encoders and tokenizers of a text-to-image class are named, although the constructor lets them be null:
    such a pipeline loads, and fails at the first prompt.
    """
    facts, fields = bundle.facts, bundle.index.fields
    if facts is None or facts.task != TEXT_TO_IMAGE:
        return
    for name in facts.optional:
        if name.startswith(("text_encoder", "tokenizer")) and (name not in fields or _is_null(fields[name])):
            what = f"names no {name}, without which {facts.name} cannot read a prompt"
            yield fatal(FindingCode.PROMPT_ENCODER_ABSENT, f"{MODEL_INDEX} {what}", name)


def safety_checker_has_its_eyes(bundle: Bundle) -> Iterator[Problem]:
    """A safety checker needs the feature extractor (diffusers: `StableDiffusionPipeline.__init__`)."""
    entries = {entry.name for entry in bundle.entries}
    facts = bundle.facts
    if "safety_checker" in entries and "feature_extractor" not in entries:
        if facts is not None and "feature_extractor" not in facts.optional:
            return
        what = "names a safety_checker and no feature_extractor, which the checker needs"
        yield fatal(FindingCode.REQUIRED_COMPONENT_ABSENT, f"{MODEL_INDEX} {what}", "feature_extractor")


def libraries_are_known(bundle: Bundle) -> Iterator[Problem]:
    """A component comes from diffusers, transformers, a pipeline module of diffusers, or code in its own folder."""
    for entry in bundle.entries:
        if leads_away(entry.library):
            what = f"takes {entry.name} from {entry.library!r}, which leads out of the bundle"
            yield fatal(FindingCode.PATH_ESCAPE, f"{MODEL_INDEX} {what}", entry.name)
        elif (path := custom_component_file(bundle, entry)) is not None:
            yield custom_code(bundle, path, f"{path} is code of the bundle's own, which diffusers would run")
        elif not bundle.tables.is_library(entry.library):
            what = f"takes {entry.name} from {entry.library!r}, which diffusers {bundle.tables.diffusers_version}"
            text = f"{MODEL_INDEX} {what} does not load components from"
            yield fatal(FindingCode.UNKNOWN_COMPONENT_LIBRARY, text, entry.name)


def classes_are_known(bundle: Bundle) -> Iterator[Problem]:
    """The library has the class, and a runtime can load it."""
    tables = bundle.tables
    for entry in bundle.entries:
        if not tables.is_library(entry.library) or custom_component_file(bundle, entry) is not None:
            continue
        kind = tables.kind(entry.library, entry.class_name)
        if kind is None:
            what = (
                f"takes {entry.name} from {entry.library} as {entry.class_name!r}, a class that cannot be loaded there"
            )
            yield fatal(FindingCode.UNKNOWN_COMPONENT_CLASS, f"{MODEL_INDEX} {what}", entry.name)
        elif kind is ComponentKind.DUMMY:
            what = f"takes {entry.name} as {entry.class_name}, which needs a package that runtimes do not have"
            yield fatal(FindingCode.COMPONENT_CLASS_UNAVAILABLE, f"{MODEL_INDEX} {what}", entry.name)


def keys_are_known(bundle: Bundle) -> Iterator[Problem]:
    """Every key is a parameter of the class; diffusers ignores any other."""
    facts = bundle.facts
    if facts is None:
        return
    known = {*facts.required, *facts.optional, *facts.config_keys}
    for name in bundle.index.fields:
        if not name.startswith("_") and name not in known:
            what = f"{MODEL_INDEX} has {name[:200]!r}, which {facts.name} does not take, and ignores"
            yield notice(FindingCode.UNKNOWN_KEY, what, MODEL_INDEX)


def custom_component_file(bundle: Bundle, entry: ComponentEntry) -> str | None:
    """The Python file in the component's folder that takes the place of its library.

    A pipeline module of diffusers comes before such a file, diffusers and transformers come after it
    (`get_class_obj_and_candidates`).
    """
    if leads_away(entry.library) or bundle.tables.is_pipeline_module(entry.library):
        return None
    path = f"{entry.name}/{entry.library}.py"
    return path if bundle.is_file(path) else None


def _given(bundle: Bundle) -> Iterator[tuple[str, Any]]:
    """What the index says of each component of the class; of a class no table knows, every list that is not private."""
    facts, fields = bundle.facts, bundle.index.fields
    if facts is not None:
        yield from ((name, fields[name]) for name in sorted({*facts.required, *facts.optional}) if name in fields)
        return
    listed = ((name, value) for name, value in fields.items() if isinstance(value, list) and not _is_private(name))
    yield from sorted(listed, key=lambda item: item[0])[:MAX_ENTRIES]


def _is_private(name: str) -> bool:
    """A key that diffusers ignores, or that can be no folder of the bundle."""
    return name.startswith("_") or leads_away(name)


def _is_entry(value: Any) -> bool:
    return isinstance(value, list) and len(value) == _PARTS and all(isinstance(part, str) and part for part in value)


def _is_null(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and value[0] is None


def _shown(value: Any) -> str:
    return shown(value)


ENTRY_RULES = (
    entries_are_well_formed,
    settings_have_a_type,
    required_components_are_named,
    prompt_can_be_encoded,
    safety_checker_has_its_eyes,
    libraries_are_known,
    classes_are_known,
    keys_are_known,
)
