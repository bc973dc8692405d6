"""What a path is to an import; a look at it changes nothing."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pumas_agent.bundles import Look, look
from pumas_agent.contracts.classification import PathClassification
from pumas_agent.contracts.errors import PathNotAbsolute, PathNotUtf8
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.demo.snapshot import differences, snapshot
from pumas_agent.importing import Classifier, tree

ONNX = b"\x08\x07" + bytes(62)


async def _judge(root: Path) -> Look:
    return look(root)


async def classified(path: Path) -> PathClassification:
    """The classification; nothing at the path is another one after it."""
    before = snapshot(path.parent)
    report = await Classifier(_judge).classify([str(path)])
    assert differences(before, snapshot(path.parent)) == []
    return report.classifications[0]


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Write files below a folder; the folder."""

    def put(*names: str) -> Path:
        for name in names:
            path = tmp_path / "source" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(ONNX)
        return tmp_path / "source"

    return put


async def test_a_whole_bundle_is_one_bundle(tmp_path: Path) -> None:
    """Case classify-002."""
    write_stable_diffusion_bundle(tmp_path / "tiny")

    found = await classified(tmp_path / "tiny")

    assert (found.kind, found.findings, found.model_type) == ("single_bundle", (), "diffusion")
    assert (found.suggested_family, found.suggested_official_name) == ("imported", "tiny")
    assert found.component_manifest
    assert found.pipeline_class == "StableDiffusionPipeline"


@pytest.mark.parametrize("lost", ["model_index.json", "vae", "unet/diffusion_pytorch_model.safetensors"])
async def test_a_damaged_bundle_is_one_bundle_with_findings(tmp_path: Path, lost: str) -> None:
    """Case classify-013 is a gap: its components are never offered as models."""
    root = tmp_path / "tiny"
    write_stable_diffusion_bundle(root)
    (shutil.rmtree if (root / lost).is_dir() else os.unlink)(root / lost)

    found = await classified(root)

    assert (found.kind, found.candidates) == ("single_bundle", ())
    assert found.findings


async def test_a_container_names_its_bundles_however_deep_and_damaged(tmp_path: Path) -> None:
    box = tmp_path / "box"
    for name in ("acme/one", "two"):
        write_stable_diffusion_bundle(box / name)
    (box / "two" / "model_index.json").write_text("{")

    found = await classified(box)

    assert found.kind == "multi_model_container"
    assert [(candidate.path, bool(candidate.findings)) for candidate in found.candidates] == [
        (str(box / "acme/one"), False),
        (str(box / "two"), True),
    ]


@pytest.mark.parametrize(
    ("names", "kind", "candidates"),
    [
        (("a.onnx", "b.onnx"), "multi_model_container", [("file_model", "a.onnx"), ("file_model", "b.onnx")]),
        (("a.onnx", "README.md"), "single_model_directory", []),
        (
            ("one/a.onnx", "two/b.onnx"),
            "multi_model_container",
            [("directory_model", "one"), ("directory_model", "two")],
        ),
        (("one/a.onnx",), "ambiguous", [("directory_model", "one")]),
        (("one/a.onnx", "b.onnx"), "ambiguous", [("file_model", "b.onnx"), ("directory_model", "one")]),
        (("README.md",), "unsupported", []),
        (
            ("a/model.onnx", "a/other.onnx", "b/model.onnx"),
            "ambiguous",
            [("file_model", "a/model.onnx"), ("file_model", "a/other.onnx"), ("directory_model", "b")],
        ),
    ],
)
async def test_a_folder_is_what_lies_in_it(
    put: Callable[..., Path], names: tuple[str, ...], kind: str, candidates: list[tuple[str, str]]
) -> None:
    """Cases classify-004, classify-005; two files of one name in two folders are two models."""
    root = put(*names)

    found = await classified(root)

    assert found.kind == kind
    shown = [(one.kind, str(Path(one.path).relative_to(root))) for one in found.candidates]
    assert shown == sorted(candidates, key=lambda one: str(root / one[1]))


async def test_an_empty_folder_is_nothing(tmp_path: Path) -> None:
    """Case classify-007."""
    (tmp_path / "empty").mkdir()

    found = await classified(tmp_path / "empty")

    assert found.kind == "unsupported"
    assert found.reasons == ("directory does not match a supported bundle or model layout",)


async def test_one_model_file_is_a_model(put: Callable[..., Path]) -> None:
    """Case classify-009."""
    found = await classified(put("detector.onnx") / "detector.onnx")

    assert (found.kind, found.suggested_official_name, found.suggested_family) == (
        "single_file",
        "detector",
        "imported",
    )


async def test_what_is_no_model_is_said_to_be_none(put: Callable[..., Path]) -> None:
    root = put("README.md")
    os.mkfifo(root / "pipe.gguf")

    said = [(await classified(path)).reasons[0] for path in (root / "README.md", root / "none", root / "pipe.gguf")]

    assert said[0] == "file is not a supported model artifact"
    assert said[1].startswith("path not found: ")
    assert said[2] == "it is neither a file nor a folder"


async def test_a_shard_set_with_a_gap_is_said(put: Callable[..., Path]) -> None:
    found = await classified(put("m-00001-of-00002.onnx", "config.json"))

    assert found.kind == "single_model_directory"
    assert "Incomplete shard set 'm.onnx': have 1/2 shards" in found.reasons


async def test_a_disk_is_not_looked_at_to_its_end(put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_FILES", 3)
    root = put(*(f"{n}/{n}.onnx" for n in range(9)))

    found = await classified(root)

    assert any("more than 3 files" in reason for reason in found.reasons)


async def test_a_loop_of_links_ends(put: Callable[..., Path]) -> None:
    root = put("a/model.onnx")
    (root / "a" / "again").symlink_to(root)

    assert (await classified(root)).kind == "ambiguous"


async def test_a_path_has_to_mean_something_here() -> None:
    with pytest.raises(PathNotAbsolute):
        await Classifier(_judge).classify(["models"])
    with pytest.raises(PathNotUtf8):
        await Classifier(_judge).classify(["/models/\0"])
