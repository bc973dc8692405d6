"""The rules on configs, and on what components say of each other."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.bundles import Policy, validate
from pumas_agent.contracts.bundles import BundleReport
from pumas_agent.demo.bundles import BundleKind, write_bundle
from tests.cases.bases import write_base
from tests.cases.tensors import Tensor, edit_tensors

Change = Callable[[Path], object]
UNET, VAE, TEXT = "unet/config.json", "vae/config.json", "text_encoder/config.json"
SCHEDULER, IMAGES = "scheduler/scheduler_config.json", "feature_extractor/preprocessor_config.json"


def findings(report: BundleReport) -> list[tuple[str, str | None]]:
    return [(finding.code, finding.path) for finding in report.findings]


def notices(report: BundleReport) -> list[tuple[str, str | None]]:
    return [(notice.code, notice.path) for notice in report.notices]


def put(path: str, **values: Any) -> Change:
    """Keys of a JSON file, set."""

    def change(root: Path) -> None:
        (root / path).write_text(json.dumps({**json.loads((root / path).read_text()), **values}))

    return change


def write(path: str, content: str) -> Change:
    return lambda root: (root / path).write_text(content)


def rename(path: str, name: str) -> Change:
    return lambda root: (root / path).rename(root / name)


def judged(kind: BundleKind, root: Path, *changes: Change, policy: Policy | None = None) -> BundleReport:
    write_bundle(kind, root)
    for change in changes:
        change(root)
    return validate(root, policy=policy)


@pytest.mark.parametrize(
    "kind", [kind for kind in BundleKind if kind not in {"stable-diffusion-inpaint", "unconditional"}]
)
def test_whole_bundles_of_every_kind_are_valid(kind: BundleKind, tmp_path: Path) -> None:
    """What the real library loads and draws with."""
    report = judged(kind, tmp_path)

    assert findings(report) == []
    assert report.load_variant == ("fp16" if kind == "stable-diffusion-fp16" else None)
    assert report.security_tier == ("pickle" if kind == "stable-diffusion-pickle" else "safe")


@pytest.mark.parametrize("path", [UNET, TEXT, SCHEDULER, IMAGES])
@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"a": 1,}', "version https://git-lfs.github.com/spec/v1\n", "\ufeff{}", "\0\0\0\0"],
    ids=["empty", "cut off", "a list", "null", "trailing comma", "a pointer", "byte order mark", "zeros"],
)
def test_configs_that_are_none(path: str, content: str, tmp_path: Path) -> None:
    """A config is a JSON object in UTF-8; each file is said once."""
    assert findings(judged(BundleKind.STABLE_DIFFUSION, tmp_path, write(path, content))) == [
        ("invalid_config_json", path)
    ]


@pytest.mark.parametrize(
    ("path", "other"),
    [
        (UNET, "unet/Config.json"),
        (SCHEDULER, "scheduler/config.json"),
        (IMAGES, "feature_extractor/config.json"),
        (IMAGES, "feature_extractor/processor_config.json"),
    ],
)
def test_configs_under_another_name(path: str, other: str, tmp_path: Path) -> None:
    """The library asks for one name, in this spelling."""
    assert findings(judged(BundleKind.STABLE_DIFFUSION, tmp_path, rename(path, other))) == [("missing_config", path)]


def test_a_processor_within_a_processor(tmp_path: Path) -> None:
    """Transformers 5 finds the image processor in processor_config.json, under its own key."""

    def nest(root: Path) -> None:
        images = json.loads((root / IMAGES).read_text())
        (root / IMAGES).unlink()
        (root / "feature_extractor/processor_config.json").write_text(json.dumps({"image_processor": images}))

    assert findings(judged(BundleKind.STABLE_DIFFUSION, tmp_path, nest)) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (write(SCHEDULER, "{}"), "config_defaults"),
        (write(SCHEDULER, '{"_class_name": "PNDMScheduler", "something": 1}'), "config_defaults"),
        (write(IMAGES, '{"image_processor_type": "CLIPImageProcessor"}'), "config_defaults"),
        (put(SCHEDULER, _class_name=None), "invalid_config_json"),
        (put(SCHEDULER, num_train_timesteps=0), "invalid_config_json"),
        (put(SCHEDULER, beta_start="0.1"), "invalid_config_json"),
        (put(SCHEDULER, beta_end=float("nan")), "invalid_config_json"),
        (put(SCHEDULER, trained_betas=1), "invalid_config_json"),
        (put(SCHEDULER, beta_schedule="made up"), "invalid_config_json"),
        (put(SCHEDULER, prediction_type=["epsilon"]), "invalid_config_json"),
        (put(SCHEDULER, timestep_spacing="made up"), "invalid_config_json"),
        (put(IMAGES, size={"length": 1}), "invalid_config_json"),
        (put(TEXT, dtype=7), "invalid_config_json"),
        (put(TEXT, projection_dim=0.5), "invalid_config_json"),
        (put(TEXT, eos_token_id=None), "invalid_config_json"),
        (put(UNET, act_fn="made up"), "weights_shape_mismatch"),
        (put(VAE, up_block_types=["NoBlock2D"] * 2), "weights_shape_mismatch"),
        (put(VAE, scaling_factor=0), "invalid_config_json"),
        (put(UNET, _diffusers_version="x"), "invalid_config_json"),
        (put(TEXT, torch_dtype="float7"), "invalid_config_json"),
        (put(TEXT, layer_norm_eps="small"), "invalid_config_json"),
        (put(TEXT, num_attention_heads=3), "invalid_config_json"),
        (put(UNET, quantization_config={"quant_method": "bitsandbytes"}), "quantized_backend"),
    ],
)
def test_settings_that_the_library_cannot_use(change: Change, code: str, tmp_path: Path) -> None:
    """It raises on them, or takes its defaults for them and draws another picture."""
    assert [said for said, _ in findings(judged(BundleKind.STABLE_DIFFUSION, tmp_path, change))] == [code]


@pytest.mark.parametrize(
    "change",
    [
        put(UNET, something_new=1, _diffusers_version="0.30.0.dev0"),
        put(SCHEDULER, something_new=[1], _diffusers_version="x"),
        put(TEXT, dtype="bfloat16", quantization_config=None),
        put(VAE, _class_name="AutoencoderKL", _name_or_path="/elsewhere"),
        write("unet/notes.json", "{"),
    ],
)
def test_settings_that_change_nothing(change: Change, tmp_path: Path) -> None:
    """The library ignores or accepts them."""
    report = judged(BundleKind.STABLE_DIFFUSION, tmp_path, change)

    assert (findings(report), notices(report)) == ([], [])


def test_a_backend_that_runtimes_have(tmp_path: Path) -> None:
    """The operator names the kinds of quantized weights that can be loaded here."""
    change = put(UNET, quantization_config={"quant_method": "bitsandbytes"})
    policy = Policy(quantization_backends=("bitsandbytes",))

    assert findings(judged(BundleKind.STABLE_DIFFUSION, tmp_path, change, policy=policy)) == []


@pytest.mark.parametrize(
    ("change", "notice"),
    [
        (put(SCHEDULER, _class_name="DDIMScheduler"), ("config_class_mismatch", SCHEDULER)),
        (put(TEXT, auto_map={"AutoModel": "code.Model"}), ("unused_code", TEXT)),
    ],
)
def test_what_is_worth_knowing(change: Change, notice: tuple[str, str], tmp_path: Path) -> None:
    """Notices, and no reason to refuse."""
    report = judged(BundleKind.STABLE_DIFFUSION, tmp_path, change)

    assert (findings(report), notices(report)) == ([], [notice])


# --- what components say of each other ---------------------------------------------------------------------------


def index(**entries: Any) -> Change:
    return put("model_index.json", **entries)


@pytest.mark.parametrize(
    ("kind", "entries", "component"),
    [
        ("stable-diffusion", {"unet": ["diffusers", "UNetMotionModel"]}, "unet"),
        ("stable-diffusion", {"vae": ["diffusers", "AutoencoderTiny"]}, "vae"),
        ("stable-diffusion", {"text_encoder": ["transformers", "CLIPModel"]}, "text_encoder"),
        ("stable-diffusion", {"tokenizer": ["transformers", "GPT2Tokenizer"]}, "tokenizer"),
        ("stable-diffusion", {"scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]}, "scheduler"),
        ("stable-diffusion", {"feature_extractor": ["transformers", "CLIPProcessor"]}, "feature_extractor"),
        ("stable-diffusion", {"_class_name": "LatentConsistencyModelPipeline"}, "scheduler"),
        ("stable-diffusion-xl", {"text_encoder_2": ["transformers", "CLIPTextModel"]}, "text_encoder_2"),
        ("flux", {"text_encoder_2": ["transformers", "T5ForConditionalGeneration"]}, "text_encoder_2"),
        ("flux", {"transformer": ["diffusers", "ChromaTransformer2DModel"]}, "transformer"),
        ("flux", {"scheduler": ["diffusers", "EulerDiscreteScheduler"]}, "scheduler"),
    ],
)
def test_classes_that_the_pipeline_cannot_use(kind: str, entries: Any, component: str, tmp_path: Path) -> None:
    """Diffusers loads them, with a line in its log at most; the prompt fails, or is drawn as noise."""
    report = judged(BundleKind(kind), tmp_path, index(**entries))

    assert ("component_class_mismatch", component) in findings(report)


@pytest.mark.parametrize(
    ("kind", "entries"),
    [
        ("stable-diffusion", {"scheduler": ["diffusers", "EulerDiscreteScheduler"]}),
        ("stable-diffusion", {"scheduler": ["diffusers", "LCMScheduler"]}),
        ("stable-diffusion", {"tokenizer": ["transformers", "CLIPTokenizerFast"]}),
        ("stable-diffusion", {"feature_extractor": ["transformers", "CLIPFeatureExtractor"]}),
        ("flux", {"tokenizer_2": ["transformers", "T5TokenizerFast"]}),
        ("pixart", {"transformer": ["diffusers", "Transformer2DModel"]}),
    ],
)
def test_classes_that_may_stand_for_another(kind: str, entries: Any, tmp_path: Path) -> None:
    """Another scheduler is the owner's choice; some classes have two names."""
    assert findings(judged(BundleKind(kind), tmp_path, index(**entries))) == []


