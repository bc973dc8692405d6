"""The weights of a bundle are judged as diffusers and transformers would load them."""

import json
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pumas_agent.bundles.bundle import Bundle, Component
from pumas_agent.bundles.model_index import read_model_index
from pumas_agent.bundles.policy import Policy
from pumas_agent.bundles.tables import ComponentKind, tables_with
from pumas_agent.bundles.walk import walk
from pumas_agent.bundles.weights import Weights, examine
from pumas_agent.contracts.bundles import SecurityTier

MODEL = Component("unet", "diffusers", "AnyModel", ComponentKind.DIFFUSERS_MODEL, "unet")
ENCODER = Component("text_encoder", "transformers", "AnyModel", ComponentKind.TRANSFORMERS_MODEL, "text_encoder")
CLIP = replace(ENCODER, class_name="CLIPTextModel")
CLIP_CONFIG = {
    "vocab_size": 4,
    "hidden_size": 2,
    "intermediate_size": 3,
    "num_hidden_layers": 1,
    "max_position_embeddings": 5,
}
CLIP_SHAPES = {
    "text_model.embeddings.token_embedding.weight": [4, 2],
    "text_model.embeddings.position_embedding.weight": [5, 2],
    "text_model.final_layer_norm.weight": [2],
    "text_model.final_layer_norm.bias": [2],
    **{
        f"text_model.encoder.layers.0.{part}.{kind}": shape
        for part, weight in {
            "layer_norm1": [2],
            "layer_norm2": [2],
            **{f"self_attn.{part}_proj": [2, 2] for part in ("q", "k", "v", "out")},
            "mlp.fc1": [3, 2],
            "mlp.fc2": [2, 3],
        }.items()
        for kind, shape in (("weight", weight), ("bias", weight[:1]))
    },
}


def write_tensors(path: Path, shapes: dict[str, list[int]], dtype: str = "F32") -> None:
    header = {}
    position = 0
    for name, shape in shapes.items():
        end = position + {"F32": 4, "F16": 2, "F8_E4M3": 1}[dtype] * (shape[0] if shape else 1) * (
            shape[1] if len(shape) > 1 else 1
        )
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(position))


def write_pickle(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")


def write_index(path: Path, weight_map: object, metadata: object = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"weight_map": weight_map, "metadata": {} if metadata is None else metadata}))


def bundle_of(root: Path, *components: Component, policy: Policy | None = None) -> Bundle:
    index = {component.name: [component.library, component.class_name] for component in components}
    (root / "model_index.json").write_text(json.dumps(index))
    bundle = Bundle(root, walk(root), read_model_index(root), policy or Policy(), tables_with({}))
    bundle.components = components
    return bundle


def fatal_of(weights: Weights) -> list[tuple[str, str | None]]:
    return [(problem.finding.code, problem.finding.path) for problem in weights.problems if problem.fatal]


def notices_of(weights: Weights) -> list[tuple[str, str | None]]:
    return [(problem.finding.code, problem.finding.path) for problem in weights.problems if not problem.fatal]


def test_whole_weights_are_described(tmp_path: Path) -> None:
    """Of whole weights the report tells files, sizes, numbers and how they are stored."""
    write_tensors(tmp_path / "unet/diffusion_pytorch_model.safetensors", {"a": [2, 3], "b": [4]}, "F16")

    weights = examine(bundle_of(tmp_path, MODEL))

    assert weights.problems == ()
    assert [(one.component, one.files, one.tensors, one.parameters) for one in weights.components] == [
        ("unet", ("unet/diffusion_pytorch_model.safetensors",), 2, {"F16": 10})
    ]
    assert (weights.variants, weights.load_variant, weights.load_dtype) == (("",), None, "float16")
    assert weights.tier is SecurityTier.SAFE


def test_diffusers_prefers_the_index_of_shards(tmp_path: Path) -> None:
    """A stale index is fatal for a model of diffusers, whole as the file beside it is."""
    write_tensors(tmp_path / "unet/diffusion_pytorch_model.safetensors", {"a": [1]})
    write_index(tmp_path / "unet/diffusion_pytorch_model.safetensors.index.json", {"a": "gone.safetensors"})

    assert fatal_of(examine(bundle_of(tmp_path, MODEL))) == [("missing_shard", "unet/gone.safetensors")]


def test_transformers_prefers_the_single_file(tmp_path: Path) -> None:
    """A stale index is harmless for a model of transformers, and worth a notice."""
    write_tensors(tmp_path / "text_encoder/model.safetensors", {"a": [1]})
    write_index(tmp_path / "text_encoder/model.safetensors.index.json", {"a": "gone.safetensors"})

    weights = examine(bundle_of(tmp_path, ENCODER))

    assert fatal_of(weights) == []
    assert notices_of(weights) == [("stale_shard_index", "text_encoder/model.safetensors.index.json")]


