"""Changes to the bundle as a whole, to model_index.json as a file, and to the class it names."""

import json
from collections.abc import Iterator
from pathlib import Path

from tests.cases.change import (
    LFS_POINTER,
    Change,
    Step,
    append,
    directory,
    drop_keys,
    edit_json,
    link,
    mode,
    move_outside,
    nothing,
    pipe,
    remove,
    rename,
    rewrite,
    set_keys,
    steps,
    write,
)

INDEX = "model_index.json"


def index_changes() -> Iterator[Change]:
    """Controls, the bundle's path, the index file, the pipeline class, the other keys."""
    yield from _controls()
    yield from _bundle()
    yield from _file()
    yield from _class()
    yield from _keys()


def _controls() -> Iterator[Change]:
    for base in ("sd-tiny", "sd-tiny-nosafety", "sd-tiny-bin", "sd-tiny-both", "sdxl-tiny", "sdxl-tiny-sharded"):
        yield Change(f"control_{base}", base, nothing)
    for base in ("flux-tiny", "sd3-tiny", "pixart-tiny", "hfcache", "custom-pipeline"):
        yield Change(f"control_{base}", base, nothing)
    yield Change("control_ddpm_not_text_to_image", "ddpm-tiny", nothing)
    yield Change("control_inpaint_not_text_to_image", "sd-inpaint-tiny", nothing)
    yield Change("control_fp16only_no_variant_kw", "sd-tiny-fp16only", nothing)
    yield Change("control_fp16only_variant_kw_no_dtype", "sd-tiny-fp16only", nothing, {"variant": "fp16"})
    fp16 = {"variant": "fp16", "torch_dtype": "float16"}
    yield Change("control_fp16only_variant_kw_fp16", "sd-tiny-fp16only", nothing, fp16)
    yield Change("control_both_variants_default_fp32", "sd-tiny-both", nothing, {"torch_dtype": "float32"})
    yield Change("control_both_variants_fp16", "sd-tiny-both", nothing, fp16)


def _bundle() -> Iterator[Change]:
    def empty(root: Path) -> None:
        remove(*(entry.name for entry in root.iterdir()))(root)

    def move(root: Path) -> None:
        target = root.parent / "a folder" / "bündel ü%20"
        target.parent.mkdir()
        root.rename(target)

    def link_to_bundle(root: Path) -> None:
        link("../link", root.name)(root)

    yield Change("bundle_is_empty_dir", "sd-tiny", empty)
    yield Change("bundle_dir_unreadable", "sd-tiny", mode(".", 0))
    yield Change("bundle_path_missing", "sd-tiny", remove("."))
    yield Change("bundle_is_a_safetensors_file", "sd-tiny", nothing, place="unet/diffusion_pytorch_model.safetensors")
    yield Change("bundle_is_a_component", "sd-tiny", nothing, place="unet")
    yield Change("bundle_is_the_parent_folder", "sd-tiny", nothing, place="..")
    yield Change("bundle_is_a_symlink", "sd-tiny", link_to_bundle, place="../link")
    yield Change("bundle_is_a_dangling_symlink", "sd-tiny", link("../link", "no"), place="../link")
    yield Change("path_with_spaces_unicode", "sd-tiny", move, place="../a folder/bündel ü%20")
    yield Change("path_with_trailing_dots", "sd-tiny", nothing, place="unet/..")