def test_a_component_of_another_model(tmp_path: Path) -> None:
    """A whole text encoder of another width: it loads, and the first prompt does not fit."""
    write_bundle(BundleKind.STABLE_DIFFUSION_3, tmp_path / "other")

    def exchange(root: Path) -> None:
        shutil.rmtree(root / "text_encoder_2")
        shutil.copytree(tmp_path / "other" / "text_encoder_3", root / "text_encoder_2")
        put("text_encoder_2/config.json", d_model=99)(root)

    said = findings(judged(BundleKind.FLUX, tmp_path / "bundle", exchange))

    assert ("weights_shape_mismatch", "transformer/config.json") in said


def test_a_unet_for_another_task(tmp_path: Path) -> None:
    """Nine channels are for inpainting; SDXL's asks for what others do not tell."""
    write_bundle(BundleKind.STABLE_DIFFUSION_INPAINT, tmp_path / "inpaint")
    write_bundle(BundleKind.STABLE_DIFFUSION_XL, tmp_path / "xl")

    def take_unet_of(name: str) -> Change:
        def change(root: Path) -> None:
            shutil.rmtree(root / "unet")
            shutil.copytree(tmp_path / name / "unet", root / "unet")

        return change

    inpaint = judged(BundleKind.STABLE_DIFFUSION, tmp_path / "a", take_unet_of("inpaint"))
    xl = judged(BundleKind.STABLE_DIFFUSION, tmp_path / "b", take_unet_of("xl"))

    assert findings(inpaint) == [("unet_in_channels", UNET)]
    assert ("component_class_mismatch", UNET) in findings(xl)


