"""What an operator sees, on real terminals of 80 and of 200 columns, with and without colour, and in a pipe."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pumas_agent.demo.snapshot import snapshot
from pumas_agent.settings import explain_settings

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle

_DEADLINE_S = 60
_STYLE = re.compile(r"\x1b\[([0-9;]*)m")
_COLOURS = re.compile(r"\x1b\[[0-9;]*(3[0-7]|9[0-7]|38;)[0-9;]*m")
FOLDER = "a folder with \x1b[31mcolour\x07 and \u202eturned text, far below what fits on a line of a small terminal"
FAMILY = "a-family-with-a-long-name-that-nobody-shortens"
COMMANDS = ("status", "list", "show", "explain", "doctor")
TABLES = ("list",)


@dataclass(frozen=True)
class Shown:
    """An agent with a whole and a broken bundle at a hostile place."""

    agent: "AgentUnderTest"
    broken: str
    root: Path

    def args(self, command: str) -> list[str]:
        ids = [self.broken] if command in {"show", "explain"} else []
        return [sys.executable, "-m", "pumas_agent", "--socket", str(self.agent.socket), command, *ids]


@pytest.fixture
def shown(agent: "AgentUnderTest", make_bundle: "MakeBundle", short_tmp: Path) -> Shown:
    """Its name and its place are as hostile to a screen as a filesystem allows."""
    broken = make_bundle("broken", parent=short_tmp / FOLDER)
    agent.register(make_bundle("whole"), family=FAMILY)
    model_id = agent.register(broken, family=FAMILY, official_name="Broken \x1b]0;title\x07 \x9b2J [bold]name[/bold]")
    (broken / "unet").rename(short_tmp / "unet")
    agent.wait_for("alert.raised", code="bundle_incomplete", model_id=model_id)
    agent.settled()
    return Shown(agent, model_id, broken)


def on_terminal(args: list[str], columns: int, **environ: str) -> str:
    """What a command draws on a terminal of so many columns, as it was sent."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    env = {
        name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}
    }
    process = subprocess.Popen(args, stdin=end, stdout=end, env={**env, "TERM": "xterm-256color", **environ})
    os.close(end)
    drawn = bytearray()
    try:
        while part := os.read(terminal, 65536):
            drawn += part
    except OSError:  # EIO: the other end is closed
        pass
    os.close(terminal)
    assert process.wait(_DEADLINE_S) in (0, 1)
    return drawn.decode().replace("\r\n", "\n")


def piped(args: list[str]) -> str:
    done = subprocess.run(args, capture_output=True, text=True, check=False, timeout=_DEADLINE_S)
    assert done.returncode in (0, 1)
    return done.stdout


def plain(drawn: str) -> str:
    return _STYLE.sub("", drawn)


def _timeless(drawn: str) -> str:
    """The words, without the moments that pass between two looks."""
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.+]+", "then", plain(drawn))


def width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line)


@pytest.mark.parametrize("columns", [80, 200])
def test_screens_obey_no_name_from_disk_and_cut_nothing_that_is_copied(shown: Shown, columns: int) -> None:
    """Escapes are spelt out; ids and paths are in one piece, in a table folded at most; no table is too wide."""
    before = snapshot(shown.root)
    escaped = str(shown.root).encode("unicode_escape").decode()

    screens = {command: plain(on_terminal(shown.args(command), columns)) for command in COMMANDS}

    for command, screen in screens.items():
        assert all(char == "\n" or char.isprintable() for char in screen), command
    for command in ("show", "explain", "doctor"):
        assert shown.broken in screens[command].replace("\n", ""), command
    for command in ("show", "explain"):
        assert escaped in screens[command]
    assert shown.broken in _column(screens["list"], 0)
    assert shown.broken in _column(screens["status"].split("hint:")[0], 2)
    for command in TABLES:
        assert max(width(line) for line in screens[command].splitlines()) <= columns, command
    assert max(width(line) for line in screens["status"].split("hint:")[0].splitlines()) <= columns
    assert str(shown.agent.socket) in screens["status"]
    assert snapshot(shown.root) == before


def _column(screen: str, position: int) -> str:
    """The cells of a column of the first table, joined: a cell that was folded is whole again."""
    lines = screen.splitlines()
    head = next(number for number, line in enumerate(lines) if re.match(r"[A-Z]+ +[A-Z]+", line))
    starts = [match.start() for match in re.finditer(r"\S+", lines[head])] + [None]
    return "".join(line[starts[position] : starts[position + 1]].strip() for line in lines[head + 1 :])


@pytest.mark.parametrize("command", COMMANDS)
def test_colour_is_for_terminals_that_want_it(shown: Shown, command: str) -> None:
    """With NO_COLOR and in a pipe the words are the same; a pipe has no style at all."""
    coloured = on_terminal(shown.args(command), 200)
    without = on_terminal(shown.args(command), 200, NO_COLOR="1")
    in_pipe = piped(shown.args(command))

    assert _COLOURS.search(coloured)
    assert not _COLOURS.search(without)
    assert "\x1b" not in in_pipe
    assert all(char == "\n" or char.isprintable() for char in in_pipe)
    if command in {"show", "explain"}:
        assert _timeless(coloured) == _timeless(without) == _timeless(in_pipe)


def test_what_is_wrong_comes_first_in_status(shown: Shown) -> None:
    """Health, then each alert with its hint, then the figures."""
    lines = piped(shown.args("status")).splitlines()

    assert lines[0].split() == ["health", "unhealthy"]
    assert lines[2].split()[:3] == ["bundle_incomplete", "error", shown.broken]
    assert lines[3].startswith("hint: ")
    assert [line.split()[0] for line in lines[5:7]] == ["library", "models"]


def test_what_is_wrong_comes_first_in_doctor(shown: Shown) -> None:
    """FAIL, WARN, OK."""
    states = [line[:4].strip() for line in piped(shown.args("doctor")).splitlines() if line[:4].strip().isupper()]

    assert states == sorted(states, key=("FAIL", "WARN", "OK").index)
    assert states[0] == "FAIL"


def test_the_name_of_a_setting_is_in_one_piece() -> None:
    """On a small terminal it is the value that is folded: names are copied into a file."""
    drawn = plain(on_terminal([sys.executable, "-m", "pumas_agent", "config", "show"], 80))

    names = {one.name for one in explain_settings(None, {}, {})}
    assert {line.split()[0] for line in drawn.splitlines() if line.strip()} >= names
    assert max(map(len, drawn.splitlines()[1:])) <= 80