def test_damaged_safetensors_do_not_fall_back(tmp_path: Path) -> None:
    """The first file that is there decides, though a sound pickle lies beside it."""
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet/diffusion_pytorch_model.safetensors").write_bytes(b"")
    write_pickle(tmp_path / "unet/diffusion_pytorch_model.bin")

    weights = examine(bundle_of(tmp_path, MODEL))

    assert fatal_of(weights) == [("invalid_weights_header", "unet/diffusion_pytorch_model.safetensors")]


@pytest.mark.parametrize(
    "name",
    [
        "diffusion_pytorch_model.SAFETENSORS",
        "model.gguf",
        "model.safetensors",
        "diffusion_pytorch_model.bin.index.json",
    ],
)
def test_other_files_are_no_weights(tmp_path: Path, name: str) -> None:
    """Diffusers finds its own names alone; an index of pickles in shards is not among them."""
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / name).write_bytes(b"x")

    assert fatal_of(examine(bundle_of(tmp_path, MODEL))) == [("missing_weights", "unet")]


def test_weights_behind_a_dead_link(tmp_path: Path) -> None:
    """A link that leads nowhere is told from weights that were never there."""
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet/diffusion_pytorch_model.safetensors").symlink_to("blob")

    assert fatal_of(examine(bundle_of(tmp_path, MODEL))) == [
        ("dangling_symlink", "unet/diffusion_pytorch_model.safetensors")
    ]


def test_variant_alone_is_asked_for(tmp_path: Path) -> None:
    """What is whole as fp16 alone loads when a runtime asks for fp16; other components keep their plain files."""
    write_tensors(tmp_path / "unet/diffusion_pytorch_model.fp16.safetensors", {"a": [1]}, "F16")
    write_tensors(tmp_path / "text_encoder/model.safetensors", {"a": [1]})

    weights = examine(bundle_of(tmp_path, MODEL, ENCODER))

    assert fatal_of(weights) == []
    assert notices_of(weights) == [("variant_required", None)]
    assert (weights.load_variant, weights.variants) == ("fp16", ("fp16",))


def test_variant_does_not_hide_other_damage(tmp_path: Path) -> None:
    """Incomplete in every variant, the default is what is spoken of."""
    write_tensors(tmp_path / "unet/diffusion_pytorch_model.fp16.safetensors", {"a": [1]}, "F16")
    (tmp_path / "text_encoder").mkdir()

    weights = examine(bundle_of(tmp_path, MODEL, ENCODER))

    assert fatal_of(weights) == [("weights_only_variant", "unet"), ("missing_weights", "text_encoder")]
    assert (weights.load_variant, weights.variants) == (None, ())


def test_variants_on_disk_are_listed(tmp_path: Path) -> None:
    """Beside a whole default, whole variants are named and damaged ones are not; the default loads."""
    write_tensors(tmp_path / "unet/diffusion_pytorch_model.safetensors", {"a": [1]})
    write_tensors(tmp_path / "unet/diffusion_pytorch_model.fp16.safetensors", {"a": [1]}, "F16")
    (tmp_path / "unet/diffusion_pytorch_model.ema.safetensors").write_bytes(b"")

    weights = examine(bundle_of(tmp_path, MODEL))

    assert (weights.load_variant, weights.variants) == (None, ("", "fp16"))
    assert notices_of(weights) == [("unused_weights_damaged", "unet/diffusion_pytorch_model.ema.safetensors")]


def test_variant_is_not_found_past_a_name_without_a_dot(tmp_path: Path) -> None:
    """Diffusers takes the text behind the first dot of every name in a component without the variant, and raises."""
    write_tensors(tmp_path / "unet/diffusion_pytorch_model.fp16.safetensors", {"a": [1]})
    write_tensors(tmp_path / "text_encoder/model.safetensors", {"a": [1]})
    (tmp_path / "text_encoder/LICENSE").write_text("")

    weights = examine(bundle_of(tmp_path, MODEL, ENCODER))

    assert fatal_of(weights) == [("weights_only_variant", "unet"), ("variant_scan_crash", "text_encoder/LICENSE")]


def test_crash_of_a_variant_that_is_not_needed_is_a_notice(tmp_path: Path) -> None:
    """The default loads; who asks for the variant meets the crash."""
    write_tensors(tmp_path / "unet/diffusion_pytorch_model.safetensors", {"a": [1]})
    write_tensors(tmp_path / "unet/diffusion_pytorch_model.fp16.safetensors", {"a": [1]})
    write_tensors(tmp_path / "text_encoder/model.safetensors", {"a": [1]})
    (tmp_path / "text_encoder/LICENSE").write_text("")

    weights = examine(bundle_of(tmp_path, MODEL, ENCODER))

    assert fatal_of(weights) == []
    assert notices_of(weights) == [("variant_scan_crash", "text_encoder/LICENSE")]


