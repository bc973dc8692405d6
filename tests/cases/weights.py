"""Changes to the weight files of components: where they are, their bytes, their headers."""

import itertools
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.cases.change import (
    LFS_POINTER,
    Change,
    Step,
    append,
    copy,
    cut,
    directory,
    halve,
    link,
    mode,
    move_outside,
    nothing,
    pipe,
    remove,
    rename,
    rewrite,
    steps,
    swap,
    write,
)
from tests.cases.tensors import (
    Header,
    edit_header,
    edit_tensors,
    joined,
    split,
)

WEIGHTS: Mapping[str, str] = {
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "text_encoder": "text_encoder/model.safetensors",
    "safety_checker": "safety_checker/model.safetensors",
}
BIN: Mapping[str, str] = {
    "unet": "unet/diffusion_pytorch_model.bin",
    "vae": "vae/diffusion_pytorch_model.bin",
    "text_encoder": "text_encoder/pytorch_model.bin",
    "safety_checker": "safety_checker/pytorch_model.bin",
}
TRANSFORMER, T5 = "transformer/diffusion_pytorch_model.safetensors", "text_encoder_2/model.safetensors"
UNET, VAE, TEXT = WEIGHTS["unet"], WEIGHTS["vae"], WEIGHTS["text_encoder"]
TOKENS, POSITIONS = "embeddings.token_embedding.weight", "embeddings.position_embedding.weight"


def weight_changes() -> Iterator[Change]:
    """Safetensors files, what stands beside them, pickles."""
    for name, path in WEIGHTS.items():
        yield from _file(name, path)
        yield from _header(name, path)
    yield from _beside()
    yield from _pickles()


def _file(name: str, path: str) -> Iterator[Change]:
    def sd(what: str, step: Step) -> Change:
        return Change(f"weights_{what}_{name}", "sd-tiny", step)

    yield sd("missing", remove(path))
    yield sd("zero_byte", write(path, b""))
    yield sd("seven_bytes", write(path, b"1234567"))
    yield sd("eight_zero_bytes", write(path, bytes(8)))
    yield sd("zeros", rewrite(path, lambda content: bytes(len(content))))
    yield sd("lfs_pointer", write(path, LFS_POINTER))
    yield sd("html", write(path, b"<!DOCTYPE html><html><body>Access denied</body></html>"))
    yield sd("truncated", halve(path))
    yield sd("truncated_by_one", cut(path, 1))
    yield sd("truncated_in_header", rewrite(path, lambda content: content[:100]))
    yield sd("trailing_byte", append(path, b"\0"))
    yield sd("trailing_kilobyte", append(path, bytes(1024)))
    yield sd("unreadable", mode(path, 0))
    yield sd("is_directory", steps(remove(path), directory(path)))
    yield sd("fifo", pipe(path))
    yield sd("dangling_symlink", steps(remove(path), link(path, "nowhere")))
    yield sd("symlink_loop", steps(remove(path), link(path, Path(path).name)))
    yield sd("symlink_outside", move_outside(path))
    yield sd("symlink_inside", steps(rename(path, f"blob-{name}"), link(path, f"../blob-{name}")))
    yield sd("uppercase_ext", rename(path, path.replace(".safetensors", ".SAFETENSORS")))
    yield sd("renamed", rename(path, f"{name}/weights.safetensors"))
    other = "model.safetensors" if "diffusion" in path else "diffusion_pytorch_model.safetensors"
    yield sd("other_library_name", rename(path, f"{name}/{other}"))
    yield sd("incomplete_suffix", rename(path, f"{path}.incomplete"))
    yield sd("fp16_name_only", rename(path, path.replace(".safetensors", ".fp16.safetensors")))
    yield sd("non_ema_name_only", rename(path, path.replace(".safetensors", ".non_ema.safetensors")))
    yield sd("in_root", rename(path, Path(path).name))
    yield sd("zip_inside", write(path, b"PK\x03\x04" + bytes(200)))
    yield sd("bin_name_only", rename(path, BIN[name]))


