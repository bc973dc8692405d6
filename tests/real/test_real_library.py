"""What this project writes as whole, the real library loads and draws with.

Not part of the default command: it wants torch, diffusers and transformers, some 2 GB.

    pip install '.[dev,diffusers]' && pytest tests/real
"""

import json
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.bundles import validate
from pumas_agent.cli import main
from pumas_agent.client import load_pipeline
from pumas_agent.contracts.descriptor import ModelExecutionDescriptor
from pumas_agent.demo.bundles import BundleKind, as_cache_snapshot, pipelines, write_bundle
from pumas_agent.demo.bundles.components import Pipeline
from pumas_agent.demo.snapshot import differences, snapshot
from tests.bench.full_size import full_size_flux, full_size_sdxl

pytestmark = [
    # The libraries warn of their own and each other's plans; what they do is judged here, not what they say.
    pytest.mark.filterwarnings("ignore"),
]

PIPELINES = [
    pipelines.stable_diffusion(),
    pipelines.stable_diffusion_inpaint(),
    pipelines.stable_diffusion_xl(),
    pipelines.stable_diffusion_3(),
    pipelines.flux(),
    pipelines.pixart(),
    pipelines.unconditional(),
    full_size_sdxl(),
    full_size_flux(),
]
PROMPT, OTHER_PROMPT = "a photo of a cat", "the dog"
SIDE = 32
VARIANTS = {BundleKind.STABLE_DIFFUSION_FP16: "fp16"}


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def libraries(torch: Any) -> dict[str, Any]:
    """By the names that model_index.json has for them."""
    torch.set_num_threads(1)
    return {name: pytest.importorskip(name) for name in ("diffusers", "transformers")}


class Artist:
    """Loads a bundle as a runtime does, and draws."""

    def __init__(self, libraries: dict[str, Any], torch: Any, root: Path, kind: BundleKind) -> None:
        self._torch = torch
        self._kind = kind
        load = libraries["diffusers"].DiffusionPipeline.from_pretrained
        self._pipeline = load(root, local_files_only=True, variant=VARIANTS.get(kind))
        self._pipeline.set_progress_bar_config(disable=True)

    def draw(self, prompt: str) -> Any:
        """The picture after two steps, from the same noise each time."""
        noise = self._torch.Generator().manual_seed(0)
        pictures = self._pipeline(num_inference_steps=2, generator=noise, output_type="np", **self._asked(prompt))
        return self._torch.from_numpy(pictures.images[0])

    def _asked(self, prompt: str) -> dict[str, Any]:
        if self._kind is BundleKind.UNCONDITIONAL:
            return {}
        if self._kind is BundleKind.STABLE_DIFFUSION_INPAINT:
            image = pytest.importorskip("PIL.Image")
            picture, mask = image.new("RGB", (SIDE, SIDE), "grey"), image.new("L", (SIDE, SIDE), "white")
            return {"prompt": prompt, "image": picture, "mask_image": mask}
        if self._kind is BundleKind.FLUX:  # whose default is a size for the published model alone
            return {"prompt": prompt, "height": SIDE, "width": SIDE}
        return {"prompt": prompt}


def draws_well(artist: Artist, torch: Any, kind: BundleKind) -> None:
    first, second = artist.draw(PROMPT), artist.draw(OTHER_PROMPT)

    assert torch.isfinite(first).all()
    assert first.std() > 0.01
    if kind is not BundleKind.UNCONDITIONAL:
        assert (first - second).abs().max() > 0.01


@pytest.mark.parametrize("kind", BundleKind)
def test_the_library_draws_with_a_bundle(
    libraries: dict[str, Any], torch: Any, tmp_path: Path, kind: BundleKind
) -> None:
    """It loads without the network, and a picture is finite, has something on it, and depends on the prompt."""
    write_bundle(kind, tmp_path)

    artist = Artist(libraries, torch, tmp_path, kind)

    draws_well(artist, torch, kind)


@pytest.mark.parametrize("kind", [BundleKind.FLUX, BundleKind.STABLE_DIFFUSION_XL_SHARDED])
def test_the_library_draws_with_a_snapshot(
    libraries: dict[str, Any], torch: Any, tmp_path: Path, kind: BundleKind
) -> None:
    """Also when every file is a link into the blobs of a Hugging Face cache."""
    write_bundle(kind, tmp_path / "bundle")
    cached = as_cache_snapshot(tmp_path / "bundle", tmp_path / "hub", repo_id="owner/name")

    artist = Artist(libraries, torch, cached, kind)

    draws_well(artist, torch, kind)