@pytest.mark.parametrize("kind", [BundleKind.FLUX, BundleKind.STABLE_DIFFUSION_3])
@pytest.mark.parametrize("shift", [None, "0.1", True])
def test_a_vae_without_a_shift(kind: BundleKind, shift: Any, tmp_path: Path) -> None:
    """Stable Diffusion's VAE has none; the pipelines that add it fail when all is drawn."""
    said = findings(judged(kind, tmp_path, put(VAE, shift_factor=shift)))

    assert said == [("invalid_config_json", VAE)]


@pytest.mark.parametrize(
    ("path", "values"),
    [
        *((UNET, {"norm_eps": value}) for value in ("x", None)),
        *((UNET, {"dropout": "x"}), (UNET, {"freq_shift": "x"}), (UNET, {"mid_block_scale_factor": 0})),
        *((UNET, {"num_attention_heads": 2}), (UNET, {"time_embedding_type": "nope"})),
        (UNET, {"resnet_time_scale_shift": "nope"}),
        *((TEXT, {"id2label": value}) for value in ("x", ["x"])),
        *((TEXT, {"eos_token_id": value}) for value in ([2], None)),
        *((SCHEDULER, {"beta_end": value}) for value in (0, 1, 12, -1)),
        *((SCHEDULER, {"beta_start": value}) for value in (-1, 1, "x")),
        *((SCHEDULER, {"trained_betas": []}), (SCHEDULER, {"beta_schedule": None})),
        *((SCHEDULER, {"trained_betas": [0.1, 0.2]}), (SCHEDULER, {"num_train_timesteps": 1})),
        *((IMAGES, {name: "x"}) for name in ("size", "crop_size", "image_mean", "rescale_factor")),
        *((IMAGES, {name: None}) for name in ("image_mean", "image_std")),
    ],
)
def test_values_that_the_library_fails_on(path: str, values: dict[str, Any], tmp_path: Path) -> None:
    """When the class is made, or when it draws; found with the real library."""
    steps = {"do_normalize": True, "do_center_crop": True, "do_rescale": True} if path == IMAGES else {}

    said = findings(judged(BundleKind.STABLE_DIFFUSION, tmp_path, put(path, **values, **steps)))

    assert ("invalid_config_json", path) in said


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (UNET, {"norm_eps": 1e-6, "dropout": 0.1, "freq_shift": 1, "mid_block_scale_factor": 1.4}),
        (TEXT, {"id2label": {"0": "x"}}),
        (SCHEDULER, {"beta_start": 0, "trained_betas": None}),
        (SCHEDULER, {"trained_betas": [0.1, 0.2], "num_train_timesteps": 2, "beta_schedule": None}),
        (IMAGES, {"crop_size": None, "do_center_crop": False}),
        (IMAGES, {"image_mean": None, "image_std": None, "do_normalize": False}),
    ],
)
def test_values_that_the_library_takes(path: str, values: dict[str, Any], tmp_path: Path) -> None:
    """What nobody asks for may be absent."""
    assert findings(judged(BundleKind.STABLE_DIFFUSION, tmp_path, put(path, **values))) == []


