"""A random walk over bundles below a running agent, with fixed seeds; `python -m tests.fuzz walk` goes on for long."""

import sys
from pathlib import Path

import pytest

from tests.fuzz.walk import walk


@pytest.mark.skipif(sys.platform != "linux", reason="what is watched is asked of inotify")
@pytest.mark.parametrize("seed", [1, 2])
def test_the_agent_is_right_after_every_quiet_moment(short_tmp: Path, seed: int) -> None:
    """States, watches and descriptors, through renames, swaps, deletions, links, truncations and returns."""
    assert walk(seed, short_tmp, steps=500) == "500 steps"
