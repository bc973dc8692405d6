"""Changes to sharded weights: the shards, and the index that names them."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.cases.change import (
    LFS_POINTER,
    Change,
    Step,
    append,
    cut,
    edit_json,
    halve,
    link,
    mode,
    move_outside,
    remove,
    rename,
    rewrite,
    set_keys,
    steps,
    write,
)
from tests.cases.tensors import Tensor, Tensors, grown, read_tensors, write_tensors

BASE = "sdxl-tiny-sharded"
INDEXES: Mapping[str, str] = {
    "unet": "unet/diffusion_pytorch_model.safetensors.index.json",
    "text_encoder": "text_encoder/model.safetensors.index.json",
    "text_encoder_2": "text_encoder_2/model.safetensors.index.json",
}
Content = dict[str, Any]


def shard_changes() -> Iterator[Change]:
    """Each change for a model of diffusers and for models of transformers."""
    for name, index in INDEXES.items():
        yield from _shard(name, index)
        yield from _index_file(name, index)
        yield from _index(name, index)


def on_shard(index: str, step: Callable[[str], Step], *, last: bool = False) -> Step:
    """A step on the first (or last) shard that an index names."""

    def run(root: Path) -> None:
        pick = max if last else min
        step(str(Path(index).parent / pick(json.loads((root / index).read_text())["weight_map"].values())))(root)

    return run


def _shard(name: str, index: str) -> Iterator[Change]:
    def change(what: str, step: Callable[[str], Step]) -> Change:
        return Change(f"shard_{what}_{name}", BASE, on_shard(index, step))

    yield change("missing", remove)
    yield Change(f"shard_missing_last_{name}", BASE, on_shard(index, remove, last=True))
    yield change("truncated", halve)
    yield change("truncated_by_one", lambda path: cut(path, 1))
    yield change("trailing_byte", lambda path: append(path, b"\0"))
    yield change("zero_byte", lambda path: write(path, b""))
    yield change("lfs_pointer", lambda path: write(path, LFS_POINTER))
    yield change("unreadable", lambda path: mode(path, 0))
    yield change("dangling_symlink", lambda path: steps(remove(path), link(path, "nowhere")))
    yield change("symlink_outside", move_outside)
    yield change("is_directory", lambda path: steps(remove(path), write(f"{path}/x", b"x")))
    yield change("incomplete_suffix", lambda path: rename(path, f"{path}.incomplete"))
    yield change("renamed", lambda path: rename(path, path.replace("00001-of", "1-of")))
    yield change("missing_tensor", lambda path: _edit(path, lambda tensors: dict(sorted(tensors.items())[1:])))
    yield change("missing_last_tensor", lambda path: _edit(path, lambda tensors: dict(sorted(tensors.items())[:-1])))
    yield change("extra_tensor", lambda path: _edit(path, lambda t: {**t, "made.up": Tensor("F32", (2,), bytes(8))}))
    yield change("no_tensors", lambda path: _edit(path, lambda _tensors: {}))
    yield change("grown_tensor", lambda path: _edit(path, _first_grown))

    def swapped(root: Path) -> None:
        names = sorted(set(json.loads((root / index).read_text())["weight_map"].values()))
        first, second = (root / Path(index).parent / part for part in names[:2])
        kept = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(kept)

    yield Change(f"shard_files_swapped_{name}", BASE, swapped)


def _first_grown(tensors: Tensors) -> Tensors:
    name = min(tensors)
    return {**tensors, name: grown(tensors[name])}


def _edit(path: str, edit: Callable[[Tensors], Tensors]) -> Step:
    def run(root: Path) -> None:
        write_tensors(root / path, edit(read_tensors(root / path)))

    return run


def _index_file(name: str, index: str) -> Iterator[Change]:
    def change(what: str, step: Step) -> Change:
        return Change(f"shard_index_{what}_{name}", BASE, step)

    yield change("missing", remove(index))
    yield change("zero_byte", write(index, b""))
    yield change("truncated", halve(index))
    yield change("lfs_pointer", write(index, LFS_POINTER))
    yield change("array", rewrite(index, lambda content: b"[" + content + b"]"))
    yield change("bom", rewrite(index, lambda content: b"\xef\xbb\xbf" + content))
    yield change("nan", rewrite(index, lambda content: content.replace(b"{", b'{"x": NaN,', 1)))
    yield change("unreadable", mode(index, 0))
    yield change("dangling_symlink", steps(remove(index), link(index, "nowhere")))
    yield change("symlink_outside", move_outside(index))


def _index(name: str, index: str) -> Iterator[Change]:
    def change(what: str, step: Step) -> Change:
        return Change(f"shard_index_{what}_{name}", BASE, step)

    def mapped(edit: Callable[[dict[str, Any]], dict[str, Any]]) -> Step:
        def run(content: Content) -> None:
            content["weight_map"] = edit(content["weight_map"])

        return edit_json(index, run)

    def first_to(value: object) -> Step:
        return mapped(lambda names: {**names, min(names): value})

    def escaped(root: Path) -> None:
        content = json.loads((root / index).read_text())
        shard = min(content["weight_map"].values())
        (root / Path(index).parent / shard).rename(root.parent / shard)
        content["weight_map"] = {k: f"../../{v}" if v == shard else v for k, v in content["weight_map"].items()}
        (root / index).write_text(json.dumps(content))

    def in_subfolder(root: Path) -> None:
        content = json.loads((root / index).read_text())
        shard = min(content["weight_map"].values())
        folder = root / Path(index).parent
        (folder / "parts").mkdir()
        (folder / shard).rename(folder / "parts" / shard)
        content["weight_map"] = {k: f"parts/{v}" if v == shard else v for k, v in content["weight_map"].items()}
        (root / index).write_text(json.dumps(content))

    yield change("no_metadata", edit_json(index, lambda content: content.pop("metadata")))
    yield change("metadata_empty", set_keys(index, {"metadata": {}}))
    yield change("metadata_null", set_keys(index, {"metadata": None}))
    yield change("metadata_list", set_keys(index, {"metadata": []}))
    yield change("metadata_string", set_keys(index, {"metadata": "x"}))
    yield change("metadata_size_wrong", set_keys(index, {"metadata": {"total_size": 1}}))
    yield change("metadata_size_string", set_keys(index, {"metadata": {"total_size": "many"}}))
    yield change("no_weight_map", edit_json(index, lambda content: content.pop("weight_map")))
    yield change("empty_weight_map", set_keys(index, {"weight_map": {}}))
    yield change("weight_map_null", set_keys(index, {"weight_map": None}))
    yield change("weight_map_list", set_keys(index, {"weight_map": ["a"]}))
    yield change("weight_map_value_number", first_to(1))
    yield change("weight_map_value_null", first_to(None))
    yield change("weight_map_value_empty", first_to(""))
    yield change("lists_missing_shard", mapped(lambda names: {**names, "made.up": "model-00009-of-00009.safetensors"}))
    yield change("lists_missing_tensor", mapped(lambda names: {**names, "made.up": names[min(names)]}))
    yield change("omits_tensor", mapped(lambda names: {k: v for k, v in names.items() if k != min(names)}))
    omitted = mapped(lambda names: {k: v for k, v in names.items() if v != min(names.values())})
    yield change("omits_shard", omitted)
    yield change("tensor_in_other_shard", mapped(lambda names: {**names, min(names): max(names.values())}))
    yield change("path_escape", escaped)
    yield change("path_in_subfolder", in_subfolder)
    yield change("path_absolute", first_to("/nowhere/model.safetensors"))
    yield change("path_dot", mapped(lambda names: {key: f"./{value}" for key, value in names.items()}))
    yield change("extra_key", set_keys(index, {"made_up": 1}))
    fp16 = index.replace(".index.json", ".index.fp16.json")
    yield change("variant_name_only", rename(index, fp16))
