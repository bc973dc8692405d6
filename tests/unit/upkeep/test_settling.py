"""What counts as being written, and what a hold is."""

import stat

import pytest

from pumas_agent.bundles import StatSignature
from pumas_agent.bundles.walk import Stat
from pumas_agent.upkeep.settling import Holds, is_being_written

NOW = 1_000_000_000_000
SECOND = 1_000_000_000


def signature(**files: tuple[int, float]) -> StatSignature:
    """Files by name: their size, and how many seconds ago they changed."""
    entries = [
        (f"/b/{name}", Stat(0, NOW - int(age * SECOND), size, 1, stat.S_IFREG, 1, 1))
        for name, (size, age) in files.items()
    ]
    return StatSignature.of_entries("/b", entries)


@pytest.mark.parametrize(
    ("before", "now", "written"),
    [
        ({"a": (1, 9)}, {"a": (2, 1)}, True),
        ({"a": (1, 9)}, {"a": (1, 9), "b": (1, 1)}, True),
        ({"a": (1, 9)}, {"a": (1, 1)}, False),
        ({"a": (2, 9)}, {"a": (1, 1)}, False),
        ({"a": (1, 9), "b": (1, 9)}, {"a": (1, 9)}, False),
        ({"a": (1, 9)}, {"a": (2, 30)}, False),
        ({"a": (1, 9)}, {"metadata.json": (2, 1)}, False),
        ({"w.incomplete": (1, 9)}, {"w.incomplete": (1, 9)}, True),
        ({"w.incomplete": (1, 90)}, {"w.incomplete": (1, 90)}, False),
    ],
    ids=[
        *("a file grew", "a file came", "a file was touched", "a file shrank", "a file went"),
        *("another folder took its place", "our own record", "a partial file", "one that was left over"),
    ],
)
def test_what_counts_as_being_written(
    before: dict[str, tuple[int, float]], now: dict[str, tuple[int, float]], *, written: bool
) -> None:
    """Only that something is added: taking away is told of at once."""
    assert is_being_written(signature(**before), signature(**now), NOW) == written


def test_without_a_look_before_only_names_tell() -> None:
    """A bundle that is seen for the first time and is not whole is told of, unless a file says that it is partial."""
    assert not is_being_written(None, signature(a=(1, 0)), NOW)
    assert is_being_written(None, signature(**{"a.part": (1, 0)}), NOW)


def test_a_root_is_held_until_its_last_hold_is_released() -> None:
    """Two downloaders, one bundle; a hold that is gone is no error."""
    released: list[str] = []
    holds = Holds(released.append)
    first, second = holds.hold("/b"), holds.hold("/b")

    assert holds.release(first)
    assert (holds.is_held("/b"), released) == (True, [])
    assert holds.release(second)
    assert (holds.is_held("/b"), released) == (False, ["/b"])
    assert not holds.release(second)


@pytest.mark.parametrize("ahead_s", [3600, 365 * 86_400])
def test_a_clock_that_was_set_back_makes_nothing_new(ahead_s: float) -> None:
    """A file from before is of the future now; it is written no more for that."""
    assert not is_being_written(signature(a=(1, -ahead_s)), signature(a=(2, -ahead_s)), NOW)
    assert not is_being_written(None, signature(**{"a.part": (1, -ahead_s)}), NOW)


@pytest.mark.parametrize("set_by_s", [-365 * 86_400, 3650 * 86_400])
def test_a_clock_that_is_set_while_a_file_is_written_ends_nothing(set_by_s: int) -> None:
    """By the clock that was there before, the file is as young as it is; and by that clock it becomes old."""
    wall = NOW + set_by_s * SECOND

    assert is_being_written(None, signature(**{"a.part": (1, 30)}), wall, NOW)
    assert is_being_written(signature(a=(1, 1)), signature(a=(2, 1)), wall, NOW)
    assert not is_being_written(None, signature(**{"a.part": (1, 61)}), wall, NOW)


def test_the_clock_of_a_server_may_be_a_little_ahead() -> None:
    assert is_being_written(signature(a=(1, -5)), signature(a=(2, -5)), NOW)
    assert is_being_written(None, signature(**{"a.part": (1, -30)}), NOW)