def _header(name: str, path: str) -> Iterator[Change]:
    def sd(what: str, step: Step) -> Change:
        return Change(f"weights_{what}_{name}", "sd-tiny", step)

    def header(what: str, edit: Callable[[Header], Header | str | bytes]) -> Change:
        return sd(f"header_{what}", edit_header(path, edit))

    def first(edit: Callable[[dict[str, object]], object]) -> Callable[[Header], Header]:
        def run(content: Header) -> Header:
            edit(content[next(key for key in content if key != "__metadata__")])
            return content

        return run

    garbage = "weights_header_garbage_len" + ("" if name == "unet" else f"_{name}")
    yield Change(garbage, "sd-tiny", rewrite(path, lambda content: b"\xff" * 8 + content[8:]))
    yield sd("header_length_limit", rewrite(path, lambda content: struct.pack("<Q", 100_000_001) + content[8:]))
    yield sd("header_length_short", rewrite(path, lambda content: struct.pack("<Q", 20) + content[8:]))
    yield header("spaces_after", lambda content: json.dumps(content) + " " * 64)
    yield header("spaces_before", lambda content: " " * 64 + json.dumps(content))
    yield header("newlines", lambda content: json.dumps(content, indent=1))
    yield header("sorted_backwards", lambda content: dict(reversed(content.items())))
    yield header("metadata_missing", lambda content: {k: v for k, v in content.items() if k != "__metadata__"})
    yield header("metadata_empty", lambda content: {**content, "__metadata__": {}})
    yield header("metadata_null", lambda content: {**content, "__metadata__": None})
    yield header("metadata_number", lambda content: {**content, "__metadata__": {"format": "pt", "step": 5}})
    yield header("metadata_list", lambda content: {**content, "__metadata__": ["pt"]})
    yield header("metadata_format_tf", lambda content: {**content, "__metadata__": {"format": "tf"}})
    yield header("metadata_format_unknown", lambda content: {**content, "__metadata__": {"format": "x"}})
    yield header("metadata_other", lambda content: {**content, "__metadata__": {"note": "by hand"}})
    yield header("array", lambda content: json.dumps([content]))
    yield header("null", lambda _content: "null")
    yield header("bom", lambda content: b"\xef\xbb\xbf" + json.dumps(content).encode())
    yield header("trailing_text", lambda content: json.dumps(content) + "x")
    yield header("nul_after", lambda content: json.dumps(content) + "\0\0")
    yield header("not_utf8", lambda content: json.dumps(content).encode()[:-1] + b',"\xff":1}')
    yield header("trailing_comma", lambda content: json.dumps(content)[:-1] + ",}")
    yield header("nan", lambda content: json.dumps(content)[:-1] + ',"x":NaN}')
    yield header("duplicate_name", _twice)
    yield header("dtype_unknown", first(lambda entry: entry.update(dtype="F31")))
    yield header("dtype_lower_case", first(lambda entry: entry.update(dtype="f32")))
    yield header("dtype_f64_same_bytes", first(lambda entry: entry.update(dtype="F64")))
    yield header("dtype_i32_same_bytes", first(lambda entry: entry.update(dtype="I32")))
    yield header("field_missing", first(lambda entry: entry.pop("dtype")))
    yield header("field_extra", first(lambda entry: entry.update(note="x")))
    yield header("shape_negative", first(lambda entry: entry.update(shape=[-1])))
    yield header("shape_float", first(lambda entry: entry.update(shape=[1.0])))
    yield header("shape_string", first(lambda entry: entry.update(shape="4")))
    yield header("shape_too_large", first(lambda entry: entry.update(shape=[2**40, 2**40])))
    yield header("offsets_one", first(lambda entry: entry.update(data_offsets=[0])))
    yield header("offsets_three", first(lambda entry: entry.update(data_offsets=[0, 4, 8])))
    yield header("offsets_reversed", first(lambda entry: entry.update(data_offsets=[16, 0])))
    yield header("offsets_past_end", first(lambda entry: entry.update(data_offsets=[10**9, 10**9 + 16])))
    yield header("offsets_negative", first(lambda entry: entry.update(data_offsets=[-16, 0])))
    yield sd("overlapping_offsets", edit_header(path, _overlap))
    yield sd("gap_in_data", rewrite(path, _gap))
    yield sd("no_entries_empty_object", write(path, joined({}, b"")))


def _twice(content: Header) -> str:
    key = next(key for key in content if key != "__metadata__")
    return "{" + json.dumps(key) + ":" + json.dumps(content[key]) + "," + json.dumps(content)[1:]


def _overlap(content: Header) -> Header:
    names = [key for key in content if key != "__metadata__"]
    pairs = itertools.combinations(names, 2)
    first, second = next(pair for pair in pairs if content[pair[0]]["shape"] == content[pair[1]]["shape"])
    content[second]["data_offsets"] = content[first]["data_offsets"]
    return content


def _gap(content: bytes) -> bytes:
    header, data = split(content)
    for key, entry in header.items():
        if key != "__metadata__":
            entry["data_offsets"] = [offset + 16 for offset in entry["data_offsets"]]
    return joined(header, bytes(16) + data)