@pytest.mark.parametrize(("size", "drawn"), [(32, True), (128, True), (8, False), (256, False)])
def test_the_sizes_that_pixart_draws_at(tmp_path: Path, size: int, *, drawn: bool) -> None:
    """It has a table of shapes for each, and no other size."""
    said = findings(judged(BundleKind.PIXART, tmp_path, put("transformer/config.json", sample_size=size)))

    assert [code for code, _ in said if code == "invalid_config_json"] == ([] if drawn else ["invalid_config_json"])


@pytest.mark.parametrize("asked", [True, False])
def test_a_shift_that_the_picture_asks_for(tmp_path: Path, *, asked: bool) -> None:
    """Flux calculates its shift from two numbers, where it is told to."""
    values = {"use_dynamic_shifting": asked, "base_shift": None}

    said = findings(judged(BundleKind.FLUX, tmp_path, put(SCHEDULER, **values)))

    assert said == ([("invalid_config_json", SCHEDULER)] if asked else [])


@pytest.mark.parametrize(
    ("kind", "path", "values"),
    [
        (BundleKind.STABLE_DIFFUSION, UNET, {"dropout": 2}),
        (BundleKind.STABLE_DIFFUSION, UNET, {"norm_eps": -1}),
        (BundleKind.STABLE_DIFFUSION, UNET, {"flip_sin_to_cos": None}),
        *((BundleKind.STABLE_DIFFUSION, UNET, {"sample_size": size}) for size in (15, -16, True, [16, 15])),
        *((BundleKind.STABLE_DIFFUSION, VAE, {"scaling_factor": factor}) for factor in (-0.18, 1e-30, True)),
        *((BundleKind.STABLE_DIFFUSION, TEXT, {"layer_norm_eps": eps}) for eps in (0, -1)),
        *((BundleKind.STABLE_DIFFUSION, TEXT, {"num_hidden_layers": layers}) for layers in (0, -1, True)),
        *((BundleKind.FLUX, "transformer/config.json", {"axes_dims_rope": axes}) for axes in ([8, 8], [3, 5, 8], "x")),
        (BundleKind.FLUX, "text_encoder_2/config.json", {"layer_norm_epsilon": None}),
        (BundleKind.FLUX, "text_encoder_2/config.json", {"layer_norm_epsilon": 0}),
        (BundleKind.FLUX, "text_encoder_2/config.json", {"feed_forward_proj": None}),
        (BundleKind.FLUX, "text_encoder_2/config.json", {"is_gated_act": False}),
        (BundleKind.FLUX, "text_encoder_2/config.json", {"is_decoder": True}),
        *(
            (BundleKind.FLUX, "text_encoder_2/config.json", {"relative_attention_max_distance": distance})
            for distance in (0, 8, "x", None)
        ),
        (BundleKind.STABLE_DIFFUSION_3, "transformer/config.json", {"sample_size": 64}),
        (BundleKind.PIXART, "transformer/config.json", {"activation_fn": "made up"}),
        (BundleKind.PIXART, "transformer/config.json", {"interpolation_scale": "x"}),
        (BundleKind.PIXART, "transformer/config.json", {"num_embeds_ada_norm": None}),
        (BundleKind.PIXART, "transformer/config.json", {"norm_eps": "x"}),
    ],
)
def test_values_of_the_families(kind: BundleKind, path: str, values: dict[str, Any], tmp_path: Path) -> None:
    """Each fails when the class is made or at the first prompt; found with the real library."""
    assert ("invalid_config_json", path) in findings(judged(kind, tmp_path, put(path, **values)))


