"""Owns the check of one damaged bundle: whatever is on disk, there is one verdict, soon, and nothing is touched."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from pumas_agent.bundles import Depth, Policy, look, validate
from pumas_agent.contracts.bundles import BundleReport
from pumas_agent.demo.bundles import BundleKind, write_bundle
from pumas_agent.demo.snapshot import differences, snapshot
from tests.fuzz.damage import damage

SLOW_S = 5.0
"""Far longer than any small bundle takes: a rule that runs away."""


def check(seed: int, folder: Path) -> str:
    """Write a bundle below the folder, damage it, and judge it; what was done, for people.

    Raises:
        AssertionError: a verdict that is not the same twice, not JSON, or late; or the bundle was touched.
        Exception: a rule failed.
    """
    random = Random(seed)
    kind = random.choice(list(BundleKind))
    root = folder / "bundle"
    shutil.rmtree(root, ignore_errors=True)
    write_bundle(kind, root)
    done = [str(kind), *(damage(random, root) for _ in range(random.choice((1, 1, 2, 5))))]
    before = snapshot(root)
    started = time.monotonic()
    for judge in _judges():
        report = judge(root)
        assert judge(root) == report, "not the same verdict twice"
        assert BundleReport.model_validate_json(report.model_dump_json()) == report
    look(root)
    assert time.monotonic() - started < SLOW_S, "a rule ran away"
    assert differences(before, snapshot(root)) == []
    return "; ".join(done)


def _judges() -> list[Callable[[Path], BundleReport]]:
    lenient = Policy(custom_code="allow", pickle_weights="refuse", quantization_backends=("x",))
    return [
        validate,
        lambda root: validate(root, policy=Policy(depth=Depth.STRUCTURE)),
        lambda root: validate(root, policy=lenient),
        lambda root: validate(root, variant="fp16"),
    ]
