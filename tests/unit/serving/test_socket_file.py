"""The socket file: made private, replaced only when nobody listens, removed only when it is ours."""

import grp
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pumas_agent.contracts.errors import LibraryBusy, SettingsInvalid
from pumas_agent.serving import PeerPolicy, bind_socket
from pumas_agent.serving.peers import identify_peer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "agent.sock"


@pytest.fixture
def listener(path: Path) -> Iterator[socket.socket]:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(1)
        yield listening


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_the_socket_and_its_folder_are_the_owners_alone(path: Path) -> None:
    """0600 in 0700, whatever the umask, which is as it was afterwards."""
    before = os.umask(0o002)

    bound = bind_socket(path)

    assert (_mode(path.parent), _mode(path)) == (0o700, 0o600)
    assert os.umask(before) == 0o002
    bound.close()
    assert not path.exists()


@pytest.mark.needs_root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to any group")
def test_with_a_group_its_members_may_connect(path: Path) -> None:
    """0660 in 0750, both of that group."""
    group = grp.getgrall()[-1]

    bound = bind_socket(path, group=group.gr_name)

    assert (_mode(path.parent), _mode(path)) == (0o750, 0o660)
    assert {path.stat().st_gid, path.parent.stat().st_gid} == {group.gr_gid}
    assert PeerPolicy.of_this_process(group.gr_name).group_gid == group.gr_gid
    bound.close()


def test_an_unknown_group_is_refused_by_name(path: Path) -> None:
    """Nothing is made."""
    with pytest.raises(SettingsInvalid, match="no-such-group"):
        bind_socket(path, group="no-such-group")

    assert not path.parent.exists()


def test_a_socket_that_nobody_listens_on_is_replaced(path: Path) -> None:
    """What a killed agent leaves behind does not stop the next one."""
    first = bind_socket(path)
    first.socket.close()

    second = bind_socket(path)

    second.socket.listen()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    second.close()


def test_a_socket_that_somebody_listens_on_is_left_alone(path: Path, listener: socket.socket) -> None:
    """The message names the process that listens."""
    with pytest.raises(LibraryBusy, match=str(os.getpid())):
        bind_socket(path)

    accepted, _ = listener.accept()
    accepted.close()
    assert path.is_socket()


@pytest.mark.usefixtures("listener")
def test_a_listener_too_busy_to_accept_is_a_listener(path: Path) -> None:
    """A full queue of connections is no sign of death."""
    waiting = []
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        waiting.append(client)
        try:
            client.connect(str(path))
        except BlockingIOError:
            break

    with pytest.raises(LibraryBusy):
        bind_socket(path)

    assert path.is_socket()
    for client in waiting:
        client.close()


def test_what_is_no_socket_is_never_removed(path: Path) -> None:
    """A file or a link in the way is named and kept."""
    path.parent.mkdir()
    path.write_text("precious")

    with pytest.raises(SettingsInvalid, match="no socket"):
        bind_socket(path)

    assert path.read_text() == "precious"


def test_a_link_to_a_socket_is_not_followed(path: Path, tmp_path: Path) -> None:
    """Only the name itself counts."""
    other = bind_socket(tmp_path / "other.sock")
    path.parent.mkdir()
    path.symlink_to(other.path)

    with pytest.raises(SettingsInvalid, match="no socket"):
        bind_socket(path)

    assert path.is_symlink()
    other.close()


@pytest.mark.parametrize("length", [108, 200])
def test_a_path_that_a_socket_cannot_have_is_refused(length: int) -> None:
    """The kernel takes 107 bytes; the message says so before it would."""
    path = Path("/", "é" * ((length - 1) // 2) + "x" * ((length - 1) % 2))

    with pytest.raises(SettingsInvalid, match="107") as caught:
        bind_socket(path)

    assert caught.value.hint is not None


def test_a_folder_where_anyone_may_replace_files_is_refused(path: Path) -> None:
    """Another program could pose as the agent there; a sticky folder (like /tmp) is fine."""
    path.parent.mkdir()
    path.parent.chmod(0o777)

    with pytest.raises(SettingsInvalid, match="pose as the agent"):
        bind_socket(path)

    path.parent.chmod(0o1777)
    bind_socket(path).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file where a folder should be."""
    (tmp_path / "file").touch()

    with pytest.raises(SettingsInvalid, match=r"agent\.sock"):
        bind_socket(tmp_path / "file" / "agent.sock")


def test_closing_leaves_the_socket_of_a_successor(path: Path) -> None:
    """The file at the path is removed only while its inode is still ours, and closing again does nothing."""
    ours = bind_socket(path)
    path.unlink()
    theirs = bind_socket(path)

    ours.close()
    ours.close()

    assert path.is_socket()
    theirs.close()


def test_the_kernel_says_who_is_at_the_other_end() -> None:
    """User, group, process and every supplementary group, of the process that made the connection."""
    one, other = socket.socketpair()
    with one, other:
        peer = identify_peer(one)

    assert (peer.uid, peer.gid, peer.pid) == (os.geteuid(), os.getegid(), os.getpid())
    assert peer.groups >= set(os.getgroups()) - {os.getegid()}
