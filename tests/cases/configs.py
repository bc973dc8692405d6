"""Changes to the configs of components as files: damaged, elsewhere, swapped."""

import json
from collections.abc import Iterator, Mapping

from tests.cases.change import (
    LFS_POINTER,
    Change,
    Step,
    append,
    copy,
    drop_keys,
    link,
    mode,
    move_outside,
    pipe,
    remove,
    rename,
    rewrite,
    set_keys,
    steps,
    swap,
    write,
)

CONFIGS: Mapping[str, str] = {
    "unet": "unet/config.json",
    "vae": "vae/config.json",
    "text_encoder": "text_encoder/config.json",
    "safety_checker": "safety_checker/config.json",
    "scheduler": "scheduler/scheduler_config.json",
    "feature_extractor": "feature_extractor/preprocessor_config.json",
}
UNET, VAE, TEXT = CONFIGS["unet"], CONFIGS["vae"], CONFIGS["text_encoder"]
SCHEDULER, FEATURES = CONFIGS["scheduler"], CONFIGS["feature_extractor"]


def config_changes() -> Iterator[Change]:
    """Every config as a file, and where it stands."""
    for name, path in CONFIGS.items():
        yield from _file(name, path)
    yield from _places()


def _file(name: str, path: str) -> Iterator[Change]:
    def sd(what: str, step: Step) -> Change:
        return Change(f"config_{what}_{name}", "sd-tiny", step)

    def key(what: str, step: Step) -> Change:
        return Change(f"config_{name}_{what}", "sd-tiny", step)

    first = b'{"in_channels": 99, "hidden_size": 99, "num_train_timesteps": 99, "crop_size": 99,'
    yield sd("truncated", rewrite(path, lambda content: content[: len(content) // 2]))
    yield sd("empty_object", write(path, b"{}"))
    yield sd("empty_file", write(path, b""))
    yield sd("missing", remove(path))
    yield sd("array", rewrite(path, lambda content: b"[" + content + b"]"))
    yield sd("null", write(path, b"null"))
    yield sd("string", write(path, b'"config"'))
    yield sd("lfs_pointer", write(path, LFS_POINTER))
    yield sd("bom", rewrite(path, lambda content: b"\xef\xbb\xbf" + content))
    yield sd("utf16", rewrite(path, lambda content: content.decode().encode("utf-16")))
    yield sd("latin1", rewrite(path, lambda content: content.replace(b"{", '{"_ü": "ü",'.encode("latin-1"), 1)))
    yield sd("crlf", rewrite(path, lambda content: content.replace(b"\n", b"\r\n")))
    yield sd("nan", rewrite(path, lambda content: content.replace(b"{", b'{"_x": NaN,', 1)))
    yield sd("trailing_comma", rewrite(path, lambda content: content.rstrip()[:-1].rstrip() + b",}"))
    yield sd("duplicate_keys", rewrite(path, lambda content: content.replace(b"{", first, 1)))
    yield sd("trailing_text", append(path, b"x"))
    yield sd("zeros", rewrite(path, lambda content: bytes(len(content))))
    yield sd("fifo", pipe(path))
    yield sd("unreadable", mode(path, 0))
    yield sd("dangling_symlink", steps(remove(path), link(path, "nowhere")))
    yield sd("symlink_outside", move_outside(path))
    yield sd("upper_case", rename(path, path.replace("config.json", "Config.json")))
    yield key("unknown_key", set_keys(path, {"x_made_up": 1}))
    yield key("class_absent", drop_keys(path, "_class_name", "architectures", "model_type", "image_processor_type"))
    yield key("quantization_config", set_keys(path, {"quantization_config": {"quant_method": "bitsandbytes"}}))
    yield key("quantization_config_null", set_keys(path, {"quantization_config": None}))
    yield key("version_future", set_keys(path, {"_diffusers_version": "99.0.0", "transformers_version": "99.0.0"}))
    yield key("version_garbage", set_keys(path, {"_diffusers_version": "x", "transformers_version": "x"}))
    yield key("auto_map", set_keys(path, {"auto_map": {"AutoModel": "modeling_x.Model", "AutoConfig": "x.Config"}}))


def _places() -> Iterator[Change]:
    yield Change("config_swapped_unet_vae", "sd-tiny", swap(UNET, VAE))
    yield Change("config_swapped_text_encoder_safety_checker", "sd-tiny", swap(TEXT, CONFIGS["safety_checker"]))
    yield Change("config_swapped_sdxl_text_encoders", "sdxl-tiny", swap(TEXT, "text_encoder_2/config.json"))
    yield Change("config_named_model_json_unet", "sd-tiny", rename(UNET, "unet/model.json"))
    yield Change("config_scheduler_named_config_json", "sd-tiny", rename(SCHEDULER, "scheduler/config.json"))
    both = steps(copy(SCHEDULER, "scheduler/config.json"), write(SCHEDULER, b"no"))
    yield Change("config_scheduler_broken_beside_config_json", "sd-tiny", both)
    yield Change("proc_named_config_json", "sd-tiny", rename(FEATURES, "feature_extractor/config.json"))
    yield Change("proc_named_processor_config", "sd-tiny", rename(FEATURES, "feature_extractor/processor_config.json"))
    yield Change(
        "proc_named_image_processor_config",
        "sd-tiny",
        rename(FEATURES, "feature_extractor/image_processor_config.json"),
    )
    yield Change("proc_nested_in_processor_config", "sd-tiny", steps(_nested(keep=False)))
    yield Change("proc_nested_beside_preprocessor_config", "sd-tiny", _nested(keep=True))
    broken = write("feature_extractor/processor_config.json", b"no")
    yield Change("proc_processor_config_broken_beside", "sd-tiny", broken)
    empty = write("feature_extractor/processor_config.json", b"{}")
    yield Change("proc_processor_config_empty_beside", "sd-tiny", empty)
    yield Change(
        "proc_processor_config_only_class",
        "sd-tiny",
        steps(
            remove(FEATURES), write("feature_extractor/processor_config.json", b'{"processor_class": "CLIPProcessor"}')
        ),
    )
    broken_first = steps(copy(FEATURES, "feature_extractor/processor_config.json"), write(FEATURES, b"no"))
    yield Change("proc_preprocessor_config_broken_beside_processor_config", "sd-tiny", broken_first)


def _nested(*, keep: bool) -> Step:
    """The image processor's settings inside processor_config.json, as transformers 5 writes whole processors."""
    target = "feature_extractor/processor_config.json"
    inside = rewrite(target, lambda content: json.dumps({"image_processor": json.loads(content)}).encode())
    return steps(copy(FEATURES, target), inside, *([] if keep else [remove(FEATURES)]))
