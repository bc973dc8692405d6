"""Where a source really is, and whether it may be registered: paths only, nothing is opened."""

import os
import threading
from pathlib import Path

import pytest

from pumas_agent.contracts.errors import (
    AssetUnresponsive,
    LibraryInsideSource,
    PathNotAbsolute,
    PathNotDirectory,
    PathNotUtf8,
    SourceInsideLibrary,
)
from pumas_agent.importing import canonical_source, source


@pytest.fixture
def library(tmp_path: Path) -> Path:
    root = tmp_path / "library"
    root.mkdir()
    return root


def test_a_folder_is_its_canonical_path(tmp_path: Path, library: Path) -> None:
    """Links and dots are resolved, also those above it."""
    (tmp_path / "real" / "tiny").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")

    found = canonical_source(f"{tmp_path}/library/../link/./tiny/", library)

    assert found == tmp_path / "real" / "tiny"


def test_what_is_not_there_is_for_the_judge(tmp_path: Path, library: Path) -> None:
    """Its finding is path_not_found, like that of a bundle that went away."""
    (tmp_path / "dangling").symlink_to("nowhere")

    assert canonical_source(str(tmp_path / "none"), library) == tmp_path / "none"
    assert canonical_source(str(tmp_path / "dangling"), library) == tmp_path / "nowhere"


def test_a_name_that_begins_like_the_library_is_not_in_it(tmp_path: Path, library: Path) -> None:
    """Containment is of folders, not of text."""
    (tmp_path / "library2").mkdir()

    assert canonical_source(str(tmp_path / "library2"), library) == tmp_path / "library2"


def test_each_thing_that_may_not_be_registered_has_its_own_error(tmp_path: Path, library: Path) -> None:
    """And the message names the path, a hint says what to do."""
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    cases = {
        "tiny": PathNotAbsolute,
        str(tmp_path / "file"): PathNotDirectory,
        str(tmp_path / "loop" / "x"): PathNotDirectory,
        "/" + "a" * 300: PathNotDirectory,
        str(library): SourceInsideLibrary,
        str(library / "x" / "y"): SourceInsideLibrary,
        str(tmp_path): LibraryInsideSource,
        "/": LibraryInsideSource,
    }

    for path, error in cases.items():
        with pytest.raises(error, match=r"tiny|file|loop|aaa|library") as raised:
            canonical_source(path, library)
        assert type(raised.value) is error
        assert raised.value.hint


@pytest.mark.parametrize("name", [chr(0xDCFF), chr(0xD800), "\0"], ids=ascii)
def test_what_no_json_can_hold_is_refused(library: Path, name: str) -> None:
    """Bytes that are not UTF-8 come as surrogates; the message is text all the same."""
    with pytest.raises(PathNotUtf8) as raised:
        canonical_source(f"/m/{name}", library)

    assert raised.value.message.encode()


def test_a_link_to_a_place_that_is_not_text_is_refused(tmp_path: Path, library: Path) -> None:
    """What is stored is where it leads."""
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    Path(strange).mkdir()
    (tmp_path / "link").symlink_to(strange)

    with pytest.raises(PathNotUtf8):
        canonical_source(str(tmp_path / "link"), library)


async def test_a_filesystem_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In its own time: others are registered meanwhile."""
    free = threading.Event()
    monkeypatch.setattr(source, "canonical_source", lambda *_: free.wait(30))

    with pytest.raises(AssetUnresponsive, match="did not answer"):
        await source.source_in_time(str(tmp_path), tmp_path, patience_s=0.05)
    free.set()
