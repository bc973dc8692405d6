"""Making, replacing and removing one link: nothing that exists is written through or lost."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pumas_agent.contracts.mapping import LinkType
from pumas_agent.mapping import making
from pumas_agent.mapping.sources import Source

NAME = "model.safetensors"
Deny = Callable[..., None]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "library" / NAME
    path.parent.mkdir()
    path.write_bytes(b"weights")
    os.utime(path, ns=(1, 1_700_000_000_123_456_789))
    return Source("m", "M", path, path)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    return tmp_path / "app"


@pytest.fixture
def folder(app: Path) -> Iterator[int]:
    descriptor = os.open(app, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def deny(monkeypatch: pytest.MonkeyPatch) -> Deny:
    """Let these calls of `os` fail, as filesystems without such links do."""

    def set_up(*calls: str, number: int = errno.EPERM) -> None:
        def refuse(*_args: object, **_kwargs: object) -> None:
            raise OSError(number, os.strerror(number))

        for call in calls:
            monkeypatch.setattr(os, call, refuse)

    return set_up


def names(app: Path) -> list[str]:
    return sorted(path.name for path in app.iterdir())


def test_a_symbolic_link_is_made_first(source: Source, app: Path, folder: int) -> None:
    """To the absolute path of the file."""
    assert making.create(source, folder, NAME) is LinkType.SYMLINK
    assert (app / NAME).readlink() == source.path


def test_a_hard_link_is_made_where_there_is_no_symbolic_one(source: Source, app: Path, folder: int, deny: Deny) -> None:
    """The very file, under a second name."""
    deny("symlink")

    assert making.create(source, folder, NAME) is LinkType.HARDLINK
    assert (app / NAME).samefile(source.path)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
def test_a_copy_is_made_where_there_is_no_link(source: Source, app: Path, folder: int, deny: Deny, number: int) -> None:
    """Whole, with the time of the file, and known as its copy."""
    deny("symlink")
    deny("link", number=number)

    assert making.create(source, folder, NAME) is LinkType.COPY
    copy = app / NAME
    assert copy.read_bytes() == b"weights"
    assert copy.stat().st_mtime_ns == source.path.stat().st_mtime_ns
    assert not copy.samefile(source.path)
    assert making.is_copy_of(source.path, folder, NAME, copy.stat())
    assert names(app) == [NAME]


def test_a_copy_that_was_changed_is_no_copy(source: Source, app: Path, folder: int) -> None:
    """By size, by time, and by bytes where times are coarse."""
    copy = app / NAME
    facts = source.path.stat()
    copy.write_bytes(b"WEIGHTS")
    assert not making.is_copy_of(source.path, folder, NAME, copy.stat())
    os.utime(copy, ns=(1, facts.st_mtime_ns + 1_000_000_000))
    assert not making.is_copy_of(source.path, folder, NAME, copy.stat())
    copy.write_bytes(b"weights")
    os.utime(copy, ns=(1, facts.st_mtime_ns + 1_000_000_000))
    assert making.is_copy_of(source.path, folder, NAME, copy.stat())
    copy.write_bytes(b"weights and more")
    assert not making.is_copy_of(source.path, folder, NAME, copy.stat())


@pytest.mark.parametrize("denied", [(), ("symlink",), ("symlink", "link")])
@pytest.mark.parametrize("taken", ["file", "dangling", "folder"])
def test_a_name_that_is_taken_stays_as_it_is(
    source: Source, app: Path, folder: int, deny: Deny, *, denied: tuple[str, ...], taken: str
) -> None:
    """However the link would be made; a link that leads nowhere is not written through."""
    match taken:
        case "file":
            (app / NAME).write_bytes(b"theirs")
        case "dangling":
            (app / NAME).symlink_to(app / "elsewhere")
        case _:
            (app / NAME).mkdir()
    deny(*denied)
    before = (app / NAME).lstat()

    with pytest.raises(FileExistsError):
        making.create(source, folder, NAME)

    assert (app / NAME).lstat() == before
    assert names(app) == [NAME]


def test_a_failure_that_is_no_lack_of_links_is_told(source: Source, app: Path, folder: int, deny: Deny) -> None:
    """A full disk is no reason to try a copy."""
    deny("symlink", number=errno.ENOSPC)

    with pytest.raises(OSError, match="No space"):
        making.create(source, folder, NAME)

    assert names(app) == []


@pytest.mark.parametrize("call", ["write", "fsync", "utime", "rename"])
def test_a_copy_that_fails_leaves_nothing(source: Source, app: Path, folder: int, deny: Deny, call: str) -> None:
    """At whichever step the disk is full."""
    deny("symlink", "link")
    deny(call, number=errno.ENOSPC)

    with pytest.raises(OSError, match="No space"):
        making.create(source, folder, NAME)

    assert names(app) == []


def test_a_replaced_file_is_kept_beside(source: Source, app: Path, folder: int) -> None:
    """Under the next number that is free, the very file; never under a name that is taken."""
    (app / NAME).write_bytes(b"theirs!")
    (app / f"{NAME}.replaced-1").write_bytes(b"earlier")
    inode = (app / NAME).stat().st_ino

    made = making.replace(source, folder, NAME, (app / NAME).lstat())

    assert made == (LinkType.SYMLINK, f"{NAME}.replaced-2")
    assert (app / NAME).readlink() == source.path
    assert (app / f"{NAME}.replaced-2").stat().st_ino == inode
    assert (app / f"{NAME}.replaced-2").read_bytes() == b"theirs!"
    assert names(app) == [NAME, f"{NAME}.replaced-1", f"{NAME}.replaced-2"]


def test_a_replaced_file_is_kept_where_there_are_no_hard_links(
    source: Source, app: Path, folder: int, deny: Deny
) -> None:
    """By its new name alone."""
    (app / NAME).write_bytes(b"theirs!")
    deny("link")

    assert making.replace(source, folder, NAME, (app / NAME).lstat())[1] == f"{NAME}.replaced-1"
    assert (app / f"{NAME}.replaced-1").read_bytes() == b"theirs!"
    assert (app / NAME).is_symlink()


def test_a_file_of_the_same_bytes_is_not_kept(source: Source, app: Path, folder: int) -> None:
    """The library has it."""
    (app / NAME).write_bytes(b"weights")

    assert making.replace(source, folder, NAME, (app / NAME).lstat()) == (LinkType.SYMLINK, None)
    assert names(app) == [NAME]


def test_a_dangling_link_is_replaced_and_not_written_through(
    source: Source, app: Path, folder: int, deny: Deny
) -> None:
    """Also when a copy takes its place: nothing appears where it led."""
    (app / NAME).symlink_to(app / "elsewhere")
    deny("symlink", "link")

    assert making.replace(source, folder, NAME, (app / NAME).lstat()) == (LinkType.COPY, None)
    assert not (app / NAME).is_symlink()
    assert names(app) == [NAME]


def test_what_was_changed_since_it_was_looked_at_stays(source: Source, app: Path, folder: int) -> None:
    """The decision was about something else."""
    (app / NAME).symlink_to(app / "elsewhere")
    looked_at = (app / NAME).lstat()
    (app / NAME).unlink()
    (app / NAME).write_bytes(b"a download that was finished meanwhile")

    with pytest.raises(OSError, match="changed meanwhile"):
        making.replace(source, folder, NAME, looked_at)
    with pytest.raises(OSError, match="changed meanwhile"):
        making.remove(folder, NAME, looked_at)

    assert (app / NAME).read_bytes() == b"a download that was finished meanwhile"
    assert names(app) == [NAME]


def test_a_replacement_that_fails_leaves_what_was_there(source: Source, app: Path, folder: int, deny: Deny) -> None:
    """The last rename decides."""
    (app / NAME).write_bytes(b"theirs!")
    deny("rename", number=errno.EACCES)

    with pytest.raises(OSError, match="denied"):
        making.replace(source, folder, NAME, (app / NAME).lstat())

    assert (app / NAME).read_bytes() == b"theirs!"
    assert not any(path.is_symlink() for path in app.iterdir())


def test_renaming_takes_the_next_number(app: Path, folder: int) -> None:
    """Case mapping-006: `stem_1.ext`; a name that is taken, on disk or in the plan, is passed over."""
    (app / "model_2.gguf").symlink_to("nowhere")

    assert making.free_name(folder, "model.gguf", set()) == ("model_1.gguf", 1)
    assert making.free_name(folder, "model.gguf", {"model_1.gguf"}) == ("model_3.gguf", 3)
    assert making.free_name(folder, "model.gguf", set(), start=5) == ("model_5.gguf", 5)
    assert making.free_name(None, "model", set()) == ("model_1", 1)


def test_what_a_process_left_half_made_is_swept(app: Path, folder: int) -> None:
    """Once that process is no more; nothing else goes, whatever it is called."""
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    gone = f".pumas-agent.{int(dead.stdout)}.1.{NAME}"
    ours = f".pumas-agent.{os.getpid()}.1.{NAME}"
    for name in (gone, ours, ".pumas-agent.notes", NAME):
        (app / name).write_bytes(b"x")

    making.sweep(folder)

    assert names(app) == sorted([ours, ".pumas-agent.notes", NAME])
