"""Owns the rules of the existing Pumas library: what must exist, and nothing about what it contains.

They are the whole verdict at `bundles.depth = "structure"` (docs/reference/compatibility.md).
"""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from pumas_agent.bundles.bundle import Bundle
from pumas_agent.bundles.findings import FindingCode, Problem, escaped, fatal
from pumas_agent.bundles.model_index import MODEL_INDEX
from pumas_agent.bundles.places import place_of
from pumas_agent.contracts.bundles import BundleComponent, ComponentState

MAX_COMPONENTS = 200
"""No pipeline of diffusers has more than a dozen."""

UNSUPPORTED_WORDS = ("img2img", "image2image", "inpaint", "controlnet", "refiner", "audio", "speech", "video")

_CODES = {
    ComponentState.MISSING: FindingCode.MISSING_COMPONENT,
    ComponentState.UNREADABLE: FindingCode.COMPONENT_UNREADABLE,
    ComponentState.PATH_ESCAPE: FindingCode.PATH_ESCAPE,
}


def is_supported_pipeline(pipeline_class: str) -> bool:
    """The word test: text-to-image pipelines, told by their name."""
    lowered = pipeline_class.lower()
    return "pipeline" in lowered and not any(word in lowered for word in UNSUPPORTED_WORDS)


def manifest(bundle: Bundle) -> Iterator[tuple[BundleComponent, str]]:
    """Each component that the index names, by name, and why it is not in place (empty when it is); at most 200."""
    for name, value in _listed(bundle)[:MAX_COMPONENTS]:
        library, class_name, *_ = (item if isinstance(item, str) else None for item in [*value, None])
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            state, why = ComponentState.PATH_ESCAPE, "is named by a path that leads out of the bundle"
        else:
            state, why = place_of(bundle.root, name)
        component = BundleComponent(
            name=escaped(name),
            relative_path=escaped(name),
            source_library=None if library is None else escaped(library),
            class_name=None if class_name is None else escaped(class_name),
            state=state,
        )
        yield component, why


def _listed(bundle: Bundle) -> list[tuple[str, list[Any]]]:
    """A component is a list that is not all null, under a key without a leading underscore."""
    return sorted(
        (name, value)
        for name, value in bundle.index.fields.items()
        if not name.startswith("_") and isinstance(value, list) and any(item is not None for item in value)
    )


def index_names_a_pipeline(bundle: Bundle) -> Iterator[Problem]:
    """`_class_name` is a string that is not blank; a document that is no object has none."""
    index = bundle.index
    named = index.fields.get("_class_name")
    if index.problem is None and not (isinstance(named, str) and named.strip()):
        what = f"{MODEL_INDEX} names no pipeline in _class_name"
        yield fatal(FindingCode.MISSING_PIPELINE_CLASS, what, MODEL_INDEX)


def pipeline_is_supported(bundle: Bundle) -> Iterator[Problem]:
    """The pipeline is a text-to-image one, by the words in its name."""
    name = bundle.index.pipeline_class
    if name is not None and not is_supported_pipeline(name):
        yield fatal(FindingCode.UNSUPPORTED_PIPELINE, f"{name} is not a text-to-image pipeline", MODEL_INDEX)


def components_are_in_place(bundle: Bundle) -> Iterator[Problem]:
    """Each component that the index names is there, readable, and inside the bundle."""
    for component, why in manifest(bundle):
        if component.state is not ComponentState.PRESENT:
            yield fatal(_CODES[component.state], f"component {component.name!r} {why}", component.name)


def components_are_bounded(bundle: Bundle) -> Iterator[Problem]:
    """The index names at most 200 components."""
    count = len(_listed(bundle))
    if count > MAX_COMPONENTS:
        what = f"{MODEL_INDEX} names {count} components; only the first {MAX_COMPONENTS} were looked at"
        yield fatal(FindingCode.INVALID_MODEL_INDEX_JSON, what, MODEL_INDEX)


STRUCTURE_RULES = (
    index_names_a_pipeline,
    pipeline_is_supported,
    components_are_in_place,
    components_are_bounded,
)