def _beside() -> Iterator[Change]:
    def sd(what: str, step: Step) -> Change:
        return Change(f"weights_{what}", "sd-tiny", step)

    def everything(root: Path) -> None:
        """The weights of every component that the bundle has: the safety checker is left out of some."""
        remove(*(path for path in WEIGHTS.values() if (root / path).exists()))(root)

    yield sd("gguf_only", steps(remove(UNET), write("unet/model-Q4_0.gguf", b"GGUF" + bytes(64))))
    yield sd("onnx_only", steps(remove(UNET), write("unet/model.onnx", bytes(64))))
    yield sd("msgpack_only", steps(remove(UNET), write("unet/diffusion_flax_model.msgpack", bytes(64))))
    yield sd("openvino_only", steps(remove(UNET), write("unet/openvino_model.bin", bytes(64))))
    yield sd("ckpt_only_unet", rename(UNET, "unet/diffusion_pytorch_model.ckpt"))
    yield sd("pt_only_text_encoder", rename(TEXT, "text_encoder/pytorch_model.pt"))
    yield sd("h5_only_text_encoder", steps(remove(TEXT), write("text_encoder/tf_model.h5", bytes(64))))
    yield sd("flax_only_text_encoder", steps(remove(TEXT), write("text_encoder/flax_model.msgpack", bytes(64))))
    yield sd("root_ckpt_only", steps(everything, write("v1-5-pruned.ckpt", bytes(64))))
    yield sd("root_safetensors_only", steps(everything, write("v1-5-pruned.safetensors", bytes(64))))
    yield sd("all_missing", everything)
    yield sd("swapped_unet_vae", swap(UNET, VAE))
    yield sd("swapped_text_encoder_safety_checker", swap(TEXT, WEIGHTS["safety_checker"]))
    yield sd("unet_is_text_encoder_file", copy(TEXT, UNET))
    for name, path in WEIGHTS.items():
        short = "te" if name == "text_encoder" else name
        yield sd(f"bin_beside_{short}", write(BIN[name], b"not a pickle"))
        yield sd(f"bin_beside_zero_safetensors_{short}", steps(copy(path, BIN[name]), write(path, b"")))
        index = f"{path}.index.json"
        stale = {"metadata": {"total_size": 1}, "weight_map": {"x": Path(path).name.replace(".", "-00001-of-00001.")}}
        yield sd(f"stale_index_beside_{short}", write(index, json.dumps(stale)))
        yield sd(f"broken_index_beside_{short}", write(index, b"no"))
        yield sd(f"no_tensors_{short}", edit_tensors(path, lambda _tensors: {}))
        good = edit_tensors(path, lambda tensors: tensors)
        pointed = steps(good, _index_of(path))
        yield sd(f"whole_index_beside_{short}", pointed)
    yield sd("no_tensors", edit_tensors(UNET, lambda _tensors: {}))
    sdxl = swap("text_encoder/model.safetensors", "text_encoder_2/model.safetensors")
    yield Change("weights_swapped_sdxl_text_encoders", "sdxl-tiny", sdxl)
    yield Change("weights_swapped_flux_text_encoders", "flux-tiny", swap(TEXT, T5))


def _index_of(path: str) -> Step:
    def run(root: Path) -> None:
        header, _ = split((root / path).read_bytes())
        names = {key: Path(path).name for key in header if key != "__metadata__"}
        content = {"metadata": {"total_size": 1}, "weight_map": names}
        (root / f"{path}.index.json").write_text(json.dumps(content), encoding="utf-8")

    return run


def _pickles() -> Iterator[Change]:
    yield Change("bin_safetensors_inside", "sd-tiny-bin", _safetensors_as_bin("unet"))
    for name, path in BIN.items():
        yield Change(f"bin_zero_byte_{name}", "sd-tiny-bin", write(path, b""))
        yield Change(f"bin_truncated_{name}", "sd-tiny-bin", halve(path))
        yield Change(f"bin_truncated_by_one_{name}", "sd-tiny-bin", cut(path, 1))
        yield Change(f"bin_trailing_byte_{name}", "sd-tiny-bin", append(path, b"\0"))
        yield Change(f"bin_lfs_pointer_{name}", "sd-tiny-bin", write(path, LFS_POINTER))
        yield Change(f"bin_malicious_{name}", "sd-tiny-bin", write(path, b"cos\nsystem\n(S'true'\ntR."))
        yield Change(f"bin_not_a_pickle_{name}", "sd-tiny-bin", write(path, b"hello world, this is text"))
        yield Change(f"bin_missing_{name}", "sd-tiny-bin", remove(path))
        yield Change(f"bin_refused_by_argument_{name}", "sd-tiny-bin", nothing, {"use_safetensors": True})
    swapped = swap(BIN["unet"], BIN["vae"])
    yield Change("bin_swapped_unet_vae", "sd-tiny-bin", swapped)
    yield Change("bin_other_library_name_unet", "sd-tiny-bin", rename(BIN["unet"], "unet/pytorch_model.bin"))
    yield Change("bin_zip_without_pickle_unet", "sd-tiny-bin", write(BIN["unet"], b"PK\x05\x06" + bytes(18)))


def _safetensors_as_bin(component: str) -> Step:
    """A sound safetensors file under the pickle's name."""
    tensor = {"conv_in.bias": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}
    return write(BIN[component], joined(tensor, bytes(16)))
