"""What results look like: safe text, tables that fit, one object for programs."""

import io
import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pumas_agent.cli.output import WIDE, finding_line, print_fields, print_findings, print_json, print_table, printable

HEADERS = ("ID", "STATE", "TYPE", "NAME")
LONG_ID = "diffusion/a-family-with-a-long-name/a-model-with-an-even-longer-name-than-that-of-its-family"


def _terminal(width: int) -> tuple[Console, io.StringIO]:
    screen = io.StringIO()
    console = Console(file=screen, width=width, force_terminal=True, color_system=None, markup=False, highlight=False)
    return console, screen


@given(st.text())
def test_printable_text_commands_no_terminal(text: str) -> None:
    """Whatever a file says: no control character, direction mark or lone surrogate is left, and nothing is lost."""
    shown = printable(text)

    assert shown.isprintable()
    shown.encode()
    assert shown == text or not text.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [bold]text[/bold] :smile:", "plain [bold]text[/bold] :smile:"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("caf\udce9", "caf\\udce9"),
        ("\x9b31m", "\\x9b31m"),
        ("模型 é", "模型 é"),
    ],
)
def test_printable_escapes_only_what_does_not_print(text: str, shown: str) -> None:
    """Letters of every script stay; what would move the cursor or turn the text round is spelt out."""
    assert printable(text) == shown


@pytest.mark.parametrize("width", [80, 200])
def test_a_table_fits_its_terminal_and_keeps_ids_whole(width: int) -> None:
    """No line is longer than the screen; an id is folded over lines, never cut, because people copy it."""
    console, screen = _terminal(width)

    print_table(console, HEADERS, [(LONG_ID, "valid", "diffusion", "N" * 60)], narrow=3)

    lines = screen.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    assert "".join(line.split()[0] for line in lines[1:]) == LONG_ID
    assert ("NAME" in lines[0]) == (width >= WIDE)


def test_a_piped_table_is_plain_and_never_cut() -> None:
    """In a pipe each row is one line with every column whole, for grep and awk."""
    pipe = io.StringIO()
    console = Console(file=pipe, width=100_000, markup=False, highlight=False)
    row = (LONG_ID, "valid", "diffusion", "N" * 300)

    print_table(console, HEADERS, [row, ("short", None, True, ["a", "b"])], narrow=1)

    lines = pipe.getvalue().splitlines()
    assert lines == [line.rstrip() for line in lines]
    assert [line.split() for line in lines] == [list(HEADERS), list(row), ["short", "-", "yes", "a,", "b"]]
    assert "\x1b" not in pipe.getvalue()


def test_cells_are_data_not_markup() -> None:
    """A model's name with brackets or escapes is shown as it is, escaped."""
    console, screen = _terminal(80)

    print_fields(console, [("name", "[red]x[/red]\x1b[2J"), ("nothing", None), ("map", {"a": 1})])

    lines = screen.getvalue().splitlines()
    assert [line[9:].strip() for line in lines] == ["[red]x[/red]\\x1b[2J", "-", '{"a": 1}']


def test_findings_are_one_line_each() -> None:
    """Code, place and sentence; the root has no place; an empty list prints nothing, not even its title."""
    console, screen = _terminal(40)
    findings: list[dict[str, Any]] = [
        {"code": "missing_component", "path": "unet", "message": "component unet is missing " * 3},
        {"code": "path_not_found", "path": None, "message": "gone\n"},
    ]

    print_findings(console, "findings", findings)
    print_findings(console, "notices", [])

    assert screen.getvalue().splitlines() == ["findings", *(f"  {finding_line(finding)}" for finding in findings)]
    assert finding_line(findings[1]) == "path_not_found: gone\\n"


@given(st.text())
def test_json_is_one_ascii_line_with_its_schema(text: str) -> None:
    """Programs find the schema; no terminal obeys what the file said; the text comes back as it was."""
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", stream)
        print_json("list", {"name": text})

    (line,) = stream.getvalue().splitlines()
    assert set(line) <= set(string.printable)
    assert json.loads(line) == {"schema": "pumas-agent/list/1", "name": text}
