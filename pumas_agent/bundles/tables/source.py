"""Owns how the source of an installed package is read: its classes, their ancestors, and the names it exports.

Parses files and runs none of them: to import diffusers takes seconds, torch, and whatever else is installed.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path


@dataclass(slots=True)
class ClassSource:
    """One class as it is written."""

    name: str
    path: str
    """Of its file, relative to the package."""
    bases: tuple[str, ...]
    """Their last names: `ModelMixin` for `modeling_utils.ModelMixin`."""
    node: ast.ClassDef | None = None
    """None for a name that only stands for another class."""
    constants: dict[str, ast.expr] = field(default_factory=dict)
    """What its file assigns to plain names."""


class PackageSource:
    """All modules of one package below `site_packages`.

    Raises:
        FileNotFoundError: there is no such package.
    """

    def __init__(self, site_packages: Path, name: str) -> None:
        if not (site_packages / name / "__init__.py").is_file():
            raise FileNotFoundError(f"{site_packages} holds no {name}")
        self.root = site_packages / name
        self.name = name

    @cached_property
    def modules(self) -> dict[str, ast.Module]:
        """Every module by its path; one that is not Python of this version is left out."""
        found = {}
        for path in sorted(self.root.rglob("*.py")):
            try:
                found[path.relative_to(self.root).as_posix()] = ast.parse(path.read_bytes())
            except SyntaxError:
                continue
        return found

    @cached_property
    def classes(self) -> dict[str, ClassSource]:
        """Every class at the top of a module, by name, as far as it can be imported from there.

        Left out: stand-ins for missing packages, and what transformers makes its models from (`modular_*.py`).
        """
        found: dict[str, ClassSource] = {}
        for path, module in self.modules.items():
            file = path.rpartition("/")[2]
            if not file.startswith("dummy_") and not (path.startswith("models/") and file.startswith("modular_")):
                for known in _classes_of(path, module):
                    # The last of the same name wins, but a real class before a name that only stands for one.
                    if known.node is not None or known.name not in found:
                        found[known.name] = known
        return found

    def ancestors(self, name: str) -> frozenset[str]:
        """The names of all classes that a class comes from, itself included, as far as the package tells."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            current = waiting.pop()
            if current not in found:
                found.add(current)
                waiting += self.classes[current].bases if current in self.classes else ()
        return frozenset(found)

    def exported(self, path: str) -> Iterator[str]:
        """What the `__init__` at `path` offers lazily: the texts in its `_import_structure`, and what it adds.

        What is offered from a module that does not exist cannot be imported, and is left out.
        """
        for node in ast.walk(self.modules[path]):
            match node:
                case ast.Assign(targets=[ast.Name("_import_structure")], value=value):
                    yield from texts(value)
                case ast.Assign(
                    targets=[ast.Subscript(value=ast.Name("_import_structure"), slice=ast.Constant(value=str(module)))],
                    value=value,
                ) if self._has(path, module):
                    yield from texts(value)
                case ast.Assign(targets=[ast.Subscript(value=ast.Name("_additional_imports"), slice=name)]):
                    yield from texts(name)
                case ast.Call(func=ast.Attribute(value=ast.Subscript(value=ast.Name("_import_structure")))):
                    yield from texts(node)

    def _has(self, init: str, module: str) -> bool:
        inside = init.removesuffix("__init__.py") + module.replace(".", "/")
        return f"{inside}.py" in self.modules or f"{inside}/__init__.py" in self.modules

    @cached_property
    def version(self) -> str:
        """`__version__` of the package."""
        for node in self.modules["__init__.py"].body:
            match node:
                case ast.Assign(targets=[ast.Name("__version__")], value=ast.Constant(str(version))):
                    return version
        raise ValueError(f"{self.root} names no version")


def texts(node: ast.AST) -> Iterator[str]:
    """The texts anywhere in a piece of source."""
    for inner in ast.walk(node):
        match inner:
            case ast.Constant(value=str(text)):
                yield text


def last_name(node: ast.expr) -> str:
    """`X` of `a.b.X` and of `X[...]`; empty for what has no name."""
    match node:
        case ast.Name(name):
            return name
        case ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return last_name(value)
    return ""


def _classes_of(path: str, module: ast.Module) -> Iterator[ClassSource]:
    constants = {
        node.targets[0].id: node.value
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            yield ClassSource(node.name, path, tuple(map(last_name, node.bases)), node, constants)
    for name, value in constants.items():
        if isinstance(value, ast.Name):
            yield ClassSource(name, path, (value.id,))
    for inner in ast.walk(module):
        if isinstance(inner, ast.ImportFrom):
            for alias in inner.names:
                if alias.asname is not None and alias.asname != alias.name:
                    yield ClassSource(alias.asname, path, (alias.name,))
