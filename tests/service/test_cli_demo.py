"""`pumas-agent demo` as a person or a script runs it: with a real agent, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

_DEADLINE_S = 60


def _start(temporary: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pumas_agent", "demo", *flags],
        env={**os.environ, "TMPDIR": str(temporary), "PUMAS_AGENT_WATCH__BACKEND": "nonsense"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def temporary(short_tmp: Path) -> Path:
    """Where the demo makes its temporary folder."""
    path = short_tmp / "t"
    path.mkdir()
    return path


def test_the_demo_shows_that_the_agent_knows(temporary: Path) -> None:
    """Every loss is refused at the next lookup and raised in the log, every return is cleared, nobody touched a file.

    The person's own settings (here one that is wrong) have no part in it.
    """
    demo = _start(temporary, "--json")

    out, err = demo.communicate(timeout=_DEADLINE_S)

    assert (demo.returncode, err) == (0, "")
    told = json.loads(out)
    assert (told["schema"], told["success"]) == ("pumas-agent/demo/1", True)
    labels = [[fact["label"] for fact in step["facts"] if fact["label"]] for step in told["steps"]]
    assert labels == [
        ["bundle", "agent"],
        ["registered", "valid"],
        ["refused", "alert", "hint"],
        ["cleared", "valid"],
        ["refused", "alert", "hint"],
        ["cleared", "valid"],
        ["alert", "hint", "refused"],
        ["relocated", "cleared", "valid"],
        ["agent", "refused"],
        ["untouched"],
    ]
    assert not list(temporary.iterdir())


def test_the_demo_is_plain_text_in_a_pipe(temporary: Path) -> None:
    """No escape sequence; `--keep` leaves the folder and says where."""
    demo = _start(temporary, "--keep")

    out, err = demo.communicate(timeout=_DEADLINE_S)

    (folder,) = temporary.iterdir()
    assert (demo.returncode, err) == (0, "")
    assert "\x1b" not in out
    assert out.rstrip().endswith(str(folder))
    assert (folder / "models" / "renamed" / "unet").is_dir()


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_demo_that_is_stopped_stops_its_agent(temporary: Path, number: signal.Signals, exit_code: int) -> None:
    """No process and no folder is left, whichever way it ends."""
    demo = _start(temporary)
    assert demo.stdout is not None
    lines = iter(demo.stdout.readline, "")
    agent_line = next(line for line in lines if line.startswith("   agent"))
    agent = psutil.Process(int(agent_line.split()[2]))

    demo.send_signal(number)
    demo.communicate(timeout=_DEADLINE_S)

    assert demo.returncode == exit_code
    assert not agent.is_running()
    assert not list(temporary.iterdir())


def test_a_demo_whose_agent_dies_says_so(temporary: Path) -> None:
    """Exit code 2, one message on what was missing, and no folder left."""
    demo = _start(temporary)
    assert demo.stdout is not None
    lines = iter(demo.stdout.readline, "")
    agent_line = next(line for line in lines if line.startswith("   agent"))
    agent = psutil.Process(int(agent_line.split()[2]))

    agent.kill()
    out, _ = demo.communicate(timeout=_DEADLINE_S)

    assert demo.returncode == 2
    assert "error: " in out
    assert not list(temporary.iterdir())


def test_a_reader_of_the_demo_may_go_away(temporary: Path) -> None:
    """`pumas-agent demo | head -1` ends quietly and leaves nothing."""
    demo = _start(temporary)
    assert demo.stdout is not None
    assert demo.stderr is not None
    demo.stdout.readline()
    demo.stdout.close()

    error = demo.stderr.read()
    demo.wait(_DEADLINE_S)
    demo.stderr.close()

    assert (demo.returncode, error) == (141, "")
    assert not list(temporary.iterdir())
