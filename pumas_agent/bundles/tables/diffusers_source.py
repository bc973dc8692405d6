"""Owns how the facts about diffusers are found in its source: pipelines, schedulers, and the classes of components."""

import ast
from collections.abc import Iterator
from typing import Any

from pumas_agent.bundles.tables.source import ClassSource, PackageSource, last_name, texts
from pumas_agent.bundles.tables.transformers_source import kind_of

_BASES = {
    "ModelMixin": "diffusers_model",
    "SchedulerMixin": "scheduler",
    "BaseGuidance": "guider",
    "PreTrainedModel": "transformers_model",
    "PreTrainedTokenizer": "tokenizer",
    "ProcessorMixin": "processor",
}
_HAVE = frozenset({"torch", "transformers", "sentencepiece", "accelerate"})
"""Packages that a runtime has; a class that stands for one needing others cannot be loaded."""
_IMPORTED = ("models", "schedulers")
_ASKED = ("init_noise_sigma", "scale_model_input", "add_noise", "alphas_cumprod", "_get_variance", "set_begin_index")
_PASSED = ("mu", "original_inference_steps", "max_timesteps", "intermediate_timesteps")
"""Attributes that some scheduler lacks, and arguments that are passed whatever the scheduler is."""
_MEDIA = frozenset({"prompt", "image", "images", "mask", "video", "videos", "frames", "audio", "waveforms"})
_BESIDE = frozenset({"negative", "embeds", "embeddings", "adapter"})
"""Words in the names of parameters: what goes in or comes out, and what is another form of that or an addition."""


def pipelines(source: PackageSource) -> dict[str, dict[str, Any]]:
    """What the constructor of each exported pipeline class takes."""
    exported = set(source.exported("__init__.py")) & source.classes.keys() - {"DiffusionPipeline"}
    return {name: _pipeline(source, name) for name in sorted(exported) if "DiffusionPipeline" in source.ancestors(name)}


def media(source: PackageSource, name: str) -> list[str]:
    """The parameters of a call that tell what a pipeline is for: those about prompts, pictures, films and sounds."""
    call = _method(source, name, "__call__")
    arguments = [*call.args.posonlyargs, *call.args.args, *call.args.kwonlyargs] if call is not None else []
    words = {argument.arg: set(argument.arg.split("_")) for argument in arguments}
    return [name for name, parts in words.items() if parts & _MEDIA and not parts & _BESIDE]


def schedulers(source: PackageSource) -> dict[str, list[str]]:
    """Of what pipelines use of a scheduler: what each exported class has."""
    exported = set(source.exported("__init__.py"))
    return {
        name: sorted(set(_provides(source.classes[name])))
        for name in sorted(exported & source.classes.keys())
        if "SchedulerMixin" in source.ancestors(name)
    }


def libraries(source: PackageSource, transformers: PackageSource) -> dict[str, dict[str, list[str]]]:
    """The classes that can be loaded, by library and kind.

    A library is `diffusers`, a package in it that it has imported itself by the time it looks a class up
    (`_get_library_or_raise`), or a module of its pipelines.
    """
    dummies = _dummies(source)
    inits = {"diffusers": "__init__.py", **{f"diffusers.{name}": f"{name}/__init__.py" for name in _IMPORTED}}
    found = {
        name: _by_kind(source, transformers, set(source.exported(path)), dummies)
        for name, path in inits.items()
        if path in source.modules
    }
    for path in source.modules:
        folder, _, name = path.removeprefix("pipelines/").rpartition("/")
        if path.startswith("pipelines/") and name == "__init__.py" and folder and "/" not in folder:
            found[folder] = _by_kind(source, transformers, set(source.exported(path)), dummies)
        elif path.startswith("pipelines/") and not folder and name != "__init__.py":
            found[name.removesuffix(".py")] = _by_kind(source, transformers, set(_names_in(source, path)), dummies)
    return found


def remapped(source: PackageSource) -> dict[str, str]:
    """Classes of transformers that are loaded under a newer name (`_TRANSFORMERS_CLASS_REMAPPING`)."""
    for node in ast.walk(source.modules["utils/deprecation_utils.py"]):
        match node:
            case ast.Assign(targets=[ast.Name("_TRANSFORMERS_CLASS_REMAPPING")], value=value):
                return {old: new["new_class"] for old, new in ast.literal_eval(value).items()}
    return {}


def _pipeline(source: PackageSource, name: str) -> dict[str, Any]:
    constructor, optional = _method(source, name, "__init__"), set(_optional(source, name))
    if constructor is None:
        raise ValueError(f"{name} has no constructor in its source")
    arguments = constructor.args
    parameters = [*arguments.posonlyargs, *arguments.args][1:]
    plain = parameters[: len(parameters) - len(arguments.defaults)]
    defaulted = {parameter.arg for parameter in parameters[len(plain) :]}
    for parameter, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is None:
            plain.append(parameter)
        else:
            defaulted.add(parameter.arg)
    names = {parameter.arg for parameter in plain}
    classes = {parameter.arg: _annotated(parameter.annotation) for parameter in (*parameters, *arguments.kwonlyargs)}
    components = (names | defaulted) & optional | names
    return {
        "required": sorted(names - optional),
        "optional": sorted((names | defaulted) & optional),
        "config_keys": sorted(defaulted - optional),
        "connected": _is_connected(source, name),
        "classes": {component: classes[component] for component in sorted(components) if classes[component]},
        "scheduler_needs": _scheduler_needs(source.classes[name]),
    }