@pytest.mark.parametrize(
    ("kind", "path", "values"),
    [
        (BundleKind.STABLE_DIFFUSION, UNET, {"mid_block_type": None}),
        (BundleKind.STABLE_DIFFUSION, UNET, {"down_block_types": ["DownBlock2D"] * 2}),
        (BundleKind.STABLE_DIFFUSION, VAE, {"mid_block_add_attention": False}),
        (BundleKind.STABLE_DIFFUSION, VAE, {"use_post_quant_conv": False}),
        (BundleKind.STABLE_DIFFUSION, VAE, {"up_block_types": ["UpDecoderBlock2D"]}),
        (BundleKind.FLUX, "transformer/config.json", {"guidance_embeds": False}),
        (BundleKind.FLUX, "transformer/config.json", {"num_layers": 0}),
        (BundleKind.FLUX, "transformer/config.json", {"num_single_layers": 0}),
        (BundleKind.STABLE_DIFFUSION_3, "transformer/config.json", {"qk_norm": "made up"}),
        (BundleKind.STABLE_DIFFUSION_3, "transformer/config.json", {"sample_size": None}),
        (BundleKind.PIXART, "transformer/config.json", {"caption_channels": None}),
        (BundleKind.PIXART, "transformer/config.json", {"attention_bias": False}),
        (BundleKind.STABLE_DIFFUSION_XL, UNET, {"addition_time_embed_dim": 8}),
        (BundleKind.STABLE_DIFFUSION_XL, UNET, {"addition_time_embed_dim": None}),
    ],
)
def test_weights_of_another_config(kind: BundleKind, path: str, values: dict[str, Any], tmp_path: Path) -> None:
    """Layers of the file that the config leaves out are dropped by the library, which says so in its log alone."""
    assert "weights_shape_mismatch" in [code for code, _ in findings(judged(kind, tmp_path, put(path, **values)))]


