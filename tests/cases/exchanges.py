"""Changes that put a component, or a file of one, in the place of another: of the same bundle or of another base."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tests.cases.bases import write_base
from tests.cases.change import Change, Step, copy, rename, set_keys, steps, swap
from tests.cases.index import INDEX
from tests.cases.tensors import Tensor, Tensors, as_type, edit_tensors
from tests.cases.weights import WEIGHTS

_UNET, _TEXT = WEIGHTS["unet"], WEIGHTS["text_encoder"]
_TRANSFORMER, _T5 = "transformer/diffusion_pytorch_model.safetensors", "text_encoder_2/model.safetensors"


def exchange_changes() -> Iterator[Change]:
    """Components of other bases, components of the same, files twice or elsewhere, other kinds of numbers."""

    def taken(base: str, folder: str, other: str, theirs: str | None = None) -> Change:
        theirs = theirs or folder
        name = f"taken_{folder}_from_{other}_{theirs}_for_{base}".replace("-", "_")
        return Change(name, base, _from_another(folder, other, theirs))

    for folder in ("scheduler", "text_encoder", "tokenizer", "unet", "vae"):
        yield taken("sd-tiny", folder, "sdxl-tiny")
        yield taken("sdxl-tiny", folder, "sd-tiny")
    for folder in ("scheduler", "text_encoder", "tokenizer", "vae", "tokenizer_2", "text_encoder_2"):
        yield taken("flux-tiny", folder, "sd3-tiny")
    for folder in ("scheduler", "text_encoder", "vae", "transformer"):
        yield taken("sd3-tiny", folder, "flux-tiny")
        yield taken("pixart-tiny", folder, "sd3-tiny")
    yield taken("sd-tiny", "unet", "sd-inpaint-tiny")
    yield taken("sd-tiny", "vae", "flux-tiny")
    yield taken("flux-tiny", "vae", "sd-tiny")
    yield taken("pixart-tiny", "vae", "sd-tiny")
    yield taken("sd-tiny", "vae", "pixart-tiny")
    yield taken("pixart-tiny", "text_encoder", "flux-tiny", "text_encoder_2")
    yield taken("pixart-tiny", "tokenizer", "flux-tiny", "tokenizer_2")
    yield taken("sd-tiny", "tokenizer", "sd-tiny-nosafety")
    yield taken("sdxl-tiny", "unet", "sdxl-tiny-sharded")
    yield from _within()
    yield from _kinds_of_numbers()


def _from_another(folder: str, other: str, theirs: str) -> Step:
    def run(root: Path) -> None:
        with tempfile.TemporaryDirectory() as place:
            source = write_base(other, Path(place))
            shutil.rmtree(root / folder)
            shutil.copytree(source / theirs, root / folder)

    return run


def _within() -> Iterator[Change]:
    def change(name: str, base: str, *parts: Step) -> Change:
        return Change(f"exchange_{name}", base, steps(*parts))

    yield change("sdxl_text_encoders", "sdxl-tiny", swap("text_encoder", "text_encoder_2"))
    yield change("sdxl_second_encoder_is_first", "sdxl-tiny", copy("text_encoder", "text_encoder_2"))
    yield change("sdxl_first_encoder_is_second", "sdxl-tiny", copy("text_encoder_2", "text_encoder"))
    yield change("sd3_text_encoders", "sd3-tiny", swap("text_encoder", "text_encoder_2"))
    yield change("sd3_tokenizers", "sd3-tiny", swap("tokenizer", "tokenizer_3"))
    yield change("flux_text_encoders", "flux-tiny", swap("text_encoder", "text_encoder_2"))
    pair = {"text_encoder": ["transformers", "T5EncoderModel"], "text_encoder_2": ["transformers", "CLIPTextModel"]}
    yield change(
        "flux_text_encoders_named_so", "flux-tiny", swap("text_encoder", "text_encoder_2"), set_keys(INDEX, pair)
    )
    yield change("unet_folder_is_vae", "sd-tiny", copy("vae", "unet"))
    yield change("weights_beside_weights", "sd-tiny", copy(_UNET, "unet/diffusion_pytorch_model-1.safetensors"))
    yield change("weights_of_other_name_only", "sd-tiny", rename(_UNET, "unet/diffusion_pytorch_model (1).safetensors"))
    yield change(
        "weights_named_shard", "sd-tiny", rename(_UNET, "unet/diffusion_pytorch_model-00001-of-00001.safetensors")
    )
    yield change(
        "weights_in_folder_of_variant", "sd-tiny", rename(_UNET, "unet/fp16/diffusion_pytorch_model.safetensors")
    )
    yield change("weights_non_ema_beside", "sd-tiny", copy(_UNET, "unet/diffusion_pytorch_model.non_ema.safetensors"))
    ours = rename(_TEXT, "text_encoder/diffusion_pytorch_model.safetensors")
    yield change("text_encoder_weights_named_by_diffusers", "sd-tiny", ours)
    theirs = rename(_UNET, "unet/model.safetensors")
    yield change("unet_weights_named_by_transformers", "sd-tiny", theirs)
    yield change("config_twice", "sd-tiny", copy("unet/config.json", "unet/config (1).json"))
    yield change("index_twice", "sd-tiny", copy(INDEX, "model_index (1).json"))
    yield change("scheduler_folder_named_so", "sd-tiny", rename("scheduler", "Scheduler"))


def _kinds_of_numbers() -> Iterator[Change]:
    families = {
        "sdxl_unet": ("sdxl-tiny", _UNET),
        "sdxl_text_encoder_2": ("sdxl-tiny", _T5),
        "flux_transformer": ("flux-tiny", _TRANSFORMER),
        "flux_text_encoder_2": ("flux-tiny", _T5),
        "sd3_transformer": ("sd3-tiny", _TRANSFORMER),
        "pixart_transformer": ("pixart-tiny", _TRANSFORMER),
    }
    for tag, (base, path) in families.items():
        for dtype, code in {"F16": "e", "F64": "d", "BF16": "b"}.items():
            yield Change(f"numbers_all_{dtype.lower()}_{tag}", base, edit_tensors(path, as_type(dtype, code)))
        for dtype in ("F8_E4M3", "I8"):
            yield Change(f"numbers_all_{dtype.lower()}_{tag}", base, edit_tensors(path, _in_a_quarter(dtype)))
    everything = [edit_tensors(path, as_type("F16", "e")) for path in WEIGHTS.values() if "safety" not in path]
    yield Change("numbers_all_f16_but_safety_checker", "sd-tiny", steps(*everything))
    half_of_it = edit_tensors(_UNET, _every_other)
    yield Change("numbers_every_other_f16_unet", "sd-tiny", half_of_it)


def _in_a_quarter(dtype: str) -> Callable[[Tensors], Tensors]:
    """Every tensor in a type of one byte: the values are others, the shapes are not."""

    def narrow(tensor: Tensor) -> Tensor:
        return replace(tensor, dtype=dtype, data=bytes(len(tensor.data) // 4)) if tensor.dtype == "F32" else tensor

    return lambda tensors: {name: narrow(tensor) for name, tensor in tensors.items()}


def _every_other(tensors: Tensors) -> Tensors:
    halves = as_type("F16", "e")(tensors)
    return {name: (halves if at % 2 else tensors)[name] for at, name in enumerate(tensors)}