def _method(source: PackageSource, name: str, method: str) -> ast.FunctionDef | None:
    for node in _inherited(source, name):
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == method:
                return statement
    return None


def _optional(source: PackageSource, name: str) -> Iterator[str]:
    value = _attribute(source, name, "_optional_components")
    if value is not None:
        yield from texts(value)


def _is_connected(source: PackageSource, name: str) -> bool:
    value = _attribute(source, name, "_load_connected_pipes")
    return isinstance(value, ast.Constant) and value.value is True


def _attribute(source: PackageSource, name: str, attribute: str) -> ast.expr | None:
    for node in _inherited(source, name):
        for statement in node.body:
            match statement:
                case ast.Assign(targets=[ast.Name(found)], value=value) if found == attribute:
                    return value
    return None


def _inherited(source: PackageSource, name: str) -> Iterator[ast.ClassDef]:
    """The class and what it inherits from, itself first."""
    waiting = [name]
    while waiting:
        known = source.classes.get(waiting.pop(0))
        if known is not None:
            waiting += known.bases
            if known.node is not None:
                yield known.node


def _annotated(annotation: ast.expr | None) -> list[str]:
    """The classes in an annotation, None and containers left out."""
    match annotation:
        case ast.Constant(value=str(written)):
            return _annotated(ast.parse(written, mode="eval").body)
        case ast.Name(name) | ast.Attribute(attr=name):
            return [name]
        case ast.BinOp(left=left, right=right):
            return [*_annotated(left), *_annotated(right)]
        case ast.Subscript(slice=ast.Tuple(elts=parts)):
            return [name for part in parts for name in _annotated(part)]
        case ast.Subscript(slice=inner):
            return _annotated(inner)
    return []


def _scheduler_needs(known: ClassSource) -> list[str]:
    """What the class uses of its scheduler; what hangs on a question about the scheduler is left out."""
    assert known.node is not None
    used: set[str] = set()
    asked: set[str] = set()
    for node in ast.walk(known.node):
        match node:
            case ast.Attribute(value=ast.Attribute(value=ast.Name("self"), attr="scheduler"), attr=name):
                used.add(name)
            case ast.Call(func=ast.Name("hasattr" | "getattr"), args=[_, ast.Constant(value=str(name)), *_]):
                asked.add(name)
            case ast.If(test=test) | ast.IfExp(test=test) if "self.scheduler" in ast.unparse(test):
                asked |= {inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}
            case ast.Call(func=func) if last_name(func) in {"retrieve_timesteps", "set_timesteps"}:
                used |= {f"set_timesteps({keyword.arg})" for keyword in node.keywords if keyword.arg in _PASSED}
    wanted = {*_ASKED, *(f"set_timesteps({name})" for name in _PASSED)}
    return sorted((used & wanted) - asked)


def _provides(known: ClassSource) -> Iterator[str]:
    assert known.node is not None
    for node in ast.walk(known.node):
        match node:
            case ast.FunctionDef(name="set_timesteps", args=arguments):
                names = [parameter.arg for parameter in (*arguments.args, *arguments.kwonlyargs)]
                taken = _PASSED if arguments.kwarg is not None else [name for name in _PASSED if name in names]
                yield from (f"set_timesteps({name})" for name in taken)
            case ast.FunctionDef(name=name) if name in _ASKED:
                yield name
            case ast.Attribute(value=ast.Name("self"), attr=name, ctx=ast.Store()) if name in _ASKED:
                yield name


def _dummies(source: PackageSource) -> frozenset[str]:
    """Exported names behind which, without further packages, only a stand-in is found (`utils/dummy_*_objects.py`)."""
    found: set[str] = set()
    for path, module in source.modules.items():
        if path.startswith("utils/dummy_"):
            for node in module.body:
                if isinstance(node, ast.ClassDef) and set(_backends(node)) - _HAVE:
                    found.add(node.name)
    return frozenset(found)


def _backends(node: ast.ClassDef) -> Iterator[str]:
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name("_backends")], value=value):
                yield from texts(value)


def _by_kind(
    source: PackageSource, transformers: PackageSource, names: set[str], dummies: frozenset[str]
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        kind = "dummy" if name in dummies else _kind(source, transformers, name)
        if kind is not None:
            found.setdefault(kind, []).append(name)
    return found


def _kind(source: PackageSource, transformers: PackageSource, name: str) -> str | None:
    """What a class of diffusers is, or one of transformers that it passes on; None for a base class."""
    if name not in source.classes:
        return kind_of(transformers, name)
    if name in _BASES:
        return None
    ancestors = source.ancestors(name)
    ancestors |= {further for base in ancestors for further in transformers.ancestors(base)}
    return next((kind for base, kind in _BASES.items() if base in ancestors), None)


def _names_in(source: PackageSource, path: str) -> Iterator[str]:
    """What a module defines or imports."""
    for node in ast.walk(source.modules[path]):
        match node:
            case ast.ImportFrom(names=aliases):
                yield from (alias.asname or alias.name for alias in aliases)
            case ast.ClassDef(name=name):
                yield name