@pytest.mark.parametrize(
    "values", [{"norm_elementwise_affine": True}, {"caption_channels": 32, "norm_elementwise_affine": 1}]
)
def test_norms_that_the_file_does_not_have(values: dict[str, Any], tmp_path: Path) -> None:
    """PixArt's have no weights of their own, but where the config says so."""
    said = findings(judged(BundleKind.PIXART, tmp_path, put("transformer/config.json", **values)))

    assert [code for code, _ in said] == ["weights_incomplete"]


def test_blocks_of_a_vae_that_attend(tmp_path: Path) -> None:
    """Their attentions are tensors of the file."""
    blocks = ["AttnUpDecoderBlock2D", "UpDecoderBlock2D"]
    said = findings(judged(BundleKind.STABLE_DIFFUSION, tmp_path, put(VAE, up_block_types=blocks)))

    assert [code for code, _ in said] == ["weights_incomplete"]


def test_an_embedding_that_the_file_does_not_have(tmp_path: Path) -> None:
    """Whatever kind it is of."""
    said = findings(judged(BundleKind.STABLE_DIFFUSION, tmp_path, put(UNET, addition_embed_type="text")))

    assert [code for code, _ in said] == ["weights_incomplete"]


@pytest.mark.parametrize("kind", [BundleKind.FLUX, BundleKind.STABLE_DIFFUSION_3])
def test_a_vae_that_does_not_say_its_scale(kind: BundleKind, tmp_path: Path) -> None:
    """The class has that of Stable Diffusion 1, which has no shift."""

    def change(root: Path) -> None:
        config = json.loads((root / VAE).read_text())
        del config["scaling_factor"]
        (root / VAE).write_text(json.dumps(config))

    assert findings(judged(kind, tmp_path, change)) == [("config_defaults", VAE)]


def test_configs_that_were_exchanged(tmp_path: Path) -> None:
    """Both text encoders of SDXL are of one width here; each config names the class it was saved as."""
    other = "text_encoder_2/config.json"

    def exchange(root: Path) -> None:
        one, two = (root / TEXT).read_bytes(), (root / other).read_bytes()
        (root / TEXT).write_bytes(two)
        (root / other).write_bytes(one)

    assert ("component_class_mismatch", TEXT) in findings(judged(BundleKind.STABLE_DIFFUSION_XL, tmp_path, exchange))


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"add_watermarker": True}, "pipeline_class_unavailable"),
        ({"add_watermarker": "x"}, "pipeline_class_unavailable"),
        ({"force_zeros_for_empty_prompt": None}, "invalid_model_index_json"),
        ({"add_watermarker": False, "force_zeros_for_empty_prompt": False}, None),
        ({"add_watermarker": None}, None),
    ],
)
def test_flags_of_the_index(values: dict[str, Any], code: str | None, tmp_path: Path) -> None:
    """One needs a package that runtimes lack; the other is true where nothing is said, and false where null is."""
    said = findings(judged(BundleKind.STABLE_DIFFUSION_XL, tmp_path, put("model_index.json", **values)))

    assert said == ([] if code is None else [(code, "model_index.json")])


