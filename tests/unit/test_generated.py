"""The generated part of the reference: it is what the contracts say now, and its schemas and types are sound."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pumas_agent.contracts.metadata import METADATA_FIELDS, ModelMetadata
from pumas_agent.contracts.records import ChangeKind, FactFamily, RefreshScope, UpdateEvent, UpdateFeed
from pumas_agent.contracts.rpc import METHODS

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
SCHEMAS = sorted((REFERENCE / "schemas").glob("*.json"))


def _generate(docs: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, docs / "generate.py", *flags], check=False, capture_output=True, text=True)


def _schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((REFERENCE / "schemas" / f"{name}.json").read_text())
    return schema


def test_what_is_committed_is_what_is_generated() -> None:
    """A change of a contract, a command or a setting changes the reference with it."""
    checked = _generate(ROOT / "docs", "--check")

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_a_difference_is_shown_and_mended(tmp_path: Path) -> None:
    """`--check` writes nothing and shows the difference; without it, a lost, changed or left-over file is put right."""
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs, ignore=shutil.ignore_patterns("__pycache__"))
    (docs / "reference" / "errors.md").unlink()
    (docs / "reference" / "rpc.md").write_text("# Methods of another agent\n")
    (docs / "reference" / "schemas" / "left-over.json").write_text("{}\n")

    before = _generate(docs, "--check")
    written = _generate(docs)
    after = _generate(docs, "--check")

    assert before.returncode == 1
    assert not any(line in before.stdout for line in ("+# Methods of another agent", "-# Errors"))
    assert all(line in before.stdout for line in ("-# Methods of another agent", "+# Errors", "-{}"))
    assert (written.returncode, after.returncode, after.stdout) == (0, 0, "")


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_each_schema_is_a_json_schema(path: Path) -> None:
    """Any validator of draft 2020-12 takes it."""
    schema = json.loads(path.read_text())

    Draft202012Validator.check_schema(schema)


def test_metadata_schema_has_the_fields_in_the_order_of_the_file() -> None:
    """The 68 fields, all of them written; keys that others added are allowed."""
    schema = _schema("metadata")

    assert tuple(schema["properties"]) == METADATA_FIELDS
    assert tuple(schema["required"]) == METADATA_FIELDS
    assert schema["additionalProperties"] is True
    Draft202012Validator(schema).validate(ModelMetadata(family="acme").to_document() | {"foreign": 1})


def test_rpc_schema_has_every_method() -> None:
    """And each names the schemas of its parameters and its result."""
    schema = _schema("rpc")

    named = {part.removeprefix("#/$defs/") for m in schema["methods"].values() for part in _references(m)}

    assert list(schema["methods"]) == list(METHODS)
    assert named <= schema["$defs"].keys()


def _references(method: dict[str, Any]) -> tuple[str, str]:
    return method["params"]["$ref"], method["result"]["$ref"]


def test_schema_says_which_keys_may_be_left_out() -> None:
    """A key that is always written is required; one that is left out when it holds nothing is not."""
    schema = _schema("update-feed")
    event = UpdateEvent(
        cursor="model-library-updates:1",
        model_id="diffusion/acme/whole",
        change_kind=ChangeKind.MODEL_ADDED,
        fact_family=FactFamily.MODEL_RECORD,
        refresh_scope=RefreshScope.SUMMARY_AND_DETAIL,
    )

    feeds = [UpdateFeed(cursor="model-library-updates:0"), UpdateFeed(cursor=event.cursor, events=(event,))]

    assert set(schema["required"]) == {"cursor", "stale_cursor", "snapshot_required"}
    for feed in feeds:
        Draft202012Validator(schema).validate(json.loads(feed.model_dump_json()))


def test_types_compile_for_front_ends(in_gate: bool) -> None:
    """The TypeScript types, and a program that uses them, are accepted by the compiler in strict mode."""
    compiler = shutil.which("tsc")
    if compiler is None:
        assert not in_gate, "the gate needs tsc (Debian: node-typescript)"
        pytest.skip("needs tsc, the TypeScript compiler")
    consumer = ROOT / "tests" / "typing" / "consumer.ts"

    compiled = subprocess.run(
        [compiler, "--noEmit", "--strict", "--target", "es2020", consumer], check=False, capture_output=True, text=True
    )

    assert (compiled.returncode, compiled.stdout) == (0, "")
