"""The page of the metrics, read from the source of the function that makes them: an agent need not run for it."""

import ast
import inspect
import textwrap
from collections.abc import Iterator

from pumas_agent.agent.figures import agent_metrics

_KINDS = ("gauge", "counter")


def metric_rows() -> Iterator[tuple[str, str, str, str]]:
    """Of each family its name, kind, labels and meaning, in the order in which they are written."""
    source = ast.parse(textwrap.dedent(inspect.getsource(agent_metrics)))
    calls = [node for node in ast.walk(source) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    for call in sorted(calls, key=lambda call: call.lineno):
        if isinstance(call.func, ast.Name) and call.func.id in {"metric", "Metric"}:
            name, meaning, *others = _texts(call)
            kind = next((text for text in others if text in _KINDS), _KINDS[0])
            yield f"`{name}`", kind, ", ".join(f"`{label}`" for label in _labels(call)), meaning


def _texts(call: ast.Call) -> list[str]:
    return [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]


def _labels(call: ast.Call) -> list[str]:
    keys = [key for node in ast.walk(call) if isinstance(node, ast.Dict) for key in node.keys]
    return [key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
