"""Owns how a bundle gets onto the disk: which kinds there are, in which form each has its weights, and the files."""

from collections.abc import Callable, Mapping
from enum import Enum, StrEnum, auto
from pathlib import Path
from typing import Final

from pumas_agent.demo.bundles import pipelines
from pumas_agent.demo.bundles.components import Component, Pipeline
from pumas_agent.demo.bundles.configs import VERSION
from pumas_agent.demo.bundles.safetensors import split_tensors, write_safetensors, write_shards
from pumas_agent.demo.bundles.tokenizers import json_file
from pumas_agent.demo.bundles.torch_zip import write_torch_zip

_SHARDED: Final = ("text_encoder", "text_encoder_2", "unet")
_SHARDS = 2


class BundleKind(StrEnum):
    """A pipeline in one of the forms in which its weights are published."""

    STABLE_DIFFUSION = "stable-diffusion"
    STABLE_DIFFUSION_FP16 = "stable-diffusion-fp16"
    """Every file of weights is of the variant `fp16`; a runtime has to ask for it."""
    STABLE_DIFFUSION_PICKLE = "stable-diffusion-pickle"
    """Weights in `.bin` files."""
    STABLE_DIFFUSION_INPAINT = "stable-diffusion-inpaint"
    STABLE_DIFFUSION_XL = "stable-diffusion-xl"
    STABLE_DIFFUSION_XL_SHARDED = "stable-diffusion-xl-sharded"
    """The UNet and the text encoders are cut into shards."""
    STABLE_DIFFUSION_3 = "stable-diffusion-3"
    FLUX = "flux"
    PIXART = "pixart"
    UNCONDITIONAL = "unconditional"


class _Form(Enum):
    SINGLE = auto()
    FP16 = auto()
    SHARDED = auto()
    PICKLE = auto()


_KINDS: Mapping[BundleKind, tuple[Callable[[], Pipeline], _Form]] = {
    BundleKind.STABLE_DIFFUSION: (pipelines.stable_diffusion, _Form.SINGLE),
    BundleKind.STABLE_DIFFUSION_FP16: (pipelines.stable_diffusion, _Form.FP16),
    BundleKind.STABLE_DIFFUSION_PICKLE: (pipelines.stable_diffusion, _Form.PICKLE),
    BundleKind.STABLE_DIFFUSION_INPAINT: (pipelines.stable_diffusion_inpaint, _Form.SINGLE),
    BundleKind.STABLE_DIFFUSION_XL: (pipelines.stable_diffusion_xl, _Form.SINGLE),
    BundleKind.STABLE_DIFFUSION_XL_SHARDED: (pipelines.stable_diffusion_xl, _Form.SHARDED),
    BundleKind.STABLE_DIFFUSION_3: (pipelines.stable_diffusion_3, _Form.SINGLE),
    BundleKind.FLUX: (pipelines.flux, _Form.SINGLE),
    BundleKind.PIXART: (pipelines.pixart, _Form.SINGLE),
    BundleKind.UNCONDITIONAL: (pipelines.unconditional, _Form.SINGLE),
}


def write_bundle(kind: BundleKind, root: Path, *, seed: int = 0) -> None:
    """Write the bundle below `root`, which is created when absent.

    The same seed gives the same bytes; another one gives another fine-tune: the same files with other tensor data.

    Raises:
        OSError: the disk does not take it.
    """
    made, form = _KINDS[kind]
    pipeline = made()
    write_small_files(pipeline, root)
    for name, component in pipeline.components.items():
        if component.tensors:
            sharded = name in _SHARDED
            in_form = _Form.SINGLE if form is _Form.SHARDED and not sharded else form
            _write_weights(component, root / name, form=in_form, seed=f"{name}/{seed}")


def write_small_files(pipeline: Pipeline, root: Path) -> None:
    """Write everything but the weights.

    Raises:
        OSError: the disk does not take it.
    """
    for name, component in pipeline.components.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for file, content in component.files.items():
            (root / name / file).write_bytes(content)
    (root / "model_index.json").write_bytes(json_file(pipeline.index(VERSION)))


def _write_weights(component: Component, folder: Path, *, form: _Form, seed: str) -> None:
    stem, tensors = component.weights_stem, component.tensors
    match form:
        case _Form.SINGLE:
            write_safetensors(folder / f"{stem}.safetensors", tensors, seed=seed)
        case _Form.FP16:
            write_safetensors(folder / f"{stem}.fp16.safetensors", tensors, seed=seed, float_type="F16")
        case _Form.SHARDED:
            write_shards(folder, stem, split_tensors(tensors, _SHARDS), seed=seed)
        case _Form.PICKLE:
            # transformers had another name for its file then; diffusers kept its own.
            old_stem = "pytorch_model" if component.library == "transformers" else stem
            write_torch_zip(folder / f"{old_stem}.bin", tensors, seed=seed)
