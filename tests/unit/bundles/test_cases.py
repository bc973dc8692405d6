"""Deliberately damaged bundles: what is said of each, against what the real library made of it.

Owns the comparison. The changes stand in `tests.cases`, with where the two may differ; what diffusers 0.42.1 did with
each, when it was loaded with `DiffusionPipeline.from_pretrained` and asked for two pictures, stands in tests/data.
"""

import itertools
import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.bundles import Policy, validate
from pumas_agent.contracts.bundles import BundleReport
from pumas_agent.demo.snapshot import differences, snapshot
from tests.cases import CHANGES
from tests.cases.bases import BASES, write_base
from tests.cases.disagreements import BEYOND, DELIBERATE, DIFFERS, REFUSED

DATA = Path(__file__).parents[2] / "data"
CASES: list[dict[str, Any]] = json.loads((DATA / "bundle-cases.json").read_text())
MEASURED: dict[str, str] = json.loads((DATA / "measured-cases.json").read_text())
WELL = "the same picture"
MAY_BE_VALID = frozenset(itertools.chain.from_iterable(BEYOND.values()))
MAY_BE_REFUSED = frozenset(itertools.chain.from_iterable(REFUSED.values()))
MEMORY = Path("/dev/shm")  # noqa: S108 - of thousands of small files each is there for a moment; a disk takes minutes
NOBODY = 65534
Bases = dict[str, tuple[Path, Path]]
"""The folder of each base, and the root of the bundle in it."""


@dataclass(frozen=True, slots=True)
class Look:
    """What validating one changed bundle twice gave, and what it did to the bundle."""

    report: BundleReport
    again: BundleReport
    touched: list[str]


@pytest.fixture(scope="session")
def bases() -> Iterator[Bases]:
    """One of each base; where another user may come too."""
    with open_folder() as folder:
        yield {name: (folder / name, write_base(name, folder)) for name in BASES}


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of a test's own, where another user may come too."""
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="module", params=sorted(BASES))
def looks(request: pytest.FixtureRequest, bases: Bases) -> dict[str, Look]:
    """A look at each changed copy of one base, which is gone by now; those that nobody may read are another test's."""
    names = [name for name in MEASURED if CHANGES[name].base == request.param and not is_closed(name)]
    return {name: looked_at(name, bases) for name in names}


def where() -> Path | None:
    """In memory, on a system that has such a place; else where temporary files are."""
    return MEMORY if os.access(MEMORY, os.W_OK) else None


@contextmanager
def open_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pumas-cases-", dir=where())).resolve()
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for path in folder.rglob("*"):  # a change may have taken our right to remove it
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(folder)


def damaged(name: str, bases: Bases, place: Path) -> Path:
    """A copy of the change's base, changed."""
    change = CHANGES[name]
    folder, root = bases[change.base]
    shutil.copytree(folder, place / folder.name, symlinks=True, copy_function=shutil.copyfile)
    return change.make(place / root.relative_to(folder.parent))


def how(name: str) -> dict[str, Any]:
    """To judge a change for what it was loaded with."""
    asked = CHANGES[name].arguments
    policy = Policy(
        custom_code="allow" if asked.get("trust_remote_code") else "refuse",
        pickle_weights="refuse" if asked.get("use_safetensors") else "allow",
    )
    return {"variant": asked.get("variant"), "policy": policy}


def looked_at(name: str, bases: Bases) -> Look:
    with tempfile.TemporaryDirectory(prefix="pumas-cases-", dir=where()) as folder:
        place = Path(folder).resolve()
        root = damaged(name, bases, place)
        before = snapshot(place)
        report, again = validate(root, **how(name)), validate(root, **how(name))
        return Look(report, again, differences(before, snapshot(place)))


def is_closed(name: str) -> bool:
    """True for a change of permissions, which mean nothing to root."""
    return any(what in name for what in ("unreadable", "not_searchable", "not_listable"))


def disagreement(name: str, report: BundleReport) -> str | None:
    """What is wrong with a verdict, given what the library did and where it may differ."""
    well, codes = MEASURED[name] == WELL, {finding.code for finding in report.findings}
    if (report.is_valid and not well) != (name in MAY_BE_VALID):
        return f"{name}: {'valid' if report.is_valid else sorted(codes)}, but {MEASURED[name]}"
    if bool(codes - DELIBERATE.keys() and well) != (name in MAY_BE_REFUSED):
        return f"{name}: {sorted(codes)}, but {MEASURED[name]}"
    return None


def by_nobody(root: Path, asked: Mapping[str, Any]) -> BundleReport:
    """The report of a user without rights, from a fork."""
    answers, answer = multiprocessing.Pipe(duplex=False)

    def judge() -> None:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        answer.send(validate(root, **asked).model_dump_json())

    process = multiprocessing.get_context("fork").Process(target=judge)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    return BundleReport.model_validate_json(answers.recv())


def case(row: dict[str, Any]) -> Any:
    marks = [pytest.mark.needs_root] if is_closed(row["case"]) else []
    return pytest.param(row, id=row["case"], marks=marks)


@pytest.mark.parametrize("row", [case(row) for row in CASES])
def test_what_is_said_of_a_measured_case(row: dict[str, Any], bases: Bases, place: Path) -> None:
    """The code that the case expects, among the findings when it is fatal, among the notices otherwise."""
    name = row["case"]
    root = damaged(name, bases, place)

    report = by_nobody(root, how(name)) if is_closed(name) else validate(root, **how(name))

    findings, notices = ([said.code for said in kind] for kind in (report.findings, report.notices))
    if name in DIFFERS:
        assert (findings, notices) == DIFFERS[name]
        return
    assert report.is_valid == (not row["fatal"])
    assert row["code"] in (None, *(findings if row["fatal"] else notices))


def test_verdicts_agree_with_the_library(looks: dict[str, Look]) -> None:
    """Valid is what loads and draws well, and what does so is valid: but for what is listed, all of which differs."""
    wrong = [disagreement(name, look.report) for name, look in looks.items()]

    assert [what for what in wrong if what is not None] == []


def test_a_look_changes_nothing_and_says_the_same_again(looks: dict[str, Look]) -> None:
    """Whatever the damage: no exception, one report, and every inode, time and byte as it was."""
    unsteady = [name for name, look in looks.items() if look.report != look.again or look.touched]

    assert unsteady == []


@pytest.mark.needs_root
@pytest.mark.parametrize("name", [name for name in MEASURED if is_closed(name)])
def test_verdicts_agree_where_permission_is_denied(name: str, bases: Bases, place: Path) -> None:
    """The same for files and folders that the user may not read."""
    root = damaged(name, bases, place)

    report = by_nobody(root, how(name))

    assert disagreement(name, report) is None


def test_the_comparison_is_not_empty() -> None:
    """All of the measured cases, and nearly all of the catalogue, of all kinds of outcomes."""
    assert len(CASES) == 102
    assert {row["case"] for row in CASES} <= MEASURED.keys() <= CHANGES.keys()
    assert len(MEASURED) > 1900
    assert len(set(MEASURED.values())) == 5
    assert MEASURED.keys() >= MAY_BE_VALID | MAY_BE_REFUSED
