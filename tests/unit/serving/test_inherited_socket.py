"""What is taken of LISTEN_FDS: one listening Unix stream socket with a path, for this process, and nothing else."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pumas_agent.contracts.errors import SettingsInvalid
from pumas_agent.serving import inherited_socket
from pumas_agent.serving.bound_socket import BoundSocket

Take = Callable[[socket.socket | None], BoundSocket | None]


@pytest.fixture
def take(monkeypatch: pytest.MonkeyPatch) -> Iterator[Take]:
    """Give a socket as a service manager would, at a descriptor that is free here."""
    taken: list[BoundSocket | None] = []

    def take(given: socket.socket | None) -> BoundSocket | None:
        descriptor = 900 if given is None else os.dup(given.fileno())
        monkeypatch.setattr("pumas_agent.serving.bound_socket._FIRST_INHERITED", descriptor)
        taken.append(inherited_socket({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}))
        return taken[-1]

    yield take
    for bound in taken:
        if bound is not None:
            bound.close()


def test_it_is_served_at_its_own_path_and_its_file_is_left(take: Take, tmp_path: Path) -> None:
    """Nor do processes that the agent starts inherit it."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        made.listen()

        bound = take(made)

        assert bound is not None
        assert bound.path == tmp_path / "s"
        assert not bound.socket.get_inheritable()
        bound.close()
        assert (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "own"},
        {"LISTEN_FDS": "0", "LISTEN_PID": "own"},
    ],
)
def test_without_one_for_this_process_there_is_none(environ: dict[str, str]) -> None:
    """The variables of a parent that were left in the environment mean nothing, and go no further."""
    given = {name: str(os.getpid()) if value == "own" else value for name, value in environ.items()}

    assert inherited_socket(given) is None
    assert given == {}


@pytest.mark.parametrize("count", ["2", "-1", "one"])
def test_another_number_of_them_is_refused(count: str) -> None:
    """Which of them would be served could only be guessed."""
    with pytest.raises(SettingsInvalid, match=f"LISTEN_FDS is {count}"):
        inherited_socket({"LISTEN_FDS": count, "LISTEN_PID": str(os.getpid())})


def test_another_kind_of_socket_is_refused(take: Take, tmp_path: Path) -> None:
    """TCP, datagrams, no path, nobody who listens: each is said."""
    with socket.socket(socket.AF_INET) as tcp, pytest.raises(SettingsInvalid, match="no Unix stream socket"):
        take(tcp)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(tmp_path / "d"))
        with pytest.raises(SettingsInvalid, match="no Unix stream socket"):
            take(datagrams)
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0pumas-test-{os.getpid()}")
        with pytest.raises(SettingsInvalid, match="with a path"):
            take(abstract)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        with pytest.raises(SettingsInvalid, match="nobody listens"):
            take(silent)
    with pytest.raises(SettingsInvalid, match="descriptor 900"):
        take(None)