def _file() -> Iterator[Change]:
    def sd(name: str, step: Step) -> Change:
        return Change(f"index_{name}", "sd-tiny", step)

    def twice(content: bytes) -> bytes:
        return content.replace(b"{", b'{"_class_name": "FluxPipeline", "unet": ["diffusers", "VQModel"],', 1)

    yield sd("utf16", rewrite(INDEX, lambda content: content.decode().encode("utf-16")))
    yield sd("latin1", rewrite(INDEX, lambda content: content.replace(b"{", '{"_ü": "ü",'.encode("latin-1"), 1)))
    yield sd("bom", rewrite(INDEX, lambda content: b"\xef\xbb\xbf" + content))
    yield sd("trailing_comma", rewrite(INDEX, lambda content: content.rstrip()[:-1].rstrip() + b",\n}"))
    yield sd("comment", rewrite(INDEX, lambda content: b"// made by hand\n" + content))
    yield sd("crlf", rewrite(INDEX, lambda content: content.replace(b"\n", b"\r\n")))
    yield sd("one_line", rewrite(INDEX, lambda content: json.dumps(json.loads(content)).encode()))
    yield sd("single_quotes", rewrite(INDEX, lambda content: content.replace(b'"', b"'")))
    yield sd("unreadable", mode(INDEX, 0))
    yield sd("missing", remove(INDEX))
    yield sd("empty_file", write(INDEX, b""))
    yield sd("whitespace_only", write(INDEX, b" \n"))
    yield sd("empty_object", write(INDEX, b"{}"))
    yield sd("array", rewrite(INDEX, lambda content: b"[" + content + b"]"))
    yield sd("null", write(INDEX, b"null"))
    yield sd("string", write(INDEX, b'"StableDiffusionPipeline"'))
    yield sd("number", write(INDEX, b"1"))
    yield sd("truncated", rewrite(INDEX, lambda content: content[: len(content) // 2]))
    yield sd("trailing_text", append(INDEX, b"\n}"))
    yield sd("trailing_nul", append(INDEX, b"\0"))
    yield sd("two_documents", rewrite(INDEX, lambda content: content + content))
    yield sd("zeros", rewrite(INDEX, lambda content: bytes(len(content))))
    yield sd("lfs_pointer", write(INDEX, LFS_POINTER))
    yield sd("html", write(INDEX, b"<!DOCTYPE html><html><body>404</body></html>"))
    yield sd("nan", rewrite(INDEX, lambda content: content.replace(b"{", b'{"_x": NaN, "_y": -Infinity,', 1)))
    yield sd("huge_integer", rewrite(INDEX, lambda content: content.replace(b"{", b'{"_x": ' + b"1" * 5000 + b",", 1)))
    yield sd("long_float", rewrite(INDEX, lambda content: content.replace(b"{", b'{"_x": 1e999,', 1)))
    yield sd("duplicate_keys_last_wins", rewrite(INDEX, twice))
    yield sd("lone_surrogate", rewrite(INDEX, lambda content: content.replace(b"{", b'{"_x": "\\ud800",', 1)))
    yield sd("control_character", rewrite(INDEX, lambda content: content.replace(b"{", b'{"_x": "a\x01b",', 1)))
    yield sd("tab_in_string", rewrite(INDEX, lambda content: content.replace(b"{", b'{"_x": "a\tb",', 1)))
    yield sd("leading_zero", rewrite(INDEX, lambda content: content.replace(b"{", b'{"_x": 01,', 1)))
    yield sd("bad_escape", rewrite(INDEX, lambda content: content.replace(b"{", b'{"_x": "\\x41",', 1)))
    yield sd("overlong_utf8", rewrite(INDEX, lambda content: content.replace(b"{", b'{"_x": "\xc0\xaf",', 1)))
    yield sd("surrogate_utf8", rewrite(INDEX, lambda content: content.replace(b"{", b'{"_x": "\xed\xa0\x80",', 1)))
    deep = b'{"_x": ' + b"[" * 200 + b"]" * 200 + b","
    yield sd("nested_200", rewrite(INDEX, lambda content: content.replace(b"{", deep, 1)))
    yield sd("nested_100000", rewrite(INDEX, lambda content: content.replace(b"{", deep.replace(b"[", b"[" * 500), 1)))
    yield sd("vertical_tab_whitespace", rewrite(INDEX, lambda content: b"\x0b" + content))
    yield sd("is_directory", steps(remove(INDEX), directory(INDEX)))
    yield sd("wrong_case", rename(INDEX, "Model_Index.json"))
    yield sd("modular_only", rename(INDEX, "modular_model_index.json"))
    yield sd("in_subfolder", rename(INDEX, "unet/model_index.json"))
    yield sd("dangling_symlink", steps(remove(INDEX), link(INDEX, "nowhere.json")))
    yield sd("symlink_loop", steps(remove(INDEX), link(INDEX, INDEX)))
    yield sd("symlink_inside", steps(rename(INDEX, "real.json"), link(INDEX, "real.json")))
    yield sd("symlink_outside", move_outside(INDEX))
    yield sd("fifo", pipe(INDEX))


def _class() -> Iterator[Change]:
    values: dict[str, object] = {
        "null": None,
        "empty": "",
        "number": 7,
        "zero": 0,
        "false": False,
        "true": True,
        "object": {"a": 1},
        "empty_list": [],
        "list_of_one": ["StableDiffusionPipeline"],
        "list_diffusers": ["diffusers", "StableDiffusionPipeline"],
        "list_without_py": ["my_pipeline", "MyPipeline"],
        "list_path_escape": ["../my_pipeline", "MyPipeline"],
        "unknown": "NoSuchPipeline",
        "space": " StableDiffusionPipeline",
        "lower_case": "stablediffusionpipeline",
        "dotted": "diffusers.StableDiffusionPipeline",
        "flax_removed": "FlaxStableDiffusionPipeline",
        "renamed_lumina": "LuminaText2ImgPipeline",
        "is_base_class": "DiffusionPipeline",
        "is_model": "UNet2DConditionModel",
        "is_scheduler": "PNDMScheduler",
        "is_auto_pipeline": "AutoPipelineForText2Image",
        "is_modular": "StableDiffusionXLModularPipeline",
        "is_modular_base": "ModularPipeline",
        "is_mixin": "ModelMixin",
        "is_function": "load_image",
        "is_output": "ImagePipelineOutput",
        "is_submodule": "pipelines",
        "is_private": "_import_structure",
        "is_version": "__version__",
        "onnx": "OnnxStableDiffusionPipeline",
        "spectrogram": "SpectrogramDiffusionPipeline",
        "safe": "StableDiffusionPipelineSafe",
        "img2img": "StableDiffusionImg2ImgPipeline",
        "inpaint": "StableDiffusionInpaintPipeline",
        "image_variation": "StableDiffusionImageVariationPipeline",
        "sdxl_from_sd": "StableDiffusionXLPipeline",
        "pag": "StableDiffusionPAGPipeline",
        "sag": "StableDiffusionSAGPipeline",
        "ldm3d": "StableDiffusionLDM3DPipeline",
        "lcm": "LatentConsistencyModelPipeline",
        "alt_diffusion": "AltDiffusionPipeline",
        "attend_and_excite": "StableDiffusionAttendAndExcitePipeline",
        "text_to_video_zero": "TextToVideoZeroPipeline",
        "gligen": "StableDiffusionGLIGENPipeline",
        "controlnet": "StableDiffusionControlNetPipeline",
        "depth2img": "StableDiffusionDepth2ImgPipeline",
        "semantic": "SemanticStableDiffusionPipeline",
        "paradigms": "StableDiffusionParadigmsPipeline",
        "ldm_text_to_image": "LDMTextToImagePipeline",
        "kandinsky_combined": "KandinskyCombinedPipeline",
        "flux_from_sd": "FluxPipeline",
    }
    for name, value in values.items():
        yield Change(f"class_name_{name}", "sd-tiny", set_keys(INDEX, {"_class_name": value}))
    yield Change("class_name_absent", "sd-tiny", drop_keys(INDEX, "_class_name"))
    yield Change("class_name_sd_from_sdxl", "sdxl-tiny", set_keys(INDEX, {"_class_name": "StableDiffusionPipeline"}))
    yield Change("class_name_flux_img2img", "flux-tiny", set_keys(INDEX, {"_class_name": "FluxImg2ImgPipeline"}))
    yield Change("class_name_flux_chroma", "flux-tiny", set_keys(INDEX, {"_class_name": "ChromaPipeline"}))
    yield Change("class_name_flux_fill", "flux-tiny", set_keys(INDEX, {"_class_name": "FluxFillPipeline"}))
    yield Change("class_name_pixart_sigma", "pixart-tiny", set_keys(INDEX, {"_class_name": "PixArtSigmaPipeline"}))
    yield Change("class_name_sd3_pag", "sd3-tiny", set_keys(INDEX, {"_class_name": "StableDiffusion3PAGPipeline"}))
    yield Change("class_name_sdxl_pag", "sdxl-tiny", set_keys(INDEX, {"_class_name": "StableDiffusionXLPAGPipeline"}))
    yield Change(
        "class_name_sdxl_img2img", "sdxl-tiny", set_keys(INDEX, {"_class_name": "StableDiffusionXLImg2ImgPipeline"})
    )
    yield Change(
        "class_name_sd_from_inpaint", "sd-inpaint-tiny", set_keys(INDEX, {"_class_name": "StableDiffusionPipeline"})
    )
    yield Change("custom_pipeline_trust", "custom-pipeline", nothing, {"trust_remote_code": True})
    yield Change(
        "custom_pipeline_file_missing", "custom-pipeline", remove("my_pipeline.py"), {"trust_remote_code": True}
    )
    escaped = set_keys(INDEX, {"_class_name": ["../my_pipeline", "MyPipeline"]})
    outside = steps(rename("my_pipeline.py", "../my_pipeline.py"), escaped)
    yield Change("custom_pipeline_path_escape", "custom-pipeline", outside, {"trust_remote_code": True})


def _keys() -> Iterator[Change]:
    values: dict[str, dict[str, object]] = {
        "diffusers_version_future": {"_diffusers_version": "99.0.0"},
        "diffusers_version_garbage": {"_diffusers_version": "not a version"},
        "diffusers_version_null": {"_diffusers_version": None},
        "diffusers_version_number": {"_diffusers_version": 1},
        "diffusers_version_old": {"_diffusers_version": "0.2.3"},
        "private_key_unknown": {"_note": {"by": "hand"}},
        "private_key_name_or_path": {"_name_or_path": "runwayml/stable-diffusion-v1-5"},
        "private_key_ignore_files": {"_ignore_files": ["unet/diffusion_pytorch_model.safetensors"]},
        "private_key_module": {"_module": ["diffusers", "UNet2DConditionModel"]},
        "unknown_key_path_escape": {"../x": ["diffusers", "UNet2DConditionModel"]},
        "unknown_key_component": {"refiner": ["diffusers", "UNet2DConditionModel"]},
        "unknown_key_component_bad_library": {"refiner": ["nowhere", "Nothing"]},
        "unknown_key_null": {"refiner": None},
        "unknown_key_list_of_floats": {"scales": [1.0, 0.5]},
        "unknown_key_empty_name": {"": ["diffusers", "UNet2DConditionModel"]},
        "unknown_key_argument_name": {"torch_dtype": ["diffusers", "UNet2DConditionModel"]},
        "unknown_key_variant": {"variant": "fp16"},
        "unknown_key_self": {"self": ["diffusers", "UNet2DConditionModel"]},
        "scalar_null": {"requires_safety_checker": None},
        "scalar_string": {"requires_safety_checker": "yes"},
        "scalar_list": {"requires_safety_checker": [1, 2, 3]},
        "scalar_pair": {"requires_safety_checker": ["diffusers", "UNet2DConditionModel"]},
        "scalar_pair_of_null": {"requires_safety_checker": [None, None]},
        "scalar_object": {"requires_safety_checker": {}},
    }
    for name, change in values.items():
        yield Change(name, "sd-tiny", set_keys(INDEX, change))
    yield Change("scalar_absent", "sd-tiny", drop_keys(INDEX, "requires_safety_checker"))
    yield Change("diffusers_version_absent", "sd-tiny", drop_keys(INDEX, "_diffusers_version"))
    for key in ("force_zeros_for_empty_prompt", "add_watermarker"):
        yield Change(f"scalar_absent_sdxl_{key}", "sdxl-tiny", drop_keys(INDEX, key))
    yield Change("scalar_null_sdxl", "sdxl-tiny", set_keys(INDEX, {"force_zeros_for_empty_prompt": None}))
    yield Change("scalar_watermarker_sdxl", "sdxl-tiny", set_keys(INDEX, {"add_watermarker": True}))

    def upside_down(content: dict[str, object]) -> None:
        pairs = list(content.items())
        content.clear()
        content.update(reversed(pairs))

    yield Change("index_order_reversed", "sd-tiny", edit_json(INDEX, upside_down))
