"""Changes to bundles whose weights come in variants (fp16), and to what the variant is asked of."""

from collections.abc import Iterator
from pathlib import Path

from tests.cases.change import Change, Step, nothing, remove, rename, steps, write
from tests.cases.weights import WEIGHTS

FP16 = {"variant": "fp16", "torch_dtype": "float32"}
HALF = {"variant": "fp16", "torch_dtype": "float16"}


def variant_changes() -> Iterator[Change]:
    """Bundles with both, with one only, with a mixture."""

    def fp16(name: str) -> str:
        return WEIGHTS[name].replace(".safetensors", ".fp16.safetensors")

    both, only = "sd-tiny-both", "sd-tiny-fp16only"
    for name in WEIGHTS:
        suffix = "" if name == "vae" else f"_{name}"
        yield Change(f"variant_kw_partial{suffix}", both, remove(fp16(name)), FP16)
        yield Change(f"variant_plain_missing_{name}", both, remove(WEIGHTS[name]))
        yield Change(f"variant_plain_missing_{name}_kw", both, remove(WEIGHTS[name]), HALF)
        yield Change(f"variant_fp16only_plain_{name}", only, rename(fp16(name), WEIGHTS[name]))
        yield Change(f"variant_fp16only_plain_{name}_kw", only, rename(fp16(name), WEIGHTS[name]), HALF)
        yield Change(f"variant_fp16only_missing_{name}_kw", only, remove(fp16(name)), HALF)
        yield Change(f"variant_fp16only_zero_byte_{name}_kw", only, write(fp16(name), b""), HALF)
        yield Change(f"variant_both_broken_plain_{name}", both, write(WEIGHTS[name], b""))
        yield Change(f"variant_both_broken_plain_{name}_kw", both, write(WEIGHTS[name], b""), HALF)
        yield Change(f"variant_both_broken_fp16_{name}", both, write(fp16(name), b""))
        yield Change(f"variant_both_broken_fp16_{name}_kw", both, write(fp16(name), b""), HALF)
    yield Change("variant_kw_none_has_it", "sd-tiny", nothing, FP16)
    yield Change("variant_kw_other_name", both, nothing, {"variant": "ema"})
    yield Change("variant_kw_empty", both, nothing, {"variant": ""})
    yield Change("variant_kw_sharded_without", "sdxl-tiny-sharded", nothing, FP16)
    yield Change("variant_scan_no_dot_unet", both, write("unet/LICENSE", b"x"), FP16)
    no_dot = steps(remove(fp16("vae")), write("vae/LICENSE", b"x"))
    yield Change("variant_scan_no_dot_in_component_without_variant", both, no_dot, FP16)
    yield Change("variant_scan_no_dot_in_tokenizer", both, write("tokenizer/LICENSE", b"x"), FP16)
    yield Change("variant_scan_folder_in_tokenizer", both, steps(write("tokenizer/extra/x.txt", b"x")), FP16)
    yield Change("variant_scan_no_dot_fp16only", only, write("scheduler/LICENSE", b"x"), HALF)
    yield Change("variant_scan_no_dot_root", both, write("LICENSE", b"x"), FP16)
    yield Change("variant_scan_no_dot_extra_dir", both, write("assets/LICENSE", b"x"), FP16)

    def all_named(variant: str) -> Step:
        def run(root: Path) -> None:
            for name in WEIGHTS:
                rename(fp16(name), fp16(name).replace(".fp16.", f".{variant}."))(root)

        return run

    yield Change("variant_only_bf16_name", only, all_named("bf16"))
    yield Change("variant_only_bf16_name_kw", only, all_named("bf16"), {"variant": "bf16", "torch_dtype": "float16"})
    yield Change(
        "variant_only_non_ema_name_kw", only, all_named("non_ema"), {"variant": "non_ema", "torch_dtype": "float16"}
    )
    yield Change("variant_only_hyphen_name_kw", only, all_named("my-v"), {"variant": "my-v", "torch_dtype": "float16"})
    mixed = rename(fp16("unet"), fp16("unet").replace(".fp16.", ".ema."))
    yield Change("variant_different_names", only, mixed)
    yield Change("variant_different_names_kw", only, mixed, HALF)
    yield Change("variant_different_names_kw_ema", only, mixed, {"variant": "ema", "torch_dtype": "float16"})
    upper = rename(fp16("unet"), fp16("unet").replace(".fp16.", ".FP16."))
    yield Change("variant_upper_case_kw", only, upper, HALF)
    config = rename("unet/config.json", "unet/config.fp16.json")
    yield Change("variant_config_named_so_kw", only, config, HALF)
