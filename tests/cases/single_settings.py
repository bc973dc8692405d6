"""Changes to single settings of configs and tokenizers, kept as data: other types, unknown names, keys gone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cases.change import Change, Step, edit_json, steps

ROWS = Path(__file__).parents[1] / "data" / "setting-changes.json"


def single_setting_changes() -> Iterator[Change]:
    """One change a row; `model.dropout` is a key within a key."""
    for row in json.loads(ROWS.read_text(encoding="utf-8")):
        yield Change(row["name"], row["base"], steps(*map(_edit, row["edits"])))


def _edit(asked: dict[str, Any]) -> Step:
    def edit(content: dict[str, Any]) -> None:
        for key, value in asked.get("set", {}).items():
            holder, name = _place(content, key)
            holder[name] = value
        for key in asked.get("drop", ()):
            holder, name = _place(content, key)
            holder.pop(name, None)

    return edit_json(asked["file"], edit)


def _place(content: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    outer, dot, inner = key.partition(".")
    return (content[outer], inner) if dot else (content, key)