@pytest.mark.parametrize("variant", ["fp8", "../x", ""])
def test_variant_that_no_component_has(tmp_path: Path, variant: str) -> None:
    """A runtime that asks for a variant of which there is no file is refused by diffusers."""
    write_tensors(tmp_path / "unet/diffusion_pytorch_model.safetensors", {"a": [1]})

    assert fatal_of(examine(bundle_of(tmp_path, MODEL), variant)) == [("variant_missing", None)]


def test_pickles_are_a_matter_of_policy(tmp_path: Path) -> None:
    """A pickle loads, and is said; where the operator refuses pickles, that is fatal."""
    write_pickle(tmp_path / "unet/diffusion_pytorch_model.bin")

    allowed = examine(bundle_of(tmp_path, MODEL))
    refused = examine(bundle_of(tmp_path, MODEL, policy=Policy(pickle_weights="refuse")))

    assert notices_of(allowed) == fatal_of(refused) == [("pickle_weights", "unet/diffusion_pytorch_model.bin")]
    assert (allowed.tier, allowed.components[0].tensors, allowed.load_dtype) == (SecurityTier.PICKLE, None, None)


def write_names(path: Path, names: list[str], how: int = zipfile.ZIP_STORED) -> None:
    """As torch writes them: each a text of its own in the pickle, which is packed in no way."""
    path.parent.mkdir(exist_ok=True)
    texts = b"".join(b"X" + struct.pack("<I", len(name)) + name.encode() + b"q\x01" for name in names)
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00(" + texts + b"u.")
        archive.writestr("archive/data/0", bytes(64))


def test_a_pickle_names_the_tensors_that_the_model_is_made_of(tmp_path: Path) -> None:
    """Without being unpickled; with and without the prefix."""
    (tmp_path / "text_encoder").mkdir()
    (tmp_path / "text_encoder/config.json").write_text(json.dumps(CLIP_CONFIG))
    path = tmp_path / "text_encoder/pytorch_model.bin"
    names = list(CLIP_SHAPES)
    said = []

    for there in (names, [name.removeprefix("text_model.") for name in names], names[1:], ["conv_in.weight"]):
        write_names(path, there)
        said.append([code for code, _ in fatal_of(examine(bundle_of(tmp_path, CLIP)))])

    assert said == [[], [], ["weights_incomplete"], ["weights_incomplete"]]


def test_of_a_pickle_that_is_packed_nothing_is_claimed(tmp_path: Path) -> None:
    """Torch packs none; a file of old is a stream of pickles."""
    (tmp_path / "text_encoder").mkdir()
    (tmp_path / "text_encoder/config.json").write_text(json.dumps(CLIP_CONFIG))
    write_names(tmp_path / "text_encoder/pytorch_model.bin", ["conv_in.weight"], zipfile.ZIP_DEFLATED)

    assert fatal_of(examine(bundle_of(tmp_path, CLIP))) == []


@pytest.mark.parametrize("at", [42, 20, 24, 10])
def test_a_directory_that_lies(tmp_path: Path, at: int) -> None:
    """Places and sizes that lead out of the file are no reason to fail."""
    (tmp_path / "text_encoder").mkdir()
    (tmp_path / "text_encoder/config.json").write_text(json.dumps(CLIP_CONFIG))
    path = tmp_path / "text_encoder/pytorch_model.bin"
    write_names(path, list(CLIP_SHAPES))
    content = bytearray(path.read_bytes())
    entry = content.find(b"PK\x01\x02")
    content[entry + at : entry + at + 2] = b"\xff\xff"
    path.write_bytes(content)

    assert {code for code, _ in fatal_of(examine(bundle_of(tmp_path, CLIP)))} <= {"weights_incomplete"}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "invalid_weights_header"),
        (b"PK\x03\x04 and nothing more", "weights_truncated"),
        (b"PK\x03\x04" + b"PK\x05\x06" + bytes(18), "invalid_weights_header"),
        (struct.pack("<Q", 2) + b"{}", "invalid_weights_header"),
        (b"\x80\x02}q\x00.", "invalid_weights_header"),
        (b"version https://git-lfs.github.com/spec/v1\n", "weights_lfs_pointer"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", None),
    ],
)
def test_outside_of_pickles(tmp_path: Path, content: bytes, code: str | None) -> None:
    """Torch takes a zip archive with its records, or the older stream that starts with its number."""
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet/diffusion_pytorch_model.bin").write_bytes(content)

    codes = [found for found, _ in fatal_of(examine(bundle_of(tmp_path, MODEL)))]

    assert codes == ([] if code is None else [code])


