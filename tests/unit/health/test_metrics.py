"""The text format: what Prometheus reads is what was measured."""

import os
import re
from pathlib import Path

import pytest

from pumas_agent.health.metrics import Metric, exposition, metric, write_textfile
from tests.exposition import parse


def test_each_family_has_its_meaning_and_its_kind() -> None:
    text = exposition([metric("a_total", "How often.", 3, "counter"), metric("b", "A\nB \\ C", 0.25)])

    families = parse(text)

    assert families["a_total"] == ("counter", "How often.", {(): 3.0})
    assert families["b"] == ("gauge", "A\nB \\ C", {(): 0.25})


@pytest.mark.parametrize("value", ["plain", 'a "quoted" one', "back\\slash", "new\nline", "}{,=", "\\n", "ünï"])
def test_any_text_can_be_a_label(value: str) -> None:
    families = parse(exposition([Metric("a", "A.", samples=[({"x": value, "y": "z"}, 1)])]))

    assert families["a"][2] == {(("x", value), ("y", "z")): 1.0}


def test_large_numbers_keep_their_digits() -> None:
    assert parse(exposition([metric("a", "A.", 2**53)]))["a"][2] == {(): float(2**53)}


def test_the_file_is_replaced_whole_and_anybody_may_read_it(tmp_path: Path) -> None:
    """Nothing but it is left in the folder."""
    path = tmp_path / "agent.prom"
    path.write_text("old")
    mask = os.umask(0o077)
    try:
        write_textfile(path, "new\n")
    finally:
        os.umask(mask)

    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new\n", 0o644)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "agent.prom" / "x").mkdir(parents=True)

    with pytest.raises(OSError, match=re.escape(str(tmp_path / "agent.prom"))):
        write_textfile(tmp_path / "agent.prom", "new\n")

    assert [path.name for path in tmp_path.iterdir()] == ["agent.prom"]
