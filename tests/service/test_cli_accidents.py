"""What a slip of the hand must not do: make a library where none was meant, or blame the wrong thing."""

import subprocess
import sys
from pathlib import Path

import pytest

from pumas_agent.demo.bundle import write_stable_diffusion_bundle

_DEADLINE_S = 60


def _run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pumas_agent", *args],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=_DEADLINE_S,
    )


@pytest.mark.parametrize(
    "args",
    [
        ("--library", "", "reconcile"),
        ("--socket", "", "list"),
        ("register", ""),
        ("validate", ""),
    ],
)
def test_an_empty_path_is_not_the_working_directory(short_tmp: Path, args: tuple[str, ...]) -> None:
    """`--library "$UNSET"` makes nothing in the folder that one happens to be in."""
    done = _run(short_tmp, *args)

    assert (done.returncode, done.stdout) == (64, "")
    assert "empty" in done.stderr
    assert list(short_tmp.iterdir()) == []


@pytest.mark.parametrize("command", [("reconcile",), ("reindex",), ("unregister", "a/b/c", "--yes")])
def test_only_a_registration_makes_a_library(short_tmp: Path, command: tuple[str, ...]) -> None:
    """A path that was mistyped, or a disk that is not mounted, is said and not made."""
    library = short_tmp / "no" / "library"

    done = _run(short_tmp, "--library", str(library), "--socket", str(short_tmp / "s"), *command)

    assert done.returncode == 69
    assert f"there is no library at {library}" in done.stderr
    assert not library.exists()


def test_the_hint_for_a_path_that_is_not_there_is_about_the_path(short_tmp: Path) -> None:
    """Registering it all the same is seldom what was meant."""
    library = str(short_tmp / "library")

    done = _run(short_tmp, "--library", library, "--socket", str(short_tmp / "s"), "register", str(short_tmp / "nope"))

    assert done.returncode == 2
    assert "hint: check the path" in done.stderr


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
@pytest.mark.parametrize("flags", ["", "--json"])
def test_an_output_that_cannot_be_written_is_not_taken_for_an_unhealthy_bundle(
    short_tmp: Path, redirection: str, flags: str
) -> None:
    """Exit code 1 means that something was looked at; there is no traceback."""
    write_stable_diffusion_bundle(short_tmp / "tiny")

    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m pumas_agent validate {flags} tiny {redirection}"],
        cwd=short_tmp,
        capture_output=True,
        text=True,
        check=False,
        timeout=_DEADLINE_S,
    )

    assert done.returncode in {0, 2}
    assert "Traceback" not in done.stderr
