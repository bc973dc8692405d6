"""How a JSON file of the library is written: whole or not at all."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.contracts.errors import MetadataUnreadable
from pumas_agent.library.files import read_json, write_json

Calls = list[tuple[str, str]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The system calls that make a write durable, in their order, each with the name of what it was about."""
    calls: Calls = []
    fsync, replace, link = os.fsync, os.replace, os.link

    def about(descriptor: int) -> str:
        return Path(f"/proc/self/fd/{descriptor}").readlink().name

    def record(name: str, real: Callable[..., Any], about: Callable[..., str]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            calls.append((name, about(*arguments)))
            return real(*arguments, **named)

        return call

    monkeypatch.setattr(os, "fsync", record("fsync", fsync, about))
    monkeypatch.setattr(os, "replace", record("replace", replace, lambda _, target: Path(target).name))
    monkeypatch.setattr(os, "link", record("link", link, lambda source, _: Path(source).name))
    return calls


def test_a_write_is_flushed_before_the_rename_and_the_folder_after_it(tmp_path: Path, calls: Calls) -> None:
    """Temporary file in the same folder, flush, backup, rename, flush of the folder: in this order."""
    path = tmp_path / "metadata.json"
    path.write_text('{"old": 1}')

    write_json(path, {"new": 1}, backup=tmp_path / "metadata.json.bak")

    assert [call for call in calls if not call[1].endswith(".tmp")] == [
        ("link", "metadata.json"),
        ("replace", "metadata.json.bak"),
        ("replace", "metadata.json"),
        ("fsync", tmp_path.name),
    ]
    name, flushed = calls[0]
    assert name == "fsync"
    assert flushed.startswith("metadata.json.")
    assert flushed.endswith(".tmp")


def test_the_backup_is_the_previous_content(tmp_path: Path) -> None:
    """And nothing else is left beside the two."""
    path, backup = tmp_path / "metadata.json", tmp_path / "metadata.json.bak"

    for number in range(3):
        write_json(path, {"number": number}, backup=backup)

    assert read_json(path) == {"number": 2}
    assert read_json(backup) == {"number": 1}
    assert set(tmp_path.iterdir()) == {path, backup}


def test_without_a_previous_file_there_is_no_backup(tmp_path: Path) -> None:
    """The first write leaves one file."""
    write_json(tmp_path / "metadata.json", {}, backup=tmp_path / "metadata.json.bak")

    assert [path.name for path in tmp_path.iterdir()] == ["metadata.json"]


def test_a_filesystem_without_hard_links_gets_a_copy_as_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on exFAT, where `link` is refused with EPERM."""
    path, backup = tmp_path / "metadata.json", tmp_path / "metadata.json.bak"
    path.write_text('{"old": 1}')

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_json(path, {"new": 1}, backup=backup)

    assert read_json(backup) == {"old": 1}
    assert set(tmp_path.iterdir()) == {path, backup}


@pytest.mark.parametrize("step", ["fsync", "link", "replace"])
def test_a_failed_step_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A full disk may say so at any of them."""
    path = tmp_path / "metadata.json"
    path.write_text('{"old": 1}')

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    if step == "link":  # a failed link is a missing hard link: the copy fails too
        monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"new": 1}, backup=tmp_path / "metadata.json.bak")

    assert path.read_text() == '{"old": 1}'
    assert list(tmp_path.iterdir()) == [path]


def test_the_text_is_as_the_existing_library_writes_it(tmp_path: Path) -> None:
    """Two spaces, no trailing newline, non-ASCII as it is, keys in the order given."""
    write_json(tmp_path / "x.json", {"name": "模型 é", "list": [1], "null": None})

    text = (tmp_path / "x.json").read_bytes().decode("utf-8")

    assert text == '{\n  "name": "模型 é",\n  "list": [\n    1\n  ],\n  "null": null\n}'


def test_a_symbolic_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    """What it leads to stays as it is."""
    (tmp_path / "elsewhere.json").write_text("{}")
    (tmp_path / "metadata.json").symlink_to("elsewhere.json")

    write_json(tmp_path / "metadata.json", {"new": 1}, backup=tmp_path / "metadata.json.bak")

    assert (tmp_path / "elsewhere.json").read_text() == "{}"
    assert not (tmp_path / "metadata.json").is_symlink()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe\xfd", b'{"x": NaN}', b'{"x": 1e999}', b'{"x": "\\ud800"}',
        b'{"\\ud800": 1}', b'{"x": ' + b"[" * 200 + b"]" * 200 + b"}", b"[" * 100_000,
        b'{"x": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_strict_json_object_is_unreadable(tmp_path: Path, content: bytes) -> None:
    """Python's parser takes more than SQLite, UTF-8 or the existing library can hold."""
    path = tmp_path / "metadata.json"
    path.write_bytes(content)

    with pytest.raises(MetadataUnreadable, match=r"metadata\.json"):
        read_json(path)


def test_a_pipe_or_a_folder_in_the_place_of_a_file_is_unreadable_at_once(tmp_path: Path) -> None:
    """Opening never waits for a writer that will not come."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()

    for name in ("pipe", "folder"):
        with pytest.raises(MetadataUnreadable):
            read_json(tmp_path / name)


def test_an_absent_file_is_not_an_unreadable_one(tmp_path: Path) -> None:
    """FileNotFoundError tells them apart."""
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "metadata.json")


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """Round trip of everything JSON has (metadata-001)."""
    document = {"a": [1, 1.5, None, True], "b": {"c": "模型\n\t\u0000"}, "d": ""}

    write_json(tmp_path / "x.json", document)

    assert read_json(tmp_path / "x.json") == document
    assert json.loads((tmp_path / "x.json").read_text()) == document


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A metadata.json that is a link may lead out of the library: it is not read."""
    (tmp_path / "elsewhere.json").write_text("{}", encoding="utf-8")
    path = tmp_path / "metadata.json"
    path.symlink_to("elsewhere.json")

    with pytest.raises(MetadataUnreadable):
        read_json(path)
