"""Changes to what stands in a bundle's folders: missing and linked ones, files in the root, junk, cache snapshots."""

import os
from collections.abc import Iterator
from pathlib import Path

from tests.cases.change import Change, Step, copy, directory, link, mode, move_outside, remove, rename, steps, write
from tests.cases.spec import PARTS, tag

UNET = "unet/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"


def place_changes() -> Iterator[Change]:
    """Folders, flat bundles, junk, the hub's cache."""
    yield from _folders()
    yield from _flat()
    yield from _junk()
    yield from _snapshots()


def _folders() -> Iterator[Change]:
    for base, names in PARTS.items():
        for name in names:
            yield Change(f"dir_missing_{tag(base, name)}", base, remove(name))
    for name in PARTS["sd-tiny"]:
        yield Change(f"dir_empty_{name}", "sd-tiny", steps(remove(name), directory(name)))
        yield Change(f"dir_is_file_{name}", "sd-tiny", steps(remove(name), write(name, b"a file")))
        yield Change(f"dir_symlink_outside_{name}", "sd-tiny", move_outside(name))
    for name in ("unet", "text_encoder", "tokenizer", "scheduler"):
        yield Change(f"dir_unreadable_{name}", "sd-tiny", mode(name, 0))
        yield Change(f"dir_not_searchable_{name}", "sd-tiny", mode(name, 0o400))
        yield Change(f"dir_not_listable_{name}", "sd-tiny", mode(name, 0o100))
        yield Change(f"dir_upper_case_{name}", "sd-tiny", rename(name, name.capitalize()))
    yield Change("dir_empty_flux_tokenizer_2", "flux-tiny", steps(remove("tokenizer_2"), directory("tokenizer_2")))
    yield Change("dir_symlink_dangling", "sd-tiny", steps(remove("unet"), link("unet", "nowhere")))
    yield Change("dir_symlink_dangling_tokenizer", "sd-tiny", steps(remove("tokenizer"), link("tokenizer", "nowhere")))
    yield Change("dir_symlink_dangling_scheduler", "sd-tiny", steps(remove("scheduler"), link("scheduler", "nowhere")))
    yield Change("dir_symlink_loop", "sd-tiny", steps(remove("unet"), link("unet", "unet")))
    yield Change("dir_symlink_inside", "sd-tiny", steps(rename("unet", "real"), link("unet", "real")))
    yield Change("dir_symlink_to_root", "sd-tiny", steps(remove("tokenizer"), link("tokenizer", ".")))
    yield Change(
        "dir_symlink_to_other_component", "sdxl-tiny", steps(remove("tokenizer_2"), link("tokenizer_2", "tokenizer"))
    )
    nested = steps(rename("unet", "kept"), rename("kept", "unet/unet"))
    yield Change("dir_nested_twice_unet", "sd-tiny", nested)
    yield Change("dir_extra_component", "sd-tiny", copy("unet", "unet_2"))
    yield Change("dir_extra_empty", "sd-tiny", directory("assets"))
    yield Change("dir_trailing_space_unet", "sd-tiny", rename("unet", "unet "))


def _flat() -> Iterator[Change]:
    def up(folder: str) -> Step:
        def run(root: Path) -> None:
            for entry in list((root / folder).iterdir()):
                entry.rename(root / entry.name)
            (root / folder).rmdir()

        return run

    yield Change("flat_scheduler_config_in_root", "sd-tiny", up("scheduler"))
    for name in ("unet", "vae", "text_encoder", "tokenizer", "feature_extractor", "safety_checker"):
        yield Change(f"flat_{name}_in_root", "sd-tiny", up(name))
    yield Change("flat_tokenizer_v5_in_root", "sd-tiny-nosafety", up("tokenizer"))
    yield Change(
        "flat_unet_config_only_in_root", "sd-tiny", steps(copy("unet/config.json", "config.json"), remove("unet"))
    )
    weights = "diffusion_pytorch_model.safetensors"
    yield Change("flat_unet_weights_only_in_root", "sd-tiny", steps(copy(UNET, weights), remove("unet")))
    other = steps(up("vae"), remove("unet"))
    yield Change("flat_vae_in_root_unet_missing", "sd-tiny", other)
    kept = steps(copy("unet/config.json", "config.json"), rename(UNET, weights))
    yield Change("flat_unet_weights_moved_to_root", "sd-tiny", kept)
    yield Change(
        "flat_tokenizer_vocab_only_in_root",
        "sd-tiny",
        steps(rename("tokenizer/vocab.json", "vocab.json"), remove("tokenizer")),
    )
    yield Change("flat_tokenizer_vocab_moved_to_root", "sd-tiny", rename("tokenizer/vocab.json", "vocab.json"))
    index = steps(up("tokenizer"), write("config.json", b"{}"))
    yield Change("flat_tokenizer_and_config_in_root", "sd-tiny", index)


