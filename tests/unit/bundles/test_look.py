"""A look: the verdict and the signature that keeps it true belong together."""

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pumas_agent.bundles import Look, Policy, identity_of, look, validate
from pumas_agent.bundles.validator import judge
from pumas_agent.bundles.walk import Tree
from pumas_agent.contracts.bundles import BundleReport
from pumas_agent.demo.bundle import write_stable_diffusion_bundle

LOOK_MODULE = sys.modules["pumas_agent.bundles.look"]  # the package's attribute of that name is the function


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "bundle"
    write_stable_diffusion_bundle(root)
    return root


def test_a_look_has_it_all(bundle: Path) -> None:
    """Verdict, identity, signature, time and place of one moment."""
    seen = look(bundle)

    assert seen.report == validate(bundle).model_copy(update={"identity": identity_of(bundle)})
    assert seen.signature is not None
    assert seen.signature.unchanged()
    assert not seen.settling
    assert seen.local
    assert abs(datetime.now(UTC) - datetime.fromisoformat(seen.judged_at)) < timedelta(minutes=1)
    assert seen.judged_at.endswith("+00:00")


def test_fields_round_trip(bundle: Path) -> None:
    """What crosses the pipe is the same on the other side."""
    seen = look(bundle)

    assert Look.from_fields(seen.to_fields()) == seen


def test_a_missing_root_is_looked_at(tmp_path: Path) -> None:
    """Nothing there is a verdict with a signature like any other."""
    seen = look(tmp_path / "gone")

    assert [finding.code for finding in seen.report.findings] == ["path_not_found"]
    assert seen.signature is not None
    assert not seen.racy
    assert not seen.local


def test_fresh_changes_are_racy(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within two seconds of a change a further one may leave the same times, whatever mtime is set to."""
    os.utime(bundle / "model_index.json", (0, 0))
    assert look(bundle).racy

    later = time.time_ns() + 3_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: later)

    assert not look(bundle).racy


def test_other_devices_are_not_local(bundle: Path) -> None:
    """A link to another device makes a `stat` that may wait."""
    (bundle / "elsewhere").symlink_to("/proc/self/status")

    assert not look(bundle).local


def test_a_bundle_that_is_being_written_is_settling(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something written during every attempt: there is a verdict, but no signature to rely on it by."""

    def judge_while_writing(tree: Tree, policy: Policy) -> BundleReport:
        with (bundle / "unet" / "download").open("ab") as file:
            file.write(b"more")
        return judge(tree, policy)

    monkeypatch.setattr(LOOK_MODULE, "judge", judge_while_writing)

    seen = look(bundle)

    assert seen.settling
    assert seen.signature is None
    assert seen.racy
    assert (bundle / "unet" / "download").stat().st_size == 3 * len(b"more")


def test_a_write_during_a_look_is_looked_at_again(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdict and signature are those of the bundle as it is after the write."""
    (bundle / "vae").rename(bundle.parent / "vae")

    def judge_then_finish(tree: Tree, policy: Policy) -> BundleReport:
        report = judge(tree, policy)
        if (bundle.parent / "vae").exists():
            (bundle.parent / "vae").rename(bundle / "vae")
        return report

    monkeypatch.setattr(LOOK_MODULE, "judge", judge_then_finish)

    seen = look(bundle)

    assert seen.report.is_valid
    assert not seen.settling


@pytest.mark.parametrize("set_by_s", [-365 * 86_400, 10 * 365 * 86_400])
def test_a_clock_that_was_set_makes_nothing_racy(bundle: Path, monkeypatch: pytest.MonkeyPatch, set_by_s: int) -> None:
    """A further change has another time than one from before, whichever way it was set; on a server nobody knows."""
    now = time.time_ns() + set_by_s * 1_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: now)

    seen = look(bundle)

    assert seen.local
    assert not seen.racy
    assert seen.signature is not None
    assert seen.signature.is_racy(now, local=False) is (set_by_s < 0)
