"""The whole bundles that changes are made to, by the names that the catalogue gives them; the project writes them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from pumas_agent.demo.bundles import BundleKind, as_cache_snapshot, write_bundle
from tests.cases.safety_checker import add_safety_checker

REPO_ID = "org/tiny"


def write_base(name: str, folder: Path) -> Path:
    """Write the base below `folder`; its root.

    Raises:
        KeyError: the project writes no base of that name.
    """
    root = folder / name
    return BASES[name](root)


def _kind(kind: BundleKind) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        write_bundle(kind, root)
        return root

    return write


def _with_safety_checker(root: Path) -> Path:
    write_bundle(BundleKind.STABLE_DIFFUSION, root)
    add_safety_checker(root, file="model.safetensors")
    return root


def _in_halves(root: Path) -> Path:
    write_bundle(BundleKind.STABLE_DIFFUSION_FP16, root)
    add_safety_checker(root, file="model.fp16.safetensors", float_type="F16")
    return root


def _with_both_variants(root: Path) -> Path:
    _with_safety_checker(root)
    half = _in_halves(root.with_name(f"{root.name}-half"))
    shutil.copytree(half, root, dirs_exist_ok=True)
    shutil.rmtree(half)
    return root


def _with_tokenizer_json(root: Path) -> Path:
    """As transformers 5 saves a tokenizer: all of it in one file."""
    write_bundle(BundleKind.STABLE_DIFFUSION, root)
    folder = root / "tokenizer"
    merges = [line for line in (folder / "merges.txt").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": "<|endoftext|>",
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "</w>",
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": json.loads((folder / "vocab.json").read_text(encoding="utf-8")),
        "merges": [line.split(" ") for line in merges],
    }
    parts = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    document: dict[str, object] = {"version": "1.0", **dict.fromkeys(parts), "added_tokens": [], "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(document, indent=2), encoding="utf-8")
    for gone in ("vocab.json", "merges.txt", "special_tokens_map.json"):
        (folder / gone).unlink()
    return root


def _with_code(root: Path) -> Path:
    write_bundle(BundleKind.STABLE_DIFFUSION, root)
    index = json.loads((root / "model_index.json").read_text())
    (root / "model_index.json").write_text(json.dumps({**index, "_class_name": ["my_pipeline", "MyPipeline"]}))
    (root / "my_pipeline.py").write_text("from diffusers import StableDiffusionPipeline as MyPipeline\n")
    return root


def _in_a_cache(root: Path) -> Path:
    whole = root / "whole"
    write_bundle(BundleKind.STABLE_DIFFUSION, whole)
    snapshot = as_cache_snapshot(whole, root, repo_id=REPO_ID)
    shutil.rmtree(whole)
    return snapshot


BASES: dict[str, Callable[[Path], Path]] = {
    "sd-tiny": _with_safety_checker,
    "sd-tiny-nosafety": _with_tokenizer_json,
    "sd-tiny-fp16only": _in_halves,
    "sd-tiny-both": _with_both_variants,
    "sd-tiny-bin": _kind(BundleKind.STABLE_DIFFUSION_PICKLE),
    "sd-inpaint-tiny": _kind(BundleKind.STABLE_DIFFUSION_INPAINT),
    "sdxl-tiny": _kind(BundleKind.STABLE_DIFFUSION_XL),
    "sdxl-tiny-sharded": _kind(BundleKind.STABLE_DIFFUSION_XL_SHARDED),
    "sd3-tiny": _kind(BundleKind.STABLE_DIFFUSION_3),
    "flux-tiny": _kind(BundleKind.FLUX),
    "pixart-tiny": _kind(BundleKind.PIXART),
    "ddpm-tiny": _kind(BundleKind.UNCONDITIONAL),
    "custom-pipeline": _with_code,
    "hfcache": _in_a_cache,
}
