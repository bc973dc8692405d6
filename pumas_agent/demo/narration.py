"""How the guided run is told: as a calm text while it happens, or as one JSON object at its end.

Owns the look of it. Knows nothing of agents and bundles.
"""

import json
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

SCHEMA = "pumas-agent/demo/1"
_STYLES = {"refused": "yellow", "alert": "red", "cleared": "green", "valid": "green", "untouched": "bold green"}


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # the agent has to be stopped first; rich would exit here


class Narration:
    """Steps and the facts of each, in the order they are told."""

    def __init__(self, out: TextIO, *, as_json: bool) -> None:
        self._out = out
        self._as_json = as_json
        self._steps: list[dict[str, Any]] = []
        self._console = _Screen(file=out, markup=False, emoji=False, highlight=False)

    def step(self, title: str) -> None:
        """The next thing that happens."""
        self._steps.append({"title": title, "facts": []})
        if not self._as_json:
            self._console.print()
            self._print(Text.assemble((f"{len(self._steps)}  ", "dim"), (title, "bold")))

    def fact(self, label: str, text: str, *, ms: float | None = None) -> None:
        """What was seen, and how long after the act of this step, in milliseconds."""
        fact = {"label": label, "text": text} | ({} if ms is None else {"ms": round(ms, 1)})
        self._steps[-1]["facts"].append(fact)
        if not self._as_json:
            took = "" if ms is None else f"   {ms:.1f} ms" if ms < 10 else f"   {ms:.0f} ms"  # noqa: PLR2004  digits
            self._print(Text.assemble(f"   {label:<12}", (text, _STYLES.get(label, "")), (took, "cyan")))

    def finish(self) -> None:
        """All went as told."""
        if self._as_json:
            self._out.write(json.dumps({"schema": SCHEMA, "success": True, "steps": self._steps}) + "\n")
        self._out.flush()

    def fail(self, code: str, message: str) -> None:
        """It did not; the message says what was different."""
        if self._as_json:
            error = {"code": code, "message": message, "hint": None, "data": {"steps": self._steps}}
            self._out.write(json.dumps({"schema": "pumas-agent/error/1", "error": error}) + "\n")
        else:
            self._print(Text.assemble("\n", ("error: ", "bold red"), message))
        self._out.flush()

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)
