"""What is tested is the package that users install, not the source tree by accident."""

import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

import pumas_agent

SOURCES = Path(__file__).parents[2] / "pumas_agent"


def test_the_installed_package_is_tested() -> None:
    """The package is imported from where pip put it, here and in every process that a test starts."""
    origin = json.loads(distribution("pumas-agent").read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        pytest.skip("an editable installation: the source tree is what is installed")

    child = subprocess.run(
        [sys.executable, "-c", "import pumas_agent; print(pumas_agent.__file__)"],
        check=True,
        capture_output=True,
        text=True,
    )

    places = {Path(str(pumas_agent.__file__)).parent, Path(child.stdout.strip()).parent}
    assert len(places) == 1
    assert places != {SOURCES}


def test_the_package_has_its_data() -> None:
    """The schema of the index, the files of the page and the mark of a typed package are installed with it."""
    package = Path(str(pumas_agent.__file__)).parent

    installed = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.suffix != ".py"}

    data = [*SOURCES.rglob("*.sql"), *(SOURCES / "web" / "static").iterdir()]
    expected = {path.relative_to(SOURCES).as_posix() for path in data} | {"py.typed"}
    assert expected <= installed
