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
    reports: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert {report["schema"] for report in reports} == {"pumas-agent/validate/1"}
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


def test_a_report_has_all_that_a_script_needs(tmp_path: Path, bundle: Path) -> None:
    """The path as it was given, the verdict, how to load it, and for each finding what to do."""
    (bundle / "vae" / "config.json").write_text("{")
    (bundle / ".DS_Store").write_bytes(b"")

    (report,) = _reports(_validate(tmp_path, "./whole", "--json", cwd=tmp_path))

    assert report["path"] == "./whole"
    assert (report["pipeline_class"], report["task"]) == ("StableDiffusionPipeline", "text-to-image")
    assert report["load_variant"] is None
    assert [(found["code"], found["path"]) for found in report["findings"]] == [
        ("invalid_config_json", "vae/config.json")
    ]
    assert [found["code"] for found in report["notices"]] == ["junk_files"]
    assert all(found["message"] and found["hint"] for found in (*report["findings"], *report["notices"]))
    assert {part["name"] for part in report["components"]} >= {"unet", "vae"}


def test_people_read_verdict_components_and_findings(tmp_path: Path, bundle: Path) -> None:
    """Plain lines in a pipe: the verdict, a line a component, each finding with what to do; nothing cut or coloured."""
    (bundle / "vae").rename(tmp_path / "vae")

    done = _validate(tmp_path, str(bundle))

    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == f"{bundle}  not valid"
    assert lines[1].startswith("  StableDiffusionPipeline, text-to-image, ")
    assert [line.split()[:3] for line in lines if "UNet2D" in line] == [["unet", "ok", "UNet2DConditionModel"]]
    where = lines.index("  missing_component vae")
    assert lines[where - 1] == "findings"
    assert lines[where + 2].startswith("      -> ")
    assert "\x1b" not in done.stdout


def test_annotations_for_ci(tmp_path: Path, bundle: Path) -> None:
    """GitHub shows each finding at the file it is about: one workflow command a finding, nothing a name could break."""
    name = "a:b,c%\n"
    bundle = bundle.rename(tmp_path / name)
    (bundle / "vae" / "config.json").write_text("{")
    (bundle / ".DS_Store").write_bytes(b"")

    done = _validate(tmp_path, name, "--format", "github", cwd=tmp_path)

    assert done.returncode == 1
    warning_or_error = sorted(done.stdout.splitlines())
    assert len(warning_or_error) == 2
    at = "file=a%3Ab%2Cc%25\\n/vae/config.json,title=invalid_config_json::"
    assert warning_or_error[0].startswith(f"::error {at}")
    assert warning_or_error[1].startswith("::warning file=a%3Ab%2Cc%25\\n,title=junk_files::")


def test_a_depth_and_a_policy(tmp_path: Path, bundle: Path) -> None:
    """What the settings say of bundles holds here too; the depth may be given."""
    for file in (bundle / "vae").iterdir():
        file.unlink()

    content = _validate(tmp_path, str(bundle), "--json")
    structure = _validate(tmp_path, str(bundle), "--json", "--depth", "structure")

    assert (content.returncode, structure.returncode) == (1, 0)


def test_a_variant(tmp_path: Path, bundle: Path) -> None:
    """Judge what a runtime would ask for."""
    (report,) = _reports(_validate(tmp_path, str(bundle), "--json", "--variant", "fp16"))

    assert [found["code"] for found in report["findings"]] == ["variant_missing"]


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