def _junk() -> Iterator[Change]:
    names = (".DS_Store", "unet/.DS_Store", "unet/._config.json", "vae/Thumbs.db", "desktop.ini", "__MACOSX/._x")
    yield Change("junk_os_files", "sd-tiny", steps(*(write(name, b"junk") for name in names)))
    zone = steps(
        write(f"{UNET}:Zone.Identifier", b"[ZoneTransfer]"), write("tokenizer/vocab.json:Zone.Identifier", b"x")
    )
    yield Change("junk_zone_identifier", "sd-tiny", zone)
    shadow = write("unet/._diffusion_pytorch_model.safetensors", b"junk")
    yield Change("junk_appledouble_weights", "sd-tiny", shadow)
    yield Change("junk_incomplete_download_and_file_missing", "sd-tiny", rename(UNET, f"{UNET}.incomplete"))
    yield Change("junk_incomplete_download_beside", "sd-tiny", write(f"{UNET}.incomplete", b"part"))
    cache = ".cache/huggingface/download/unet/abc.1234.incomplete"
    yield Change("junk_incomplete_in_local_dir_cache", "sd-tiny", write(cache, b"part"))
    metadata = ".cache/huggingface/download/unet/config.json.metadata"
    yield Change("junk_local_dir_cache_metadata", "sd-tiny", write(metadata, b"0123\nabcd\n1700000000.0\n"))
    yield Change(
        "junk_aria2_and_part_files", "sd-tiny", steps(write(f"{UNET}.aria2", b"x"), write(f"{TEXT}.part", b"x"))
    )
    yield Change("junk_crdownload", "sd-tiny", write(f"{UNET}.crdownload", b"x"))
    git = steps(
        write(".git/HEAD", b"ref: refs/heads/main\n"),
        write(".git/lfs/objects/aa/bb", b"x"),
        write(".gitattributes", b"x"),
    )
    yield Change("junk_git_dir", "sd-tiny", git)
    yield Change("junk_extra_root_checkpoint", "sd-tiny", write("v1-5-pruned.ckpt", b"not a checkpoint"))
    yield Change("junk_extra_root_safetensors", "sd-tiny", write("v1-5-pruned.safetensors", b"not a checkpoint"))
    yield Change("junk_extra_root_model_safetensors", "sd-tiny", write("model.safetensors", b"not a checkpoint"))
    readme = "---\nlicense: mit\npipeline_tag: text-to-image\nprior: [somebody/prior]\n---\n# A model\n"
    yield Change(
        "junk_readme",
        "sd-tiny",
        steps(write("README.md", readme), write("LICENSE.txt", b"x"), write("image.png", b"x")),
    )
    yield Change("junk_readme_not_utf8", "sd-tiny", write("README.md", b"---\n\xff\xfe: x\n---\n"))
    yield Change("junk_no_extension_in_unet", "sd-tiny", write("unet/LICENSE", b"x"))
    formats = ("flax_model.msgpack", "tf_model.h5", "model.onnx", "openvino_model.bin", "model.ckpt", "rust_model.ot")
    beside = steps(*(write(f"text_encoder/{name}", b"junk") for name in formats))
    yield Change("junk_other_formats_text_encoder", "sd-tiny", beside)
    yield Change("junk_code_in_component", "sd-tiny", write("unet/modeling_unet.py", b"raise SystemExit\n"))
    yield Change("junk_code_in_root", "sd-tiny", write("pipeline.py", b"raise SystemExit\n"))
    yield Change("junk_config_in_root", "sd-tiny", write("config.json", b"not json"))
    yield Change("junk_generation_config_broken", "sd-tiny", write("text_encoder/generation_config.json", b"not json"))
    yield Change("junk_adapter_config_text_encoder", "sd-tiny", write("text_encoder/adapter_config.json", b"{}"))
    yield Change("junk_adapter_config_broken_text_encoder", "sd-tiny", write("text_encoder/adapter_config.json", b"no"))
    yield Change("junk_guider_config", "sd-tiny", write("unet/guider_config.json", b"no"))
    yield Change("junk_name_not_utf8", "sd-tiny", _name_not_utf8)
    yield Change("junk_socket_like_fifo_in_unet", "sd-tiny", lambda root: os.mkfifo(root / "unet" / "pipe"))
    yield Change("readonly_bundle", "sd-tiny", _read_only)


def _name_not_utf8(root: Path) -> None:
    (root / "unet" / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"x")


def _read_only(root: Path) -> None:
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            (Path(folder) / name).chmod(0o444)
        Path(folder).chmod(0o555)


def _blob(root: Path, path: str) -> Path:
    return (root / path).resolve()


def _snapshots() -> Iterator[Change]:
    def blob_missing(root: Path) -> None:
        _blob(root, UNET).unlink()

    def blob_incomplete(root: Path) -> None:
        blob = _blob(root, UNET)
        blob.rename(blob.with_name(blob.name + ".incomplete"))
        (root / UNET).unlink()

    def config_blob_missing(root: Path) -> None:
        _blob(root, "unet/config.json").unlink()

    def without_blobs(root: Path) -> None:
        (root.parent.parent / "blobs").rename(root.parent.parent / "elsewhere")

    def tokenizer_blob_missing(root: Path) -> None:
        _blob(root, "tokenizer/vocab.json").unlink()

    def absolute(root: Path) -> None:
        for entry in list(root.rglob("*")):
            if entry.is_symlink():
                target = entry.resolve()
                entry.unlink()
                entry.symlink_to(target)

    def moved(root: Path) -> None:
        root.rename(root.parent.parent / "snapshot")

    yield Change("hfcache_blob_missing", "hfcache", blob_missing)
    yield Change("hfcache_blob_missing_config", "hfcache", config_blob_missing)
    yield Change("hfcache_blob_missing_tokenizer", "hfcache", tokenizer_blob_missing)
    yield Change("hfcache_blob_incomplete", "hfcache", blob_incomplete)
    yield Change("hfcache_copied_without_blobs", "hfcache", without_blobs)
    yield Change("hfcache_absolute_links", "hfcache", absolute)
    yield Change("hfcache_snapshot_moved_up", "hfcache", moved, place="../../snapshot")
    yield Change("hfcache_repository_root", "hfcache", lambda _root: None, place="../..")
    yield Change("hfcache_no_refs", "hfcache", remove("../../refs"))
