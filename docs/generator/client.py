"""The page of the Python client, read from its source: signatures as they are written, and what the docstrings say."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from pumas_agent import client
from pumas_agent.client import AgentClient, AsyncAgentClient, ListFilters, load_pipeline, wire

if TYPE_CHECKING:
    from types import FunctionType

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_SECTION = re.compile(r"^(Args|Raises|Returns):$", re.MULTILINE)
_ITEM = re.compile(r"^    (\w[\w, ]*): ", re.MULTILINE)


def client_parts() -> Iterator[str]:
    """The page, paragraph by paragraph: every public name of `pumas_agent.client`."""
    told: list[type | FunctionType] = [
        AgentClient,
        AsyncAgentClient,
        cast("FunctionType", load_pipeline),
        ListFilters,
    ]
    for public in told:
        node = ast.parse(textwrap.dedent(inspect.getsource(public))).body[0]
        yield f"## `{public.__name__}`"
        if isinstance(node, ast.ClassDef) and public is not ListFilters:
            yield from _class(node)
        elif isinstance(node, ast.ClassDef):
            yield _prose(node)
            yield "\n".join(f"- `{ast.unparse(line)}`" for line in node.body if isinstance(line, ast.AnnAssign))
        elif isinstance(node, _Function):
            yield from _function(node)
    yield "## `OnProgress`"
    yield "What `on_progress` is called with: stage, done, total where it is known, and unit."
    yield _code(next(_assigned("OnProgress")))
    named = {public.__name__ for public in told} | {"OnProgress"}
    if named != set(client.__all__):
        raise ValueError(f"the page has {sorted(named)}, the client {client.__all__}")


def _class(node: ast.ClassDef) -> Iterator[str]:
    made = next(part for part in node.body if isinstance(part, _Function) and part.name == "__init__")
    yield _code(f"{node.name}({_arguments(made)})")
    yield _prose(node)
    for part in node.body:
        if isinstance(part, _Function) and not part.name.startswith("_"):
            yield f"### `{node.name}.{part.name}`"
            yield from _function(part)


def _function(node: _Function) -> Iterator[str]:
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    result = ast.unparse(node.returns) if node.returns else "None"
    yield _code(f"{word} {node.name}({_arguments(node)}) -> {result}")
    yield _prose(node)


def _arguments(node: _Function) -> str:
    return ast.unparse(node.args).removeprefix("self, ").removeprefix("self")


def _assigned(name: str) -> Iterator[str]:
    for node in ast.parse(inspect.getsource(wire)).body:
        if isinstance(node, ast.AnnAssign | ast.Assign) and name in ast.unparse(node).split("=")[0]:
            yield ast.unparse(node)


def _prose(node: ast.ClassDef | _Function) -> str:
    """A docstring, with its sections as lists."""
    first, *sections = _SECTION.split(ast.get_docstring(node) or "")
    parts = [first.strip()]
    for title, text in zip(sections[::2], sections[1::2], strict=True):
        items = _ITEM.sub(r"\n- `\1`: ", text)
        lines = [re.sub(r"\s+", " ", item).strip() for item in items.split("\n- ") if item.strip()]
        parts.append(f"{title}:\n\n" + "\n".join(f"- {line}" if line.startswith("`") else line for line in lines))
    return "\n\n".join(parts)


def _code(text: str) -> str:
    return f"```python\n{text}\n```"
