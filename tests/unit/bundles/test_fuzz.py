"""A short part of the endless tests in `tests.fuzz`: what generated damage does to a verdict."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import bundles, headers

seeds = st.integers(0, 2**64)


@settings(max_examples=150)
@given(seed=seeds)
def test_a_damaged_bundle_has_one_verdict(seed: int) -> None:
    """Whatever is on disk: no exception, the same twice, JSON, soon, and nothing below the root is touched."""
    with tempfile.TemporaryDirectory() as folder:
        bundles.check(seed, Path(folder))


@settings(max_examples=2000)
@given(seed=seeds)
def test_a_header_is_judged_as_the_library_does(seed: int) -> None:
    """The Rust parser accepts what we accept, and refuses what we refuse."""
    headers.check(seed)
