"""What every test stands on: nothing of the machine it runs on gets in, and root is asked for by name.

Owns the environment of a test, the markers `needs_root` and `needs_tool`, the profiles of hypothesis, and
short paths for sockets.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
import structlog

sys.path.append(str(Path(__file__).parents[1]))  # `tests.cases`; last, so that pumas_agent is the installed one

IN_GATE = os.environ.get("CI") == "true"
IS_ROOT = os.geteuid() == 0

hypothesis.settings.register_profile("here", deadline=None, database=None)  # the checkout may be read-only
hypothesis.settings.register_profile("gate", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("gate" if IN_GATE else "here")


@pytest.fixture(scope="session")
def in_gate() -> bool:
    """Whether this is the gate (`CI=true`): what it lacks is a failure there, and skipped on a user's machine."""
    return IN_GATE


@pytest.fixture(scope="session", autouse=True)
def _outside_the_sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Processes that tests start import the installed package: `python -m` would look in the working directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        for name in [name for name in os.environ if name.startswith(("XDG_", "PUMAS_AGENT_"))]:
            patch.delenv(name)
        yield


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home folder of its own for each test, with a path short enough for the agent's default socket."""
    with _short_folder() as home:
        monkeypatch.setenv("HOME", str(home))
        yield


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """A command sets the log up for its process; in a test it does so for that test alone."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A folder like `tmp_path` with a path short enough for a socket (107 bytes)."""
    with _short_folder() as folder:
        yield folder


@contextmanager
def _short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pumas-", dir="/tmp") as name:
        yield Path(name).resolve()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs root, or a program, where there is none."""
    if not IS_ROOT and item.get_closest_marker("needs_root"):
        pytest.skip("needs root: a second user, or mounts")
    if missing := [tool for mark in item.iter_markers("needs_tool") for tool in mark.args if not shutil.which(tool)]:
        pytest.skip(f"needs {' and '.join(missing)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that needs root, has it, and skips itself in the gate: what was not run was not checked.

    The same with a program it needs: the gate installs them.
    """
    report = yield
    marks = {mark.name for mark in item.iter_markers()} & {"needs_root", "needs_tool"}
    if report.skipped and IN_GATE and marks and (IS_ROOT or "needs_root" not in marks):
        report.outcome = "failed"
        report.longrepr = f"a {' and '.join(sorted(marks))} test was skipped in the gate: {report.longrepr}"
    return report
