"""Owns which weights file the libraries would load for a component, by names alone. Opens no weights.

Follows diffusers 0.42 (`ModelMixin.from_pretrained`, `_identify_model_variants`) and transformers 5
(`_get_resolved_checkpoint_files`), both as a pipeline calls them: `use_safetensors=None`.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pumas_agent.bundles.bundle import Bundle, Component, Presence, Unusable
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, shown
from pumas_agent.bundles.tables import ComponentKind

WEIGHT_KINDS = (ComponentKind.DIFFUSERS_MODEL, ComponentKind.TRANSFORMERS_MODEL)
MAX_VARIANTS = 16
"""That are tried; published bundles have one or two."""

_DIFFUSERS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
_TRANSFORMERS = ("model.safetensors", "pytorch_model.bin")
_INDEX = ".index.json"
_SHARD = r"(?:-\d{5}-of-\d{5})?"
_VARIANT = r"\.(?P<variant>[A-Za-z0-9_-]+?)"
_WEIGHT_NAME = re.compile(
    rf"(?:diffusion_pytorch_model|model|pytorch_model){_SHARD}"
    rf"(?:{_VARIANT}{_SHARD}\.(?:safetensors|bin)|\.(?:safetensors|bin)\.index{_VARIANT.replace('variant', 'of_index')}"
    rf"\.json|\.(?:safetensors|bin){_VARIANT.replace('variant', 'of_old_index')}\.index\.json)"
)
_VARIANT_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Choice:
    """The file that decides what is loaded."""

    path: str
    """Relative to the bundle root."""
    sharded: bool
    """It is an index, whose shards are loaded."""


class VariantScanCrash(Exception):
    """Looking for a variant, diffusers takes the text behind the first dot of every name; `path` has none."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def choose(bundle: Bundle, component: Component, variant: str | None) -> Choice:
    """The file that the library would take, or fail on.

    Raises:
        Unusable: there is none.
    """
    if (
        component.kind is ComponentKind.TRANSFORMERS_MODEL
        and (named := _named_by_config(bundle, component)) is not None
    ):
        return _explicit(bundle, component, named)
    for name, sharded in _candidates(bundle, component, variant):
        path = component.path(name)
        if bundle.is_file(path):
            return Choice(path, sharded)
    raise Unusable(_nothing(bundle, component, variant))


def plain_names(component: Component) -> tuple[str, str]:
    """The names of the safetensors file and of the pickle that are not of a variant and not in shards."""
    return _DIFFUSERS if component.kind is ComponentKind.DIFFUSERS_MODEL else _TRANSFORMERS


def index_name(name: str, variant: str | None = None) -> str:
    """Of the index of the shards of the file `name`."""
    return _of_variant(name + _INDEX, variant)


def variants_of(bundle: Bundle) -> list[str]:
    """The variants that names of weight files tell, `fp16` first; at most 16."""
    found = {
        variant
        for component in bundle.components
        if component.kind in WEIGHT_KINDS
        for name in bundle.names(component.folder)
        if (variant := _variant_in(component, name))
    }
    return sorted(found, key=lambda variant: (variant != "fp16", variant))[:MAX_VARIANTS]


def components_with(bundle: Bundle, variant: str) -> frozenset[str]:
    """The components that diffusers loads in the variant: a file in their folder has it behind its first dot.

    Raises:
        VariantScanCrash: diffusers raises IndexError on the way, which depends on the order of the names on disk.
    """
    if not _VARIANT_NAME.fullmatch(variant):
        return frozenset()
    return frozenset(
        folder
        for folder in bundle.names("")
        if folder in bundle.index.fields
        and bundle.presence(folder) is Presence.DIRECTORY
        and any(_behind_dot(folder, name).startswith(variant) for name in bundle.names(folder))
    )


def _behind_dot(folder: str, name: str) -> str:
    parts = name.split(".")
    if len(parts) == 1:
        raise VariantScanCrash(f"{folder}/{name}")
    return parts[1]


def _candidates(bundle: Bundle, component: Component, variant: str | None) -> Iterator[tuple[str, bool]]:
    """Names and whether they are an index, in the order in which the library asks for them."""
    safe, pickle = plain_names(component)
    if component.kind is ComponentKind.DIFFUSERS_MODEL:
        yield index_name(safe, variant), True
        if variant is not None and _finds_old_index(bundle, component):
            yield f"{safe}.{variant}{_INDEX}", True
        yield _of_variant(safe, variant), False
        yield _of_variant(pickle, variant), False  # shards of pickles are not looked for
    else:
        for name in (safe, pickle):
            yield _of_variant(name, variant), False
            yield index_name(name, variant), True


def _finds_old_index(bundle: Bundle, component: Component) -> bool:
    """Diffusers counts the dots of the whole path to place the variant, and misses where folders have some."""
    folder = str(bundle.root / component.folder)
    return folder.count(".") == (1 if ".cache" in folder else 0)


def _of_variant(name: str, variant: str | None) -> str:
    stem, _, suffix = name.rpartition(".")
    return name if variant is None else f"{stem}.{variant}.{suffix}"


def _variant_in(component: Component, name: str) -> str | None:
    stems = [plain.split(".")[0] for plain in plain_names(component)]
    found = _WEIGHT_NAME.fullmatch(name)
    if found is None or not any(name.startswith((f"{stem}.", f"{stem}-")) for stem in stems):
        return None
    return found["variant"] or found["of_index"] or found["of_old_index"]


def _named_by_config(bundle: Bundle, component: Component) -> Any:
    """What `transformers_weights` in config.json says: transformers then looks for nothing else."""
    try:
        return bundle.document(component.path("config.json")).get("transformers_weights")
    except Unusable:
        return None  # said where configs are judged


def _explicit(bundle: Bundle, component: Component, named: Any) -> Choice:
    config = component.path("config.json")
    if not isinstance(named, str) or not named.endswith((".safetensors", f".safetensors{_INDEX}", "adapter_model.bin")):
        what = f"{config} names {shown(named)} as its weights, which is no safetensors file"
        raise Unusable(fatal(FindingCode.MISSING_WEIGHTS, what, config))
    if posixpath.normpath(named).startswith(("/", "../")):
        what = f"{config} names {shown(named)} as its weights, outside of its folder"
        raise Unusable(fatal(FindingCode.PATH_ESCAPE, what, config))
    path = component.path(named)
    if not bundle.is_file(path):
        what = f"{path} is missing, which {config} names as its weights"
        raise Unusable(bundle.no_file(path, FindingCode.MISSING_WEIGHTS, what))
    return Choice(path, sharded=named.endswith(_INDEX))


def _nothing(bundle: Bundle, component: Component, variant: str | None) -> Problem:
    present = frozenset(bundle.names(component.folder))
    names = [name for name, _ in _candidates(bundle, component, variant)]
    for name in names:
        if name in present:
            path = component.path(name)
            return bundle.no_file(path, FindingCode.MISSING_WEIGHTS, f"{path} is no file")
    folder = component.folder or None
    others = sorted({found for name in present if (found := _variant_in(component, name))})
    if variant is None and others:
        what = f"{component.name} has its weights as variant {', '.join(others[:3])} alone"
        return fatal(FindingCode.WEIGHTS_ONLY_VARIANT, what, folder)
    what = f"{component.name} has no weights: there is none of {', '.join(names)}"
    if component.kind is ComponentKind.DIFFUSERS_MODEL and index_name(plain_names(component)[1], variant) in present:
        what += "; diffusers does not find pickles in shards"
    return fatal(FindingCode.MISSING_WEIGHTS, what, folder)
