"""The token's file: its user's alone, of one run, and never another's."""

import os
import stat
from pathlib import Path

import pytest

from pumas_agent.contracts.errors import NotPermitted, PageNotServed, SettingsInvalid
from pumas_agent.web.token import TokenFile, page_link, token_path

URL = "http://127.0.0.1:8451/"


def test_only_its_user_can_read_it(tmp_path: Path) -> None:
    """Under any umask."""
    before = os.umask(0)
    try:
        TokenFile(tmp_path / "token")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


def test_each_run_has_another_one(tmp_path: Path) -> None:
    """And what a run that crashed left behind is replaced."""
    socket = tmp_path / "agent.sock"
    first = TokenFile(token_path(socket))
    second = TokenFile(token_path(socket))

    assert first.token != second.token
    assert len(first.token) >= 43
    assert page_link(URL, socket) == f"{URL}#token={second.token}"
    assert [path.name for path in tmp_path.iterdir()] == ["agent.sock.token"]


def test_it_goes_with_its_run_and_no_other(tmp_path: Path) -> None:
    socket = tmp_path / "agent.sock"
    first, second = TokenFile(token_path(socket)), TokenFile(token_path(socket))

    first.remove()
    assert page_link(URL, socket).endswith(second.token)
    second.remove()
    second.remove()
    with pytest.raises(PageNotServed):
        page_link(URL, socket)


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Neither when it is written nor when it is read."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    socket = tmp_path / "agent.sock"
    token_path(socket).symlink_to(victim)

    with pytest.raises(NotPermitted):
        page_link(URL, socket)
    TokenFile(token_path(socket))

    assert victim.read_text() == "mine"
    assert not token_path(socket).is_symlink()


def test_a_folder_that_takes_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="nowhere"):
        TokenFile(tmp_path / "nowhere" / "token")


@pytest.mark.needs_root
def test_a_file_of_another_user_is_not_believed(tmp_path: Path) -> None:
    """In a folder for all, anyone could have made it, and led to a page of theirs."""
    socket = tmp_path / "agent.sock"
    TokenFile(token_path(socket))
    token_path(socket).chmod(0o644)
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    child = os.fork()
    if child == 0:
        os.setresuid(65534, 65534, 65534)
        try:
            page_link(URL, socket)
        except NotPermitted:
            os._exit(0)
        os._exit(1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