@pytest.mark.parametrize(
    ("weight_map", "metadata", "code"),
    [
        (None, {}, "invalid_shard_index"),
        ({"a": 1}, {}, "invalid_shard_index"),
        ({"a": "s.safetensors"}, [], "invalid_shard_index"),
        ({}, {}, "weights_incomplete"),
        ({"a": "../s.safetensors"}, {}, "path_escape"),
        ({"a": ".."}, {}, "path_escape"),
        ({"a": ""}, {}, "missing_shard"),
        ({"a": "s.safetensors", "b": "s.safetensors"}, {}, "weights_incomplete"),
        ({"a": "s.safetensors"}, {}, None),
    ],
)
def test_index_of_shards(tmp_path: Path, weight_map: object, metadata: object, code: str | None) -> None:
    """An index maps tensors to files beside it that hold them, and has metadata."""
    write_tensors(tmp_path / "text_encoder/s.safetensors", {"a": [1]})
    write_index(tmp_path / "text_encoder/model.safetensors.index.json", weight_map, metadata)

    codes = [found for found, _ in fatal_of(examine(bundle_of(tmp_path, ENCODER)))]

    assert codes == ([] if code is None else [code])


def test_tensors_that_the_index_does_not_know_load(tmp_path: Path) -> None:
    """What lies in a shard is loaded, wherever the index says it is."""
    write_tensors(tmp_path / "unet/s.safetensors", {"a": [1], "b": [1]})
    write_index(tmp_path / "unet/diffusion_pytorch_model.safetensors.index.json", {"a": "s.safetensors"})

    assert notices_of(examine(bundle_of(tmp_path, MODEL))) == [
        ("shard_index_disagrees", "unet/diffusion_pytorch_model.safetensors.index.json")
    ]


def test_weights_without_tensors(tmp_path: Path) -> None:
    """A sound file without any tensor loads, and draws nothing."""
    write_tensors(tmp_path / "unet/diffusion_pytorch_model.safetensors", {})

    assert fatal_of(examine(bundle_of(tmp_path, MODEL))) == [
        ("weights_incomplete", "unet/diffusion_pytorch_model.safetensors")
    ]


@pytest.mark.parametrize("prefix", ["text_model.", ""])
def test_text_encoder_with_all_its_tensors(tmp_path: Path, prefix: str) -> None:
    """Transformers reads the tensors of CLIP with and without their prefix; tensors that it does not need are fine."""
    shapes = {name.replace("text_model.", prefix): shape for name, shape in CLIP_SHAPES.items()}
    write_tensors(tmp_path / "text_encoder/model.safetensors", {**shapes, "position_ids": [1, 77]})
    (tmp_path / "text_encoder/config.json").write_text(json.dumps(CLIP_CONFIG))

    assert examine(bundle_of(tmp_path, CLIP)).problems == ()


@pytest.mark.parametrize("name", sorted(CLIP_SHAPES))
def test_each_tensor_is_needed(tmp_path: Path, name: str) -> None:
    """Without any one of its tensors an encoder loads, and draws from random numbers."""
    shapes = {other: shape for other, shape in CLIP_SHAPES.items() if other != name}
    write_tensors(tmp_path / "text_encoder/model.safetensors", shapes)
    (tmp_path / "text_encoder/config.json").write_text(json.dumps(CLIP_CONFIG))

    assert fatal_of(examine(bundle_of(tmp_path, CLIP))) == [("weights_incomplete", "text_encoder/model.safetensors")]


@pytest.mark.parametrize(
    ("config", "code", "path"),
    [
        ({"vocab_size": 5}, "weights_shape_mismatch", "text_encoder/model.safetensors"),
        ({"num_hidden_layers": 10**12}, "weights_incomplete", "text_encoder/model.safetensors"),
        ({"hidden_size": "2"}, "weights_shape_mismatch", "text_encoder/config.json"),
    ],
)
def test_weights_of_another_config(tmp_path: Path, config: dict[str, object], code: str, path: str) -> None:
    """Tensors of other shapes than the config asks for do not load; a hostile config is answered as fast."""
    write_tensors(tmp_path / "text_encoder/model.safetensors", CLIP_SHAPES)
    (tmp_path / "text_encoder/config.json").write_text(json.dumps(CLIP_CONFIG | config))

    assert fatal_of(examine(bundle_of(tmp_path, CLIP))) == [(code, path)]
