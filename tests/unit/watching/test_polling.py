"""When a root is compared, and what counts as a difference."""

import os
from pathlib import Path

from pumas_agent.watching.polling import PolledRoots, print_of


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def polled_roots(clock: Clock) -> PolledRoots:
    roots = PolledRoots(60.0, clock)
    roots.add("m", "/m")
    return roots


def test_a_root_is_due_an_interval_after_it_was_compared() -> None:
    """The first comparison is the caller's: what a root is compared with has to be taken before it is marked."""
    clock = Clock()
    roots = polled_roots(clock)
    assert roots.take_due() == []
    assert not roots.compared("m", b"a", 0.01)
    assert (roots.due_in(), roots.take_due()) == (60.0, [])

    clock.now += 60

    assert roots.take_due() == [("m", "/m")]
    assert roots.take_due() == []


def test_only_a_difference_is_one() -> None:
    """No answer is one too, and so is the first after it."""
    roots = polled_roots(Clock())

    found = [roots.compared("m", print_, 0.0) for print_ in (b"a", b"a", b"b", None, None, b"b")]

    assert found == [False, False, True, True, False, True]


def test_a_dear_comparison_is_made_less_often() -> None:
    """Two percent of a processor for each root at most; the cost is told."""
    roots = polled_roots(Clock())

    roots.compared("m", b"a", 6.0)

    assert roots.due_in() == 300.0
    assert roots.cost == 0.02


def test_a_root_that_was_removed_is_not_due() -> None:
    """Nor is one of which another root took the place."""
    clock = Clock()
    roots = polled_roots(clock)
    roots.compared("m", b"a", 0.0)
    clock.now += 60
    roots.remove("m")

    assert (roots.due_in(), roots.take_due(), len(roots)) == (None, [], 0)
    assert not roots.compared("m", b"b", 0.0)
    assert roots.add("m", "/m")
    assert not roots.add("m", "/m")
    assert roots.add("m", "/elsewhere")


def test_what_changes_a_print(tmp_path: Path) -> None:
    """Contents, names, modes, links and the root itself; reading changes nothing."""
    (tmp_path / "root" / "unet").mkdir(parents=True)
    file = tmp_path / "root" / "unet" / "file"
    file.write_text("some")
    (tmp_path / "root" / "link").symlink_to("unet/file")
    root = str(tmp_path / "root")
    prints = [print_of(root)]
    file.read_text()
    assert print_of(root) == prints[0]

    for change in (
        lambda: file.write_text("other text"),
        lambda: file.chmod(0o600),
        lambda: os.utime(file, (1, 1)),
        lambda: file.rename(file.with_name("renamed")),
        (tmp_path / "root" / "link").unlink,
        lambda: (tmp_path / "root").rename(tmp_path / "gone"),
    ):
        change()
        prints.append(print_of(root))

    assert len(set(prints)) == len(prints)
