#!/usr/bin/env python3
"""Write the generated part of the reference, or check what is committed.

    python docs/generate.py           writes docs/reference and docs/man
    python docs/generate.py --check   exits 1, with a diff, when something committed differs

Owns which files are generated. What stands in them comes from the installed `pumas_agent` alone, and is the same on
every machine.
"""

import argparse
import difflib
import sys
from collections.abc import Iterator
from pathlib import Path

from generator.man import man_page
from generator.pages import cli_page, client_page, errors_page, findings_page, metrics_page, rpc_page, settings_page
from generator.schemas import all_schemas, as_text
from generator.typescript import declarations

REFERENCE = Path(__file__).parent / "reference"
MANUAL = Path(__file__).parent / "man" / "pumas-agent.1"


def generated() -> dict[Path, str]:
    """Every generated file and its text."""
    schemas = all_schemas()
    return {
        **{REFERENCE / "schemas" / f"{name}.json": as_text(schema) for name, schema in schemas.items()},
        REFERENCE / "pumas-agent.d.ts": declarations(schemas),
        REFERENCE / "rpc.md": rpc_page(schemas["rpc"]),
        REFERENCE / "errors.md": errors_page(),
        REFERENCE / "findings.md": findings_page(),
        REFERENCE / "metrics.md": metrics_page(),
        REFERENCE / "python-client.md": client_page(),
        REFERENCE / "settings.md": settings_page(),
        REFERENCE / "cli.md": cli_page(),
        MANUAL: man_page(),
    }


def differences(files: dict[Path, str]) -> Iterator[str]:
    """A unified diff, line by line, from what is on disk to what should be."""
    unexpected = set((REFERENCE / "schemas").glob("*")) - files.keys()
    for path, text in sorted(files.items() | {(path, "") for path in unexpected}):
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        name = path.relative_to(REFERENCE.parents[1]).as_posix()
        yield from difflib.unified_diff(
            found.splitlines(keepends=True), text.splitlines(keepends=True), f"committed {name}", f"generated {name}"
        )


def main() -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(description="Generate the reference from the contracts.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something differs")
    check = parser.parse_args().check
    files = generated()
    if check:
        diff = list(differences(files))
        sys.stdout.writelines(diff)
        return 1 if diff else 0
    for path in (REFERENCE / "schemas").glob("*"):
        path.unlink()
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
