"""How far long work is: shown on stderr, on a terminal after a second and gone when it is done, else every few seconds.

Owns the clock and the look of it. Never writes to stdout, which belongs to the result.
"""

import sys
import threading
import time
from types import TracebackType
from typing import Self

import click

from pumas_agent.cli.output import printable

_PATIENCE_S = 1.0
_LINE_EVERY_S = 3.0
_REDRAW_EVERY_S = 0.1


class ProgressDisplay:
    """While it is entered, a thread shows the last `update`: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, title: str) -> None:
        self._stage = title
        self._done = 0
        self._total: int | None = None
        self._unit = ""
        self._started = time.monotonic()
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._show, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finished.set()
        self._thread.join()

    def update(self, stage: str, done: int, total: int | None, unit: str) -> None:
        """How far the work is; `total` is null while nobody knows."""
        self._stage, self._done, self._total, self._unit = stage, done, total, unit

    def _show(self) -> None:
        if not sys.stderr.isatty():
            self._write_lines()
        elif not self._finished.wait(_PATIENCE_S):
            self._draw()

    def _draw(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        console = Console(stderr=True, markup=False, emoji=False, highlight=False)
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(self._text())
            while not self._finished.wait(_REDRAW_EVERY_S):
                bar.update(task, description=self._text(), completed=self._done, total=self._total)

    def _write_lines(self) -> None:
        while not self._finished.wait(_LINE_EVERY_S):
            click.echo(f"{self._text()}, {time.monotonic() - self._started:.0f} s", err=True)

    def _text(self) -> str:
        if not self._unit:
            return printable(self._stage)
        of_total = "" if self._total is None else f" of {self._total}"
        return printable(f"{self._stage}: {self._done}{of_total} {self._unit}")
