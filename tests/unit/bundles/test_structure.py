"""The structural rules: what must exist, and what is said when it does not."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.bundles import Depth, Policy
from pumas_agent.bundles import validate as validate_at
from pumas_agent.contracts.bundles import BundleReport, ComponentState
from pumas_agent.demo.bundle import write_stable_diffusion_bundle


def validate(root: Path) -> BundleReport:
    return validate_at(root, policy=Policy(depth=Depth.STRUCTURE))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "bundle"
    write_stable_diffusion_bundle(root)
    return root


def said(report: BundleReport) -> list[tuple[str, str | None]]:
    return [(finding.code, finding.path) for finding in report.findings]


def write_index(root: Path, **changes: Any) -> None:
    index = json.loads((root / "model_index.json").read_text())
    (root / "model_index.json").write_text(json.dumps(index | changes))


def test_a_whole_bundle_is_valid(bundle: Path) -> None:
    """No finding, the pipeline class, and a manifest sorted by name in which [null, null] has no place."""
    report = validate(bundle)

    assert report.is_valid
    assert report.root == str(bundle.resolve())
    assert report.pipeline_class == "StableDiffusionPipeline"
    names = [component.name for component in report.components]
    assert names == ["feature_extractor", "scheduler", "text_encoder", "tokenizer", "unet", "vae"]
    assert {component.state for component in report.components} == {ComponentState.PRESENT}
    assert report.components[-1].source_library == "diffusers"
    assert report.components[-1].class_name == "AutoencoderKL"


def test_size_is_that_of_the_regular_files(bundle: Path) -> None:
    """Links add nothing to the size, neither to files nor to directories, and hide nothing from it."""
    expected = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())

    (bundle / "a_link").symlink_to("unet")
    (bundle / "b_link").symlink_to("vae/config.json")

    assert validate(bundle).size_bytes == expected


def test_no_root(tmp_path: Path) -> None:
    """Case validation-005: a root that does not exist is path_not_found, and is named as asked."""
    report = validate(tmp_path / "gone")

    assert said(report) == [("path_not_found", None)]
    assert report.root == str(tmp_path / "gone")


def test_root_is_a_file(tmp_path: Path) -> None:
    """Case validation-007: a regular file is path_not_directory."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")

    assert said(validate(file)) == [("path_not_directory", None)]


def test_root_behind_a_link_is_canonical(bundle: Path, tmp_path: Path) -> None:
    """A root that is a link is judged where it leads."""
    link = tmp_path / "link"
    link.symlink_to(bundle)

    report = validate(link)

    assert report.is_valid
    assert report.root == str(bundle.resolve())


def test_no_index(tmp_path: Path) -> None:
    """Case validation-002: an existing directory without model_index.json."""
    assert said(validate(tmp_path)) == [("missing_model_index", "model_index.json")]


@pytest.mark.parametrize("kind", ["directory", "dangling link", "other case"])
def test_what_is_no_index(bundle: Path, kind: str) -> None:
    """A directory, a link that leads nowhere or another spelling is no model_index.json."""
    index = bundle / "model_index.json"
    index.rename(bundle / "Model_Index.json")

    if kind == "directory":
        index.mkdir()
    elif kind == "dangling link":
        index.symlink_to("nowhere")

    assert said(validate(bundle)) == [("missing_model_index", "model_index.json")]


@pytest.mark.parametrize("content", [b"not json", b"", b'{"a": 1,}', b"\xef\xbb\xbf{}", b'{"a": "\xff"}'])
def test_index_is_not_json(bundle: Path, content: bytes) -> None:
    """Case validation-008: strict UTF-8 without a byte order mark, and JSON."""
    (bundle / "model_index.json").write_bytes(content)

    assert said(validate(bundle)) == [("invalid_model_index_json", "model_index.json")]


@pytest.mark.parametrize("content", ["[]", "{}", '{"_class_name": "  "}', '{"_class_name": 1}', "null"])
def test_index_names_no_pipeline(bundle: Path, content: str) -> None:
    """Case validation-009: also a document that is no object names no pipeline."""
    (bundle / "model_index.json").write_text(content)

    report = validate(bundle)

    assert said(report) == [("missing_pipeline_class", "model_index.json")]
    assert report.pipeline_class is None


@pytest.mark.parametrize(
    "name",
    [
        "StableDiffusionInpaintPipeline",
        "StableDiffusionXLRefinerPipeline",
        "AudioLDMPipeline",
        "TextToVideoSDPipeline",
        "UNet2DConditionModel",
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionControlNetPipeline",
    ],
)
def test_unsupported_pipelines(bundle: Path, name: str) -> None:
    """Cases validation-011, -013 to -016: the class is refused by its words, and reported all the same."""
    write_index(bundle, _class_name=name)

    report = validate(bundle)

    assert said(report) == [("unsupported_pipeline", "model_index.json")]
    assert report.pipeline_class == name