@pytest.mark.parametrize("name", ["lora_A.weight", "processor.to_k_ip.0.weight"])
def test_what_tools_add_to_weights_is_left_alone(name: str, tmp_path: Path) -> None:
    """A class ignores it, as diffusers does; a part of its own is another matter."""

    def change(root: Path) -> None:
        path = "unet/diffusion_pytorch_model.safetensors"
        extra = Tensor("F32", (2,), bytes(8))
        edit_tensors(path, lambda tensors: {**tensors, f"mid_block.attentions.0.{name}": extra})(root)

    assert findings(judged(BundleKind.STABLE_DIFFUSION, tmp_path, change)) == []


@pytest.mark.parametrize(
    "values",
    [{"latents_mean": [0.0] * 2}, {"latents_mean": "x"}, {"latents_std": [0.0] * 4}, {"latents_std": [None] * 4}],
)
def test_a_middle_of_latents(values: dict[str, Any], tmp_path: Path) -> None:
    """SDXL calculates with both, a number for each channel, where both are said."""
    sound = {"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}
    write_bundle(BundleKind.STABLE_DIFFUSION_XL, tmp_path)

    put(VAE, **sound)(tmp_path)
    before = findings(validate(tmp_path))
    put(VAE, **values)(tmp_path)

    assert before == []
    assert findings(validate(tmp_path)) == [("invalid_config_json", VAE)]


@pytest.mark.parametrize(
    "values", [{"hidden_act": "made up"}, {"hidden_act": 1}, {"layer_norm_eps": 0}, {"num_attention_heads": 3}]
)
def test_a_safety_checker_that_cannot_be_made(values: dict[str, Any], tmp_path: Path) -> None:
    """Its vision model is a config within the config."""
    root = write_base("sd-tiny", tmp_path)
    path = "safety_checker/config.json"
    vision = json.loads((root / path).read_text())["vision_config"]

    put(path, vision_config={**vision, **values})(root)

    assert findings(validate(root)) == [("invalid_config_json", path)]


@pytest.mark.parametrize("side", [0, -1, "x", True])
def test_sides_of_pictures_are_numbers(side: Any, tmp_path: Path) -> None:
    """Of what the safety checker is shown."""
    said = findings(judged(BundleKind.STABLE_DIFFUSION, tmp_path, put(IMAGES, size={"shortest_edge": side})))

    assert said == [("invalid_config_json", IMAGES)]


def test_a_tensor_of_an_index_that_the_model_does_without(tmp_path: Path) -> None:
    """It is in no shard, and of no layer of the model, whose layers are all there."""
    root = write_base("sdxl-tiny-sharded", tmp_path)
    path = "unet/diffusion_pytorch_model.safetensors.index.json"
    shards = json.loads((root / path).read_text())["weight_map"]

    put(path, weight_map={**shards, "made.up": next(iter(shards.values()))})(root)
    report = validate(root)

    assert findings(report) == []
    assert ("shard_index_disagrees", path) in notices(report)


def test_a_vae_that_encodes_nothing(tmp_path: Path) -> None:
    """Drawing from text decodes alone: no tensor of the encoder is missed."""

    def change(root: Path) -> None:
        path = "vae/diffusion_pytorch_model.safetensors"
        edit_tensors(path, lambda all_: {name: one for name, one in all_.items() if not name.startswith("encoder.")})(
            root
        )

    assert findings(judged(BundleKind.STABLE_DIFFUSION, tmp_path, change)) == []
