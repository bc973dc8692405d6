"""What one look at a root finds."""

from pathlib import Path

from pumas_agent.watching.places import MISSING, look


def test_a_link_is_looked_through(tmp_path: Path) -> None:
    """The watch goes on the real folder: one on the link would see nothing in it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    sight = look(str(tmp_path / "link"))

    found = (tmp_path / "real").stat()
    assert (sight.real, sight.identity) == (str(tmp_path / "real"), (found.st_dev, found.st_ino))


def test_the_way_begins_at_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    """Of a root whose parents are missing too, the way back begins further up."""
    sight = look(str(tmp_path / "gone" / "further" / "root"))

    assert (sight.identity, sight.problem) == (None, MISSING)
    assert sight.above[0][0] == str(tmp_path)


def test_a_file_is_no_root(tmp_path: Path) -> None:
    """A file at the root's path is a fault with its own words."""
    (tmp_path / "root").write_text("")

    sight = look(str(tmp_path / "root"))

    assert (sight.identity, sight.problem) == (None, "it is not a folder")


def test_the_root_of_the_filesystem_has_nothing_above() -> None:
    """Nor a way that leads to it."""
    assert look("/").above == ()


def test_folders_beside_are_looked_at_too(tmp_path: Path) -> None:
    """One that is not there is said to be none."""
    (tmp_path / "blobs").mkdir()

    sight = look(str(tmp_path), (str(tmp_path / "blobs"), str(tmp_path / "gone")))

    assert [known is not None for _, known in sight.beside] == [True, False]
