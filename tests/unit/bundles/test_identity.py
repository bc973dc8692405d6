"""The identity: the same wherever the bundle lies, another for another bundle."""

import shutil
from pathlib import Path

import pytest

from pumas_agent.bundles import identity_of
from pumas_agent.demo.bundle import write_stable_diffusion_bundle

WEIGHTS = Path("unet", "diffusion_pytorch_model.safetensors")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "bundle"
    write_stable_diffusion_bundle(root)
    return root


def test_a_copy_has_the_same_identity(bundle: Path, tmp_path: Path) -> None:
    """Neither the place nor the times nor the order of writing count."""
    copy = tmp_path / "other" / "name"
    for file in sorted((path for path in bundle.rglob("*") if path.is_file()), reverse=True):
        target = copy / file.relative_to(bundle)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)

    identity = identity_of(copy)

    assert identity is not None
    assert len(identity) == 64
    assert identity == identity_of(bundle)


def test_links_to_the_same_bytes_are_the_same_bundle(bundle: Path, tmp_path: Path) -> None:
    """A tree of links has the identity of the files."""
    linked = tmp_path / "linked"
    linked.mkdir()
    for child in bundle.iterdir():
        (linked / child.name).symlink_to(child)

    assert identity_of(linked) == identity_of(bundle)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_one_sampled_byte_makes_another_bundle(bundle: Path, share: float) -> None:
    """Two fine-tunes differ in tensor data alone."""
    before = identity_of(bundle)
    content = bytearray((bundle / WEIGHTS).read_bytes())
    begin = 8 + int.from_bytes(content[:8], "little")

    position = max(begin, min(len(content) - 1, int(len(content) * share)))
    content[position] ^= 1
    (bundle / WEIGHTS).write_bytes(content)

    assert identity_of(bundle) != before


def test_another_seed_is_another_bundle(bundle: Path, tmp_path: Path) -> None:
    """The demo's seed stands for a fine-tune."""
    write_stable_diffusion_bundle(tmp_path / "tuned", seed=1)

    assert identity_of(tmp_path / "tuned") != identity_of(bundle)


@pytest.mark.parametrize("name", ["model_index.json", "vae/config.json", "tokenizer/vocab.json"])
def test_configs_count(bundle: Path, name: str) -> None:
    """Every byte of the index and of the configs is part of the identity."""
    before = identity_of(bundle)

    with (bundle / name).open("a") as file:
        file.write("\n")

    assert identity_of(bundle) != before


def test_what_lies_beside_does_not_count(bundle: Path) -> None:
    """A README, or the notes of a download tool, make no other bundle."""
    before = identity_of(bundle)

    (bundle / "README.md").write_text("hello")
    (bundle / ".cache").mkdir()
    (bundle / ".cache" / "state.json").write_text("{}")

    assert identity_of(bundle) == before


def test_no_index_no_identity(bundle: Path, tmp_path: Path) -> None:
    """Without model_index.json, or without a root, there is nothing to identify."""
    (bundle / "model_index.json").unlink()

    assert identity_of(bundle) is None
    assert identity_of(tmp_path / "gone") is None


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\xff" * 100_000, b"\0" * 20])
def test_damaged_weights_have_an_identity_too(bundle: Path, content: bytes) -> None:
    """Whatever the header claims, the digest stays within the file."""
    (bundle / WEIGHTS).write_bytes(content)

    assert identity_of(bundle) is not None
