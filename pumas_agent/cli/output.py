"""How results look: text from disk made safe, one JSON object, tables and fields.

Owns every escape of text that others wrote. Knows no command, no socket and no file. On a terminal a table fits the
screen; in a pipe it is plain columns that are never cut.
"""

import json
import math
import sys
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

WIDE = 140
"""Columns of a terminal from which on a table shows all it has."""
_KILO = 1000
_UNITS = ("kB", "MB", "GB", "TB")
_PIPE_WIDTH = 100_000
_STYLES = {
    "ok": "green",
    "missing": "red",
    "unreadable": "red",
    "valid": "green",
    "degraded": "yellow",
    "invalid": "red",
    "healthy": "green",
    "unhealthy": "red",
    "info": "cyan",
    "warning": "yellow",
    "error": "red",
    "critical": "bold red",
}

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


def printable(value: object) -> str:
    """The text as it can be shown anywhere: controls, direction marks and lone surrogates are escaped."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def stdout() -> "Console":
    """Standard output, as wide as the terminal, or without a limit in a pipe. Text is never read as markup."""
    from rich.console import Console

    class Stdout(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # `main` knows what to do; rich would exit with 1, which has another meaning here

    console = Stdout(file=sys.stdout, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def print_json(command: str, body: Mapping[str, Any]) -> None:
    """The one object of a command, named by its schema. ASCII, so that no terminal obeys what a file says."""
    click.echo(json.dumps({"schema": f"pumas-agent/{command}/1", **body}))


def print_table(
    console: "Console",
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    narrow: int,
    whole: Container[int] = (0,),
) -> None:
    """Rows under headers; on a screen of less than `WIDE` columns only the first `narrow` of them.

    The columns at the positions in `whole` are what people copy: they are folded, never cut.
    """
    from rich.table import Table

    shown = len(headers) if console.width >= WIDE else narrow
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for position, header in enumerate(headers[:shown]):
        is_whole = position in whole
        table.add_column(header, overflow="fold" if is_whole else "ellipsis", no_wrap=not is_whole)
    for row in rows:
        table.add_row(*(_cell(value) for value in row[:shown]))
    _print_columns(console, table)


def print_fields(console: "Console", fields: Iterable[tuple[str, object]]) -> None:
    """Names and values, one a line. A long value is left to the terminal to wrap, so that it is copied in one piece."""
    from rich.text import Text

    rows = list(fields)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        console.print(Text.assemble((name.ljust(width), "dim"), "  ", _cell(value)), soft_wrap=True)


def print_findings(console: "Console", title: str, findings: Sequence[Mapping[str, Any]]) -> None:
    """What is wrong, one a line under a title; nothing when nothing is."""
    from rich.text import Text

    if not findings:
        return
    console.print(Text(title, style="bold"))
    for finding in findings:
        console.print(Text(f"  {finding_line(finding)}"), soft_wrap=True)


def finding_line(finding: Mapping[str, Any]) -> str:
    """A finding in a line: its code, where, and the sentence."""
    place = finding.get("path")
    where = f" {printable(place)}" if place else ""
    return f"{printable(finding.get('code'))}{where}: {printable(finding.get('message'))}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: `1 root`, `2 roots`, `2 watches`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def size(count: int) -> str:
    """Bytes as people say them, in the units disks are sold in."""
    if count < _KILO:
        return f"{count} B"
    exponent = min(int(math.log(count, _KILO)), len(_UNITS))
    return f"{count / _KILO**exponent:.1f} {_UNITS[exponent - 1]}"


def _print_columns(console: "Console", table: "Table") -> None:
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().rstrip("\n").split("\n"):
        console.out(line.rstrip(" "))  # the spaces that fill a column say nothing in a file


def _cell(value: object) -> "Text":
    from rich.text import Text

    text = printable(_plain(value))
    return Text(text, style=_STYLES.get(text, ""))


def _plain(value: object) -> str:
    match value:
        case None | "" | () | []:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(_plain(item) for item in value)
        case dict():
            return json.dumps(value, ensure_ascii=False) if value else "-"
        case _:
            return str(value)