@pytest.mark.parametrize(
    "kind", [BundleKind.STABLE_DIFFUSION, BundleKind.STABLE_DIFFUSION_FP16, BundleKind.STABLE_DIFFUSION_PICKLE]
)
def test_a_picture_is_drawn_from_a_descriptor(
    libraries: dict[str, Any], torch: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: BundleKind
) -> None:
    """Registered, resolved and loaded as a runtime of this project does it; nothing at the bundle has changed."""
    assert libraries
    root = tmp_path / "bundle"
    write_bundle(kind, root)
    before = snapshot(root)
    where = ["--library", str(tmp_path / "library"), "--socket", str(tmp_path / "none.sock")]
    assert main([*where, "register", str(root), "--family", "acme", "--name", "tiny", "--json"]) == 0
    model_id = json.loads(capsys.readouterr().out)["model_id"]
    assert main([*where, "descriptor", model_id, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    fields = {name: said[name] for name in ModelExecutionDescriptor.model_fields if name in said}
    descriptor = ModelExecutionDescriptor.model_validate(fields)

    pipeline = load_pipeline(descriptor, allow_pickle=kind is BundleKind.STABLE_DIFFUSION_PICKLE)

    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(torch.float32)
    picture = pipeline(PROMPT, num_inference_steps=2, output_type="np").images[0]
    assert torch.isfinite(torch.from_numpy(picture)).all()
    assert picture.std() > 0.01
    assert differences(before, snapshot(root)) == []


@pytest.mark.parametrize("kind", BundleKind)
def test_the_variant_that_loads_is_the_one_we_name(tmp_path: Path, kind: BundleKind) -> None:
    """What the tests above had to ask for is what the report tells a runtime to ask for."""
    write_bundle(kind, tmp_path)

    assert validate(tmp_path).load_variant == VARIANTS.get(kind)


def test_a_pickle_holds_what_the_safetensors_file_holds(torch: Any, tmp_path: Path) -> None:
    """The same values, by the library's own readers of both; and the pickle needs no trust."""
    load_file = pytest.importorskip("safetensors.torch").load_file
    write_bundle(BundleKind.STABLE_DIFFUSION, tmp_path / "plain")
    write_bundle(BundleKind.STABLE_DIFFUSION_PICKLE, tmp_path / "pickle")

    plain = load_file(tmp_path / "plain" / "unet" / "diffusion_pytorch_model.safetensors")
    pickled = torch.load(tmp_path / "pickle" / "unet" / "diffusion_pytorch_model.bin", weights_only=True, mmap=True)

    assert pickled.keys() == plain.keys()
    assert all(torch.equal(pickled[name], plain[name]) for name in plain)


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda pipeline: pipeline.class_name)
def test_tensors_are_those_of_the_real_classes(libraries: dict[str, Any], torch: Any, pipeline: Pipeline) -> None:
    """A model built from a config that we write has tensors of the names and shapes that we write."""
    for component in pipeline.components.values():
        if not component.tensors:
            continue
        config = json.loads(component.files["config.json"])
        kind = getattr(libraries[component.library], component.class_name)

        with torch.device("meta"):
            if component.library == "diffusers":
                model = kind.from_config(config)
            else:
                model = kind(kind.config_class.from_dict(config))

        shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        shapes.pop("encoder.embed_tokens.weight", None)  # the same tensor as shared.weight, and in files only once
        assert {_without_prefix(name): shape for name, shape in component.tensors.items()} == {
            _without_prefix(name): shape for name, shape in shapes.items()
        }


def _without_prefix(name: str) -> str:
    """Files of a CLIPTextModel have a prefix that transformers 5 drops as it reads them."""
    return name.removeprefix("text_model.")


@pytest.mark.parametrize("absent", ["tokenizer.json", "spiece.model"])
def test_both_forms_of_the_t5_tokenizer_give_the_same_numbers(
    libraries: dict[str, Any], tmp_path: Path, absent: str
) -> None:
    """Of words it knows, letters, and what it does not know."""
    pytest.importorskip("sentencepiece")
    pytest.importorskip("google.protobuf")
    write_bundle(BundleKind.PIXART, tmp_path)
    text = "a photo of the cat zebra! Ü"
    read = libraries["transformers"].T5Tokenizer.from_pretrained
    expected = read(tmp_path / "tokenizer")(text).input_ids

    (tmp_path / "tokenizer" / absent).unlink()

    assert read(tmp_path / "tokenizer")(text).input_ids == expected
    assert 2 in expected  # unknown
    assert len(expected) == 15
