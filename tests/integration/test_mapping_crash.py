"""Killed while a link is made or takes the place of a file: nothing is lost, and the next run ends the work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pumas_agent.mapping import making
from pumas_agent.mapping.sources import Source

KILLED = Path(__file__).parents[1] / "faults" / "killed_mapping.py"
NAME = "model.safetensors"


@pytest.mark.parametrize("ways", [3, 2, 1])
@pytest.mark.parametrize("action", ["create", "replace"])
def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path, action: str, ways: int) -> None:
    """Before and after every system call, however the link is made.

    A name holds what stood there or the whole new file, never a part of it; what stood there is there under its name or
    under the one it is kept by; the library's file is as it was. The next run sweeps up and does it.
    """
    told = subprocess.run(
        [sys.executable, KILLED, tmp_path, action, str(ways)], capture_output=True, text=True, check=True
    )

    moments = int(told.stdout)
    assert moments > (2 if action == "create" else 10)
    for point in range(1, moments + 1):
        _check(tmp_path / str(point), action, ways)


def _check(folder: Path, action: str, ways: int) -> None:
    app, library = folder / "app", folder / "library" / NAME
    contents = {path.name: path.read_bytes() for path in app.iterdir() if not path.name.startswith(".pumas-agent.")}
    assert library.read_bytes() == b"weights"
    assert set(contents) <= {NAME, f"{NAME}.replaced-1"}
    assert contents.get(NAME, b"weights") in {b"weights", b"theirs!"}
    if action == "replace":
        assert b"theirs!" in contents.values()
        assert NAME in contents or ways == 1  # without hard links the file has its new name for a moment first

    descriptor = os.open(app, os.O_RDONLY | os.O_DIRECTORY)
    making.sweep(descriptor)
    source = Source("m", "M", library, library)
    if NAME not in contents:
        making.create(source, descriptor, NAME)
    elif contents[NAME] == b"theirs!":
        making.replace(source, descriptor, NAME, (app / NAME).lstat())
    os.close(descriptor)

    kept = {path.name for path in app.iterdir()} - {NAME}
    assert (app / NAME).read_bytes() == b"weights"
    assert all(name.startswith(f"{NAME}.replaced-") and (app / name).read_bytes() == b"theirs!" for name in kept)
    assert bool(kept) == (action == "replace")
