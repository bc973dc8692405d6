"""How a command gets its answer: which agent, which parameters, what is shown while it takes long."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.cli import main
from pumas_agent.cli.progress import ProgressDisplay
from pumas_agent.cli.session import Session, given_path
from pumas_agent.contracts.errors import InvalidParams, PathNotUtf8

StartAgent = Callable[[Mapping[str, Mapping[str, Any]]], list[dict[str, Any]]]
EMPTY = {"models": [], "totalCount": 0}


def test_an_agent_of_another_library_is_not_asked(
    start_agent: StartAgent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever names a library must not be answered about another one: both are named, exit code 69."""
    received = start_agent({"agent.status": {"library_root": "/other"}, "list_models": EMPTY})

    exit_code = main(["--library", str(tmp_path / "mine"), "list"])

    error = capsys.readouterr().err
    assert exit_code == 69
    assert f"owns /other, not {tmp_path / 'mine'}" in error
    assert [request["method"] for request in received] == ["agent.status"]


def test_the_library_of_the_agent_may_be_named_by_any_path(
    start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link or a relative path to the same folder is the same library."""
    (tmp_path / "library").mkdir()
    (tmp_path / "link").symlink_to("library")
    monkeypatch.chdir(tmp_path)
    start_agent({"agent.status": {"library_root": str(tmp_path / "library")}, "list_models": EMPTY})

    assert main(["--library", "link", "list"]) == 0


def test_without_the_flag_the_agent_decides_which_library(start_agent: StartAgent) -> None:
    """The question is then about whatever the agent owns: one request, no check."""
    received = start_agent({"list_models": EMPTY})

    assert main(["list"]) == 0
    assert [request["method"] for request in received] == ["list_models"]


@pytest.mark.parametrize("model_id", ["", "caf\udce9", "x" * 2000])
def test_a_parameter_that_cannot_be_sent_is_named(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str], model_id: str
) -> None:
    """The contract is checked before anything leaves: exit code 64, no request."""
    received = start_agent({})

    exit_code = main(["show", "--", model_id])

    assert exit_code == 64
    assert capsys.readouterr().err.startswith("error: model_id: ")
    assert received == []


def test_a_bad_configuration_exits_78(socket_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Flags, variables and file are read by every command in the same way."""
    config = tmp_path / "x.toml"
    config.write_text("[log]\nlevl = 1\n")

    exit_code = main(["--config", str(config), "--socket", str(socket_path), "list"])

    assert exit_code == 78
    assert "did you mean log.level?" in capsys.readouterr().err


def test_flags_become_settings(socket_path: Path, tmp_path: Path) -> None:
    """What is not given by a flag comes from the other sources."""
    session = Session(library=tmp_path / "library")

    settings = session.settings(log_level="debug")

    assert settings.library.root == tmp_path / "library"
    assert settings.socket.path == socket_path
    assert settings.log.level == "debug"


def test_a_path_that_json_cannot_hold_is_refused() -> None:
    """Bytes that are not UTF-8, and a home folder that nobody has, are said as what they are."""
    with pytest.raises(PathNotUtf8):
        given_path("/bundles/caf\udce9")
    with pytest.raises(InvalidParams, match="home folder"):
        given_path("~nobody-of-this-name/x")


def test_short_work_shows_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing flashes by for an answer that is there at once."""
    with ProgressDisplay("list models") as display:
        display.update("reading", 1, 2, "models")

    assert capsys.readouterr() == ("", "")


def test_long_work_draws_a_bar_on_a_terminal() -> None:
    """On stderr, so that stdout holds the result alone; the line is cleared when the work is done."""
    terminal, end = pty.openpty()
    script = (
        "from pumas_agent.cli import progress; progress._PATIENCE_S = 0\n"
        "with progress.ProgressDisplay('reconcile') as display:\n"
        "    display.update('judging', 3, 40, 'bundles'); input()"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=end,
    )
    os.close(end)

    shown = ""
    while "judging: 3 of 40 bundles" not in shown:
        assert select.select([terminal], [], [], 20)[0]
        shown += os.read(terminal, 65536).decode()
    out, _ = worker.communicate(b"\n", timeout=20)
    shown += os.read(terminal, 65536).decode()
    os.close(terminal)

    assert (worker.returncode, out) == (0, b"")
    assert shown.endswith("\x1b[2K")


def test_long_work_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal: plain lines on stderr now and then, the last known state in each."""
    monkeypatch.setattr("pumas_agent.cli.progress._LINE_EVERY_S", 0.001)
    deadline = time.monotonic() + 10
    seen = ""

    with ProgressDisplay("reconcile") as display:
        display.update("judging", 3, 40, "bundles")
        while len(re.findall("judging: 3 of 40 bundles, 0 s\n", seen)) < 2:
            assert time.monotonic() < deadline
            seen += capsys.readouterr().err

    assert set(seen.splitlines()) <= {"reconcile, 0 s", "judging: 3 of 40 bundles, 0 s"}
