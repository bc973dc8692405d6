"""`python -m tests.bench NAME [--json]`: run one bench; exit 1 when a bar is missed.

Everything that is compared is measured in the same run.
"""

import argparse
import sys

from tests.bench import freshness, idle, library_bench, lookup, serve, validate, watch

BENCHES = {
    "idle": idle.run,
    "lookup": lookup.run,
    "serve": serve.run,
    "freshness": freshness.run,
    "validate": validate.run,
    "watch": watch.run,
    "library": library_bench.run,
}


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHES))
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    arguments = parser.parse_args()
    report = BENCHES[arguments.name]()
    print(report.as_json() if arguments.json else report.as_table())
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
