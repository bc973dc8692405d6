"""The demo bundles are whole: their files fit each other as a runtime would ask."""

import itertools
import json
import math
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.bundles import validate
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.demo.bundles import BundleKind, as_cache_snapshot, write_bundle

TEXT_TO_IMAGE = sorted(set(BundleKind) - {BundleKind.STABLE_DIFFUSION_INPAINT, BundleKind.UNCONDITIONAL})
ITEM_BYTES = {"F32": 4, "F16": 2}


@pytest.fixture(params=BundleKind)
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A bundle of each kind, in a folder of its kind's name."""
    kind = BundleKind(request.param)
    root = tmp_path / kind
    write_bundle(kind, root)
    return root


def tensors_in(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    assert header.pop("__metadata__") == {"format": "pt"}
    position = 0
    for begin, end, name in sorted((*entry["data_offsets"], name) for name, entry in header.items()):
        assert begin == position
        assert end - begin == ITEM_BYTES[header[name]["dtype"]] * math.prod(header[name]["shape"])
        position = end
    assert 8 + length + position == len(content)
    return header


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def contents_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    """Bytes depend on the seed alone, and another seed changes tensor data alone."""
    kind = BundleKind(bundle.name)

    write_bundle(kind, tmp_path / "again")
    write_bundle(kind, tmp_path / "tuned", seed=7)

    first, tuned = contents_of(bundle), contents_of(tmp_path / "tuned")
    differing = {name for name in first if first[name] != tuned[name]}
    assert contents_of(tmp_path / "again") == first
    assert {name: len(content) for name, content in tuned.items()} == {name: len(first[name]) for name in first}
    assert differing == {name for name in first if name.endswith((".safetensors", ".bin"))}


def test_the_bundle_of_the_demo_is_the_plain_one(tmp_path: Path) -> None:
    """What the demo shows is what the tests judge."""
    write_stable_diffusion_bundle(tmp_path / "demo", seed=3)
    write_bundle(BundleKind.STABLE_DIFFUSION, tmp_path / "plain", seed=3)

    assert contents_of(tmp_path / "demo") == contents_of(tmp_path / "plain")


def test_it_is_small(bundle: Path) -> None:
    """Small enough to be written for every test."""
    assert sum(map(len, contents_of(bundle).values())) < 600_000


@pytest.mark.parametrize("kind", TEXT_TO_IMAGE)
def test_it_is_valid(tmp_path: Path, kind: BundleKind) -> None:
    """Every text-to-image kind is valid, and what there is to notice is what the kind is made for."""
    write_bundle(kind, tmp_path)

    report = validate(tmp_path)

    expected = {
        BundleKind.STABLE_DIFFUSION_FP16: {"variant_required"},
        BundleKind.STABLE_DIFFUSION_PICKLE: {"pickle_weights"},
    }
    assert report.findings == ()
    assert {notice.code for notice in report.notices} == expected.get(kind, set())


@pytest.mark.parametrize("kind", [BundleKind.STABLE_DIFFUSION_INPAINT, BundleKind.UNCONDITIONAL])
def test_other_tasks_are_not_supported(tmp_path: Path, kind: BundleKind) -> None:
    """These kinds are whole, but a prompt alone gives no picture."""
    write_bundle(kind, tmp_path)

    assert "unsupported_pipeline" in {finding.code for finding in validate(tmp_path).findings}


def test_every_component_has_its_folder(bundle: Path) -> None:
    """The folders are those that the index names, and no other."""
    index = read_json(bundle / "model_index.json")

    named = {name for name, entry in index.items() if isinstance(entry, list) and entry[0] is not None}

    assert {path.name for path in bundle.iterdir() if path.is_dir()} == named


def test_weights_are_whole(bundle: Path) -> None:
    """Spans are contiguous from 0 to the end of the file and as long as their shapes say."""
    files = list(bundle.rglob("*.safetensors"))

    tensors = [tensors_in(file) for file in files]

    assert all(tensors)
    assert files or bundle.name == BundleKind.STABLE_DIFFUSION_PICKLE


def test_every_file_of_the_variant_is_half_as_precise(tmp_path: Path) -> None:
    """The fp16 kind has no other weights, and they are F16."""
    write_bundle(BundleKind.STABLE_DIFFUSION_FP16, tmp_path)

    files = sorted(tmp_path.rglob("*.safetensors"))

    assert [file.name for file in files] == [
        "model.fp16.safetensors",
        *["diffusion_pytorch_model.fp16.safetensors"] * 2,
    ]
    assert {entry["dtype"] for file in files for entry in tensors_in(file).values()} == {"F16"}


@pytest.mark.parametrize(("component", "stem"), [("unet", "diffusion_pytorch_model"), ("text_encoder_2", "model")])
def test_shards_hold_what_their_index_says(tmp_path: Path, component: str, stem: str) -> None:
    """Each tensor is in the one shard that the index names, and together they are the tensors of the unsharded file."""
    write_bundle(BundleKind.STABLE_DIFFUSION_XL_SHARDED, tmp_path / "sharded")
    write_bundle(BundleKind.STABLE_DIFFUSION_XL, tmp_path / "single")

    index = read_json(tmp_path / "sharded" / component / f"{stem}.safetensors.index.json")
    shards = {path.name: tensors_in(path) for path in (tmp_path / "sharded" / component).glob("*.safetensors")}

    single = tensors_in(tmp_path / "single" / component / f"{stem}.safetensors")
    assert {name: file for file, tensors in shards.items() for name in tensors} == index["weight_map"]
    assert index["weight_map"].keys() == single.keys()
    assert len(shards) == 2


@pytest.mark.parametrize(
    "file", ["text_encoder/pytorch_model.bin", "unet/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.bin"]
)
def test_pickled_weights_are_a_zip_of_storages(tmp_path: Path, file: str) -> None:
    """As torch.save writes one: entries stored and aligned, and a pickle that names nothing but tensors."""
    write_bundle(BundleKind.STABLE_DIFFUSION_PICKLE, tmp_path)

    with zipfile.ZipFile(tmp_path / file) as archive:
        assert archive.testzip() is None
        entries, pickled = archive.infolist(), archive.read("archive/data.pkl")

    begins = [entry.header_offset + 30 + len(entry.filename) + len(entry.extra) for entry in entries]
    names = {argument for opcode, argument, _ in pickletools.genops(pickled) if opcode.name == "GLOBAL"}
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    assert [begin % 64 for begin in begins] == [0] * len(entries)
    assert names == {"torch._utils _rebuild_tensor_v2", "torch FloatStorage", "collections OrderedDict"}


def test_the_cache_holds_links_to_blobs(bundle: Path, tmp_path: Path) -> None:
    """A snapshot has the files of the bundle, each a relative link to a blob, and `main` names it."""
    cache = tmp_path / "hub"

    snapshot = as_cache_snapshot(bundle, cache, repo_id="owner/name")

    repository = cache / "models--owner--name"
    links = [path for path in snapshot.rglob("*") if not path.is_dir()]
    assert snapshot == repository / "snapshots" / (repository / "refs" / "main").read_text()
    assert contents_of(snapshot) == contents_of(bundle)
    assert all(link.is_symlink() and not link.readlink().is_absolute() for link in links)
    assert all(link.resolve().parent == repository / "blobs" for link in links)


def test_two_revisions_share_their_blobs(tmp_path: Path) -> None:
    """The later snapshot is main; equal files are one blob."""
    for seed in (0, 1):
        write_bundle(BundleKind.FLUX, tmp_path / f"flux{seed}", seed=seed)
    weights = list((tmp_path / "flux0").rglob("*.safetensors"))

    first, second = (
        as_cache_snapshot(tmp_path / f"flux{seed}", tmp_path / "hub", repo_id="owner/flux") for seed in (0, 1)
    )

    repository = first.parents[1]
    assert (repository / "refs" / "main").read_text() == second.name != first.name
    distinct = set(contents_of(tmp_path / "flux0").values())
    assert len(list((repository / "blobs").iterdir())) == len(distinct) + len(weights)


def test_the_clip_tokenizers_fit(tmp_path: Path) -> None:
    """Every merge is covered by the vocabulary, which is as large as the text encoder's."""
    write_bundle(BundleKind.STABLE_DIFFUSION_3, tmp_path)

    for tokenizer, encoder in (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")):
        vocabulary = read_json(tmp_path / tokenizer / "vocab.json")
        merges = (tmp_path / tokenizer / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
        config = read_json(tmp_path / encoder / "config.json")

        assert merges
        assert all({first, second, first + second} <= vocabulary.keys() for first, second in map(str.split, merges))
        assert sorted(vocabulary.values()) == list(range(config["vocab_size"]))
        assert vocabulary["<|endoftext|>"] == config["eos_token_id"]


def test_the_t5_tokenizer_fits(tmp_path: Path) -> None:
    """Both of its forms hold the same pieces in the same order, as many as its text encoder has words."""
    write_bundle(BundleKind.PIXART, tmp_path)

    vocabulary = read_json(tmp_path / "tokenizer" / "tokenizer.json")["model"]["vocab"]
    model = (tmp_path / "tokenizer" / "spiece.model").read_bytes()
    config = read_json(tmp_path / "text_encoder" / "config.json")

    pieces = [piece for piece, _ in vocabulary if not piece.startswith("<extra_id_")]
    places = list(itertools.accumulate(pieces, lambda at, piece: model.index(piece.encode(), at), initial=0))[1:]
    assert len(vocabulary) == config["vocab_size"]
    assert len(pieces) == config["vocab_size"] - 100
    assert places == sorted(set(places))
