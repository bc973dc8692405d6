"""`python -m tests.fuzz bundles|headers|walk|socket [--seconds N] [--seed N]`: until the time is over, or to a failure.

Prints how many cases held; exits 1 with the seed of the first that did not, which alone brings it back.
"""

import argparse
import logging
import random
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from pumas_agent.demo.process import AgentProcess
from tests.fuzz import bundles, headers, sockets, walk

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("name", choices=("bundles", "headers", "walk", "socket"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, help="the first seed; by default a random one")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    with tempfile.TemporaryDirectory(prefix="pumas-fuzz-") as folder, ExitStack() as running:
        agents: list[AgentProcess] = []

        def attack(number: int) -> str:
            if not agents:
                agents.append(running.enter_context(AgentProcess(Path(folder))))
                agents[0].wait_for("agent.ready", since=0, within_s=60)
            return sockets.check(number, agents[0].socket, agents[0].pid)

        checks: dict[str, Callable[[int], str]] = {
            "bundles": lambda number: bundles.check(number, Path(folder)),
            "headers": headers.check,
            "walk": lambda number: walk.walk(number, Path(tempfile.mkdtemp(dir=folder)).resolve(), steps=1000),
            "socket": attack,
        }
        ends = time.monotonic() + arguments.seconds
        first = seed
        while time.monotonic() < ends:
            try:
                checks[arguments.name](seed)
            except Exception:  # noqa: BLE001 - whatever it is, it is what was looked for
                traceback.print_exc()
                sys.stdout.write(f"failed: python -m tests.fuzz {arguments.name} --seed {seed}\n")
                return 1
            seed += 1
    sys.stdout.write(f"{arguments.name}: {seed - first:,} cases from seed {first} held\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
