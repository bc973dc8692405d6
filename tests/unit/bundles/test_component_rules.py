"""The rules on where components lie, and on what else lies in a bundle."""

import json
import shutil
from pathlib import Path

import pytest

from pumas_agent.bundles import validate
from pumas_agent.contracts.bundles import BundleReport, ComponentState
from pumas_agent.demo.bundle import write_stable_diffusion_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "bundle"
    write_stable_diffusion_bundle(root)
    return root


def findings(report: BundleReport) -> list[tuple[str, str | None]]:
    return [(finding.code, finding.path) for finding in report.findings]


def notices(report: BundleReport) -> list[tuple[str, str | None]]:
    return [(notice.code, notice.path) for notice in report.notices]


@pytest.mark.parametrize("name", ["unet", "vae", "text_encoder", "tokenizer", "scheduler", "feature_extractor"])
def test_a_folder_that_is_gone(bundle: Path, name: str) -> None:
    """Missing, whether or not the library would make something up in its place; the manifest says so too."""
    shutil.rmtree(bundle / name)

    report = validate(bundle)

    assert findings(report) == [("missing_component", name)]
    assert {part.name: part.state for part in report.components}[name] is ComponentState.MISSING


def test_a_file_in_place_of_a_folder(bundle: Path) -> None:
    """Diffusers asks for a directory."""
    shutil.rmtree(bundle / "unet")
    (bundle / "unet").write_bytes(b"")

    assert findings(validate(bundle)) == [("missing_component", "unet")]


@pytest.mark.parametrize("target", ["nowhere", "unet"])
def test_a_folder_behind_a_dead_link(bundle: Path, target: str) -> None:
    """A link that leads nowhere, or to itself, is named as one."""
    shutil.rmtree(bundle / "unet")
    (bundle / "unet").symlink_to(target)

    report = validate(bundle)

    assert findings(report) == [("dangling_symlink", "unet")]
    assert target in report.findings[0].message


def test_a_component_in_the_root(bundle: Path) -> None:
    """Without a folder, diffusers takes what lies in the root: it loads, and is judged there."""
    for name in ("scheduler", "unet"):
        for file in (bundle / name).iterdir():
            file.rename(bundle / file.name)
        (bundle / name).rmdir()

    report = validate(bundle)
    (bundle / "diffusion_pytorch_model.safetensors").unlink()
    broken = validate(bundle)

    assert findings(report) == []
    assert notices(report) == [("component_in_root", "scheduler"), ("component_in_root", "unet")]
    assert {part.relative_path for part in report.components if part.name in {"scheduler", "unet"}} == {"."}
    assert [code for code, _ in findings(broken)] == ["missing_weights"]


def test_links_out_of_the_bundle(bundle: Path, tmp_path: Path) -> None:
    """They load, and are said: what they lead to can go without the bundle changing."""
    shutil.move(bundle / "vae", tmp_path / "shared_vae")
    (bundle / "vae").symlink_to(tmp_path / "shared_vae")
    weights = bundle / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.move(weights, tmp_path / "weights")
    weights.symlink_to(tmp_path / "weights")

    report = validate(bundle)

    assert findings(report) == []
    assert notices(report) == [
        ("symlink_outside_bundle", "unet/diffusion_pytorch_model.safetensors"),
        ("symlink_outside_bundle", "vae"),
    ]


def test_links_inside_the_bundle(bundle: Path) -> None:
    """Nothing to say of them."""
    (bundle / "vae").rename(bundle / ".vae")
    (bundle / "vae").symlink_to(".vae")

    report = validate(bundle)

    assert (report.findings, report.notices) == ((), ())


def test_what_is_left_lying_about(bundle: Path) -> None:
    """Junk, folders nobody uses, code nobody runs and unfinished downloads are said, and are no reason to refuse."""
    for junk in (".DS_Store", "unet/._config.json", "vae/Thumbs.db", "model.ckpt", ".git/config"):
        (bundle / junk).parent.mkdir(exist_ok=True)
        (bundle / junk).write_bytes(b"")
    (bundle / "onnx").mkdir()
    (bundle / "convert.py").write_bytes(b"")
    (bundle / "unet" / "more.safetensors.aria2").write_bytes(b"")
    (bundle / ".cache" / "huggingface" / "download").mkdir(parents=True)
    (bundle / ".cache" / "huggingface" / "download" / "x.incomplete").write_bytes(b"")

    report = validate(bundle)

    assert findings(report) == []
    assert notices(report) == [
        ("junk_files", None),
        ("incomplete_download", ".cache/huggingface/download/x.incomplete"),
        ("unused_code", "convert.py"),
        ("extra_dir", "onnx"),
        ("incomplete_download", "unet/more.safetensors.aria2"),
    ]


def test_a_folder_of_a_component_that_is_null(bundle: Path) -> None:
    """The index says that it is not used."""
    (bundle / "safety_checker").mkdir()

    assert notices(validate(bundle)) == [("extra_dir", "safety_checker")]


def test_what_a_damaged_index_still_lets_be_judged(bundle: Path) -> None:
    """One finding does not hide the others: of a class nobody knows, the components are looked at all the same."""
    index = json.loads((bundle / "model_index.json").read_text())
    (bundle / "model_index.json").write_text(json.dumps({**index, "_class_name": "NoSuchPipeline"}))
    (bundle / "vae" / "config.json").write_text("{")

    assert findings(validate(bundle)) == [
        ("unknown_pipeline_class", "model_index.json"),
        ("invalid_config_json", "vae/config.json"),
    ]
