"""`pumas-agent validate` as a process of its own: no agent, no library, nothing written."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.demo.snapshot import snapshot


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A whole bundle."""
    root = tmp_path / "whole"
    write_stable_diffusion_bundle(root)
    return root


def _validate(home: Path, *args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(home)}
    command = [sys.executable, "-m", "pumas_agent", "validate", *args]
    return subprocess.run(command, env=environ, cwd=cwd, capture_output=True, text=True, check=False, timeout=30)


def _reports(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    body = json.loads(done.stdout)
    assert body["schema"] == "pumas-agent/validate/1"
    reports: list[dict[str, Any]] = body["reports"]
    assert body["healthy"] == all(report["valid"] for report in reports)
    return reports


def test_a_whole_bundle_is_valid_and_untouched(tmp_path: Path, bundle: Path) -> None:
    """Exit code 0; no file of the bundle changes, and none appears in the person's home."""
    home = tmp_path / "home"
    home.mkdir()
    before = snapshot(bundle)

    done = _validate(home, str(bundle), "--json")

    assert (done.returncode, done.stderr) == (0, "")
    assert [(report["valid"], report["root"]) for report in _reports(done)] == [(True, str(bundle))]
    assert snapshot(bundle) == before
    assert not list(home.iterdir())


def test_one_bad_bundle_among_several_exits_1(tmp_path: Path, bundle: Path) -> None:
    """Each path has its verdict, in the order given; relative paths and `~` mean what the shell would mean."""
    broken = tmp_path / "broken"
    write_stable_diffusion_bundle(broken)
    (broken / "unet").rename(tmp_path / "unet")

    done = _validate(tmp_path, "whole", "~/broken", "nowhere", "--json", cwd=tmp_path)

    assert done.returncode == 1
    reports = _reports(done)
    assert [report["valid"] for report in reports] == [True, False, False]
    assert [report["root"] for report in reports] == [str(bundle), str(broken), str(tmp_path / "nowhere")]
    assert ("missing_component", "unet") in [(found["code"], found["path"]) for found in reports[1]["findings"]]
    assert [found["code"] for found in reports[2]["findings"]] == ["path_not_found"]


def test_people_read_verdict_and_findings(tmp_path: Path, bundle: Path) -> None:
    """Plain lines in a pipe: no escape sequence, nothing cut."""
    (bundle / "vae").rename(tmp_path / "vae")

    done = _validate(tmp_path, str(bundle))

    assert done.returncode == 1
    words = " ".join(done.stdout.split())
    assert f"bundle {bundle} verdict invalid pipeline StableDiffusionPipeline" in words
    assert "findings missing_component vae: " in words
    assert "\x1b" not in done.stdout


def test_a_path_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    """It could not be told in JSON: exit code 64, the byte escaped."""
    done = subprocess.run(
        [os.fsencode(sys.executable), b"-m", b"pumas_agent", b"validate", b"caf\xe9"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=30,
    )

    assert done.returncode == 64
    assert b"caf\\udce9 has bytes that are not UTF-8" in done.stderr
