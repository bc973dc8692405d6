"""Owns the rules on where components lie: each in a folder of its own, readable, and what leads out of the bundle.

Never looks at what a component contains.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pumas_agent.bundles.bundle import Bundle, Component, ComponentEntry, Place, Presence
from pumas_agent.bundles.entries import custom_component_file
from pumas_agent.bundles.findings import FindingCode, Problem, escaped, fatal, notice
from pumas_agent.bundles.model_index import MODEL_INDEX
from pumas_agent.bundles.places import is_inside
from pumas_agent.bundles.tables import ComponentKind
from pumas_agent.contracts.bundles import BundleComponent, ComponentState

_MODELS = ("config.json",)
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_MARKS = {
    ComponentKind.DIFFUSERS_MODEL: _MODELS,
    ComponentKind.TRANSFORMERS_MODEL: _MODELS,
    ComponentKind.SCHEDULER: ("scheduler_config.json",),
    ComponentKind.GUIDER: ("guider_config.json",),
    ComponentKind.FEATURE_EXTRACTOR: _PROCESSORS,
    ComponentKind.IMAGE_PROCESSOR: _PROCESSORS,
    ComponentKind.PROCESSOR: _PROCESSORS,
}
"""Files of which one tells that a component of the kind lies in a folder."""


def place_of_component(bundle: Bundle, entry: ComponentEntry) -> Place:
    """Where diffusers would load the component from: its folder, or the root when it has none (`load_sub_model`)."""
    match bundle.presence(entry.name):
        case Presence.DIRECTORY if os.access(bundle.root / entry.name, os.R_OK | os.X_OK):
            return Place(entry, ComponentState.PRESENT, entry.name)
        case Presence.DIRECTORY | Presence.UNREADABLE:
            what = f"the folder of {entry.name} cannot be read: Permission denied"
            problem = fatal(FindingCode.COMPONENT_UNREADABLE, what, entry.name)
            return Place(entry, ComponentState.UNREADABLE, None, problem)
        case presence:
            return _not_a_folder(bundle, entry, presence)


def components_in(bundle: Bundle, places: Sequence[Place]) -> Iterator[Component]:
    """The components whose content can be judged: in place, and of a class that the tables know."""
    for place in places:
        entry = place.entry
        if place.folder is None or custom_component_file(bundle, entry) is not None:
            continue
        kind = bundle.tables.kind(entry.library, entry.class_name) if bundle.tables.is_library(entry.library) else None
        if kind is not None and kind is not ComponentKind.DUMMY:
            yield Component(entry.name, entry.library, entry.class_name, kind, place.folder)


def manifest_of(places: Sequence[Place]) -> tuple[BundleComponent, ...]:
    """The places as the report shows them."""
    return tuple(
        BundleComponent(
            name=escaped(place.entry.name),
            relative_path="." if place.folder == "" else escaped(place.entry.name),
            source_library=escaped(place.entry.library),
            class_name=escaped(place.entry.class_name),
            state=place.state,
        )
        for place in places
    )


def components_are_in_place(bundle: Bundle) -> Iterator[Problem]:
    """Each component has a readable folder; without one, diffusers takes what lies in the root."""
    yield from (place.problem for place in bundle.places if place.problem is not None)


def links_stay_inside(bundle: Bundle) -> Iterator[Problem]:
    """Links lead to places in the bundle, or in the Hugging Face cache that it lies in.

    What is elsewhere loads, and can change or go without anything having changed in the bundle.
    """
    base = len(str(bundle.tree.root)) + 1
    for link in bundle.tree.links:
        real = os.path.realpath(link)
        if not is_inside(bundle.root, Path(real)) and os.path.lexists(real):
            path = link[base:]
            yield notice(FindingCode.SYMLINK_OUTSIDE_BUNDLE, f"{path} is a link out of the bundle, to {real}", path)


def _not_a_folder(bundle: Bundle, entry: ComponentEntry, presence: Presence) -> Place:
    mark = _mark_in_root(bundle, entry)
    if mark is not None:
        what = f"{entry.name} has no folder; diffusers takes {mark} in the root of the bundle for it"
        problem = notice(FindingCode.COMPONENT_IN_ROOT, what, entry.name)
        return Place(entry, ComponentState.PRESENT, "", problem)
    code, what = FindingCode.MISSING_COMPONENT, f"{MODEL_INDEX} names it, and the bundle has no such folder"
    if presence is Presence.DANGLING:
        target = escaped(os.readlink(bundle.root / entry.name))  # noqa: PTH115 - the text as it is on disk
        code, what = FindingCode.DANGLING_SYMLINK, f"there is only a link that leads nowhere, to {target}"
    elif presence is not Presence.ABSENT:
        what = "what is there is no folder"
    problem = fatal(code, f"component {entry.name!r} is missing: {what}", entry.name)
    return Place(entry, ComponentState.MISSING, None, problem)


def _mark_in_root(bundle: Bundle, entry: ComponentEntry) -> str | None:
    tables = bundle.tables
    kind = tables.kind(entry.library, entry.class_name) if tables.is_library(entry.library) else None
    if kind is ComponentKind.TOKENIZER:
        marks: Sequence[str] = ("tokenizer.json", *(tables.tokenizer_files(entry.class_name) or {}).values())
    else:
        marks = _MARKS.get(kind, ()) if kind is not None else ()
    return next((mark for mark in marks if bundle.is_file(mark)), None)


COMPONENT_RULES = (components_are_in_place, links_stay_inside)