@pytest.mark.parametrize("name", ["StableDiffusionXLPipeline", "FluxPipeline", "mypipeline"])
def test_supported_pipelines(bundle: Path, name: str) -> None:
    """Any other class with `pipeline` in its name is supported, in any case."""
    write_index(bundle, _class_name=name)

    assert validate(bundle).is_valid


def test_missing_component(bundle: Path) -> None:
    """Case validation-003: a component directory that is not there."""
    (bundle / "vae").rename(bundle.parent / "elsewhere")

    report = validate(bundle)

    assert said(report) == [("missing_component", "vae")]
    assert report.components[-1].state is ComponentState.MISSING


def test_an_empty_component_is_present(bundle: Path) -> None:
    """Case validation-003: the structural rules ask for existence only."""
    for file in (bundle / "vae").iterdir():
        file.unlink()

    assert validate(bundle).is_valid


def test_no_components_at_all(tmp_path: Path) -> None:
    """Case validation-019: a supported class without components is valid, with an empty manifest."""
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline", "x": [], "y": [null]}')

    report = validate(tmp_path)

    assert report.is_valid
    assert report.components == ()


def test_all_findings_are_reported_in_order(bundle: Path) -> None:
    """An unsupported pipeline does not hide missing components; findings are sorted by path, then code."""
    write_index(bundle, _class_name="AudioLDMPipeline", zeta=["diffusers", "X"], alpha=["diffusers", "X"])

    report = validate(bundle)

    assert said(report) == [
        ("missing_component", "alpha"),
        ("unsupported_pipeline", "model_index.json"),
        ("missing_component", "zeta"),
    ]
    assert validate(bundle) == report


@pytest.mark.parametrize("name", ["../outside", "/etc", "unet/../../outside", ".."])
def test_component_names_that_lead_out(bundle: Path, name: str) -> None:
    """Case validation-017: such a name is path_escape, whether or not something is there."""
    write_index(bundle, **{name: ["lib", "cls"]})

    report = validate(bundle)

    assert said(report) == [("path_escape", name)]
    assert ComponentState.PATH_ESCAPE in {component.state for component in report.components}


def test_component_link_that_leads_out(bundle: Path, tmp_path: Path) -> None:
    """A link out of the bundle is path_escape, and the message names where it leads."""
    (bundle / "vae").rename(tmp_path / "shared_vae")
    (bundle / "vae").symlink_to(tmp_path / "shared_vae")

    report = validate(bundle)

    assert said(report) == [("path_escape", "vae")]
    assert str(tmp_path / "shared_vae") in report.findings[0].message


def test_component_link_that_stays_inside(bundle: Path) -> None:
    """A link to another place of the bundle is fine."""
    (bundle / "vae").rename(bundle / "the_vae")
    (bundle / "vae").symlink_to("the_vae")

    assert validate(bundle).is_valid


@pytest.mark.parametrize("target", ["nowhere", "vae"])
def test_component_link_that_leads_nowhere(bundle: Path, target: str) -> None:
    """A dangling or circular link is a missing component, and the message names the target."""
    (bundle / "vae").rename(bundle / "the_vae")
    (bundle / "vae").symlink_to(target)

    report = validate(bundle)

    assert said(report) == [("missing_component", "vae")]
    assert report.findings[0].message.endswith(f"leads nowhere, to {target}")


def test_hugging_face_cache_layout(tmp_path: Path) -> None:
    """A snapshot whose entries are links into the same model's blobs is a healthy bundle."""
    model = tmp_path / "hub" / "models--org--name"
    snapshot = model / "snapshots" / "0123abc"
    write_stable_diffusion_bundle(snapshot)
    (model / "blobs").mkdir()
    for number, file in enumerate(sorted(path for path in snapshot.rglob("*") if path.is_file())):
        file.rename(model / "blobs" / f"{number:040x}")
        file.symlink_to(os.path.relpath(model / "blobs" / f"{number:040x}", file.parent))
    (snapshot / "vae").rename(model / "blobs" / "vae")
    (snapshot / "vae").symlink_to("../../blobs/vae")

    report = validate(snapshot)

    assert report.is_valid
    assert report.size_bytes == 0


def test_blobs_of_another_model_are_outside(bundle: Path, tmp_path: Path) -> None:
    """Only the cache that the bundle itself lies in is its own."""
    blobs = tmp_path / "models--org--name" / "blobs"
    blobs.mkdir(parents=True)
    (bundle / "vae").rename(blobs / "vae")
    (bundle / "vae").symlink_to(blobs / "vae")

    assert said(validate(bundle)) == [("path_escape", "vae")]


def test_too_many_components(bundle: Path) -> None:
    """More components than any pipeline has is a finding, and the rest is not looked at."""
    write_index(bundle, **{f"x{number:03}": ["diffusers", "X"] for number in range(300)})

    report = validate(bundle)

    assert ("invalid_model_index_json", "model_index.json") in said(report)
    assert len(report.components) == 200
