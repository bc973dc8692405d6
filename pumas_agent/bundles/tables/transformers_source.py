"""Owns how the facts about transformers are found in its source: which class is what, and the files of tokenizers."""

import ast
from collections.abc import Iterator

from pumas_agent.bundles.tables.source import ClassSource, PackageSource, texts

_KINDS = {
    "PreTrainedModel": "transformers_model",
    "PreTrainedTokenizerBase": "tokenizer",
    "FeatureExtractionMixin": "feature_extractor",
    "ImageProcessingMixin": "image_processor",
    "ProcessorMixin": "processor",
}
_LOADABLE_BASES = frozenset({"PreTrainedTokenizerFast", "TokenizersBackend"})
"""They make a tokenizer of a tokenizer.json; all other bases have nothing to load."""
_BASE_FILES = (
    "modeling_utils.py",
    "processing_utils.py",
    "feature_extraction_",
    "image_processing_",
    "video_processing_",
    "tokenization_",
)
_HAVE = frozenset({"torch", "vision", "tokenizers", "sentencepiece", "accelerate", "protobuf"})
"""What `requires(backends=…)` may ask for; a class that asks for more cannot be loaded."""
_TORCHVISION = frozenset({"TorchvisionBackend", "BaseVideoProcessor"})
_CONVERTERS = ("convert_slow_tokenizer.py", "SLOW_TO_FAST_CONVERTERS")
_PIL = "Pil"
"""An image processor that needs torchvision is loaded as the one of this suffix where torchvision is missing."""


def classes(source: PackageSource) -> dict[str, list[str]]:
    """The classes that can be loaded, by kind."""
    found: dict[str, list[str]] = {}
    for name in sorted(_exported(source)):
        kind = kind_of(source, name)
        if kind is not None:
            found.setdefault(kind, []).append(name)
    found["tokenizer"] = sorted({*found.get("tokenizer", ()), *_stand_ins(source)})
    return found


def tokenizer_files(source: PackageSource, names: list[str]) -> dict[str, dict[str, str]]:
    """The files of each tokenizer by their role (`vocab_files_names`); without those that have none."""
    stand_ins = _stand_ins(source)
    found = {name: _vocabulary_files(source, stand_ins.get(name, name)) for name in names}
    return {name: files for name, files in found.items() if files}


def _stand_ins(source: PackageSource) -> dict[str, str]:
    """For each tokenizer that has no class any more: the class that transformers 5 gives in its place.

    That is the one named as the converter is, or else the first that shares it (`_LazyModule.__getattr__`).
    """
    path, table = _CONVERTERS
    converters: dict[str, str] = {}
    for node in source.modules[path].body if path in source.modules else ():
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=ast.Dict(keys, values)) if name == table:
                for key, value in zip(keys, values, strict=True):
                    match key, value:
                        case ast.Constant(value=str(tokenizer)), ast.Name(converter):
                            converters[tokenizer] = converter
    exported = _exported(source)
    found = {}
    for name, converter in converters.items():
        alike = (other for other, used in converters.items() if used == converter)
        candidates = (converter.replace("Converter", "Tokenizer"), *alike)
        served = next((other for other in candidates if other in exported), None)
        if name not in exported and served is not None:
            found[name] = served
    return found


def _exported(source: PackageSource) -> set[str]:
    offered = set(source.exported("__init__.py"))
    for module in source.modules.values():
        for node in module.body:
            match node:
                case ast.Assign(targets=[ast.Name("__all__")], value=value):
                    offered |= set(texts(value))
    return offered & source.classes.keys()


def kind_of(source: PackageSource, name: str) -> str | None:
    """What a class of transformers is; None for what cannot be loaded, as base classes."""
    if name not in source.classes:
        return None
    known = source.classes[name]
    ancestors = source.ancestors(name)
    kind = next((kind for base, kind in _KINDS.items() if base in ancestors), None)
    if kind is None or (_is_base(known) and name not in _LOADABLE_BASES):
        return None
    if set(_required(source, name)) - _HAVE:
        return "dummy"
    if ancestors & _TORCHVISION and f"{name}{_PIL}" not in source.classes:
        return "dummy"
    return kind


def _is_base(known: ClassSource) -> bool:
    """A class to inherit from: it has no config, no architecture and no files of its own."""
    return known.name.endswith("PreTrainedModel") or ("/" not in known.path and known.path.startswith(_BASE_FILES))


def _required(source: PackageSource, name: str) -> Iterator[str]:
    node = source.classes[name].node
    for decorator in node.decorator_list if node is not None else ():
        match decorator:
            case ast.Call(func=ast.Name("requires")):
                yield from texts(decorator)


def _vocabulary_files(source: PackageSource, name: str) -> dict[str, str]:
    known = source.classes.get(name)
    if known is None:
        return {}
    for statement in known.node.body if known.node is not None else ():
        match statement:
            case ast.Assign(targets=[ast.Name("vocab_files_names")], value=value):
                return _files(known, value)
    return next(filter(None, (_vocabulary_files(source, base) for base in known.bases)), {})


def _files(known: ClassSource, value: ast.expr) -> dict[str, str]:
    value = _resolved(known, value)
    if not isinstance(value, ast.Dict):
        return {}
    files = {}
    for role, name in zip(value.keys, (_resolved(known, name) for name in value.values), strict=True):
        match role, name:
            case ast.Constant(value=str(role_text)), ast.Constant(value=str(name_text)):
                files[role_text] = name_text
    return files


def _resolved(known: ClassSource, value: ast.expr) -> ast.expr:
    return known.constants.get(value.id, value) if isinstance(value, ast.Name) else value
