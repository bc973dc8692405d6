"""The rules on model_index.json: a class that diffusers has and that draws from text, and components it can make."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.bundles import ExtraPipeline, Policy, validate
from pumas_agent.contracts.bundles import BundleReport
from pumas_agent.demo.bundle import write_stable_diffusion_bundle

Fields = dict[str, Any]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "bundle"
    write_stable_diffusion_bundle(root)
    return root


def findings(report: BundleReport) -> list[tuple[str, str | None]]:
    return [(finding.code, finding.path) for finding in report.findings]


def notices(report: BundleReport) -> list[tuple[str, str | None]]:
    return [(notice.code, notice.path) for notice in report.notices]


def change_index(root: Path, change: Callable[[Fields], object]) -> None:
    index = json.loads((root / "model_index.json").read_text())
    change(index)
    (root / "model_index.json").write_text(json.dumps(index))


def put(**values: Any) -> Callable[[Fields], object]:
    return lambda index: index.update(values)


def drop(name: str) -> Callable[[Fields], object]:
    return lambda index: index.pop(name)


def test_a_whole_bundle_says_all_about_itself(bundle: Path) -> None:
    """No finding and no notice; class, task, manifest, weights with their counts, and how to load it."""
    report = validate(bundle)

    assert findings(report) == []
    assert notices(report) == []
    assert (report.pipeline_class, report.task) == ("StableDiffusionPipeline", "text-to-image")
    names = [component.name for component in report.components]
    assert names == ["feature_extractor", "scheduler", "text_encoder", "tokenizer", "unet", "vae"]
    assert [weights.component for weights in report.weights] == ["text_encoder", "unet", "vae"]
    assert all(
        weights.tensors and weights.parameters and set(weights.parameters) == {"F32"} for weights in report.weights
    )
    assert (report.weight_variants, report.load_variant, report.load_dtype) == (("",), None, "float32")
    assert report.security_tier == "safe"
    assert not report.requires_custom_code


@pytest.mark.parametrize("content", ["[]", "null", "1", '"text"'])
def test_an_index_that_is_no_object(bundle: Path, content: str) -> None:
    """Diffusers reads the index as a dictionary."""
    (bundle / "model_index.json").write_text(content)

    assert findings(validate(bundle)) == [("invalid_model_index_json", "model_index.json")]


@pytest.mark.parametrize(
    "content", ['{"a": NaN, "_class_name": 1, "_class_name": "StableDiffusionPipeline"}', "{}\r\n"]
)
def test_what_python_takes_for_json(bundle: Path, content: str) -> None:
    """NaN, repeated keys and other line ends are no reason to refuse: the library reads them too."""
    (bundle / "model_index.json").write_text(content)

    assert "invalid_model_index_json" not in [code for code, _ in findings(validate(bundle))]


@pytest.mark.parametrize(
    ("named", "code"),
    [
        (None, "missing_pipeline_class"),
        ("", "missing_pipeline_class"),
        (1, "invalid_pipeline_class"),
        ({}, "invalid_pipeline_class"),
        (["pipeline", "MyPipeline"], "invalid_pipeline_class"),
        (["only one"], "invalid_pipeline_class"),
        (["../evil", "X"], "path_escape"),
        ("NoSuchPipeline", "unknown_pipeline_class"),
        ("FlaxStableDiffusionPipeline", "unknown_pipeline_class"),
        ("DiffusionPipeline", "not_a_pipeline_class"),
        ("UNet2DConditionModel", "not_a_pipeline_class"),
        ("AutoPipelineForText2Image", "not_a_pipeline_class"),
        ("OnnxStableDiffusionPipeline", "pipeline_class_unavailable"),
    ],
)
def test_names_that_are_no_pipeline(bundle: Path, named: Any, code: str) -> None:
    """Each with the code that says why diffusers cannot make one of it."""
    change_index(bundle, put(_class_name=named))

    assert (code, "model_index.json") in findings(validate(bundle))


@pytest.mark.parametrize(
    "name",
    [
        "StableDiffusionInpaintPipeline",
        "StableDiffusionImg2ImgPipeline",
        "DDPMPipeline",
        "StableDiffusionUpscalePipeline",
    ],
)
def test_other_tasks(bundle: Path, name: str) -> None:
    """A class is refused by what it does, not by the words in its name."""
    change_index(bundle, put(_class_name=name))

    assert ("unsupported_pipeline", "model_index.json") in findings(validate(bundle))


def test_an_extra_pipeline(bundle: Path) -> None:
    """The operator may describe a class that the tables do not know; its components are then required as described."""
    change_index(bundle, put(_class_name="HousePipeline"))
    house = ExtraPipeline("text-to-image", ("unet", "vae", "text_encoder", "tokenizer", "scheduler", "lamp"), ())
    names = ("feature_extractor", "safety_checker")

    described = Policy(extra_pipelines={"HousePipeline": ExtraPipeline(house.task, house.required[:-1], names)})
    with_lamp = Policy(extra_pipelines={"HousePipeline": house})

    assert findings(validate(bundle)) == [("unknown_pipeline_class", "model_index.json")]
    assert findings(validate(bundle, policy=described)) == []
    assert findings(validate(bundle, policy=with_lamp)) == [("required_component_absent", "lamp")]


def test_code_of_the_bundle(bundle: Path) -> None:
    """A pipeline in a file of the bundle's own is refused, unless the operator allows that; then it is said."""
    change_index(bundle, put(_class_name=["my_pipeline", "MyPipeline"]))
    (bundle / "my_pipeline.py").write_text("class MyPipeline: ...\n")

    refused = validate(bundle)
    allowed = validate(bundle, policy=Policy(custom_code="allow"))

    assert findings(refused) == [("custom_code", "my_pipeline.py")]
    assert findings(allowed) == []
    assert ("custom_code", "my_pipeline.py") in notices(allowed)
    assert allowed.requires_custom_code
    assert allowed.pipeline_class == "MyPipeline"


def test_the_custom_pipeline_that_nobody_asked_for(bundle: Path) -> None:
    """Diffusers looks for a file named after its argument, which is None."""
    (bundle / "None.py").write_text("")

    assert findings(validate(bundle)) == [("custom_code", "None.py")]


@pytest.mark.parametrize("library", ["my_unet", "diffusers"])
def test_code_of_a_component(bundle: Path, library: str) -> None:
    """A file in the component's folder that is named after the library takes its place."""
    change_index(bundle, put(unet=[library, "UNet2DConditionModel"]))
    (bundle / "unet" / f"{library}.py").write_text("")

    assert findings(validate(bundle)) == [("custom_code", f"unet/{library}.py")]


@pytest.mark.parametrize(
    ("version", "said"),
    [("99.0.0", ["version_newer"]), ("0.10.0", []), ("banana", []), (None, []), (3, []), ("99", [])],
)
def test_written_by_a_newer_library(bundle: Path, version: Any, said: list[str]) -> None:
    """Worth knowing; a version that is none is read by nobody."""
    change_index(bundle, put(_diffusers_version=version))

    report = validate(bundle)

    assert report.is_valid
    assert [code for code, _ in notices(report)] == said


@pytest.mark.parametrize(
    "value", [None, True, "ab", [], ["diffusers"], ["diffusers", None], ["a", "b", "c"], ["", "X"], 7, {}]
)
@pytest.mark.parametrize("name", ["unet", "safety_checker"])
def test_entries_that_are_none(bundle: Path, name: str, value: Any) -> None:
    """Anything but [library, class] or [null, …] ends the loading, also where the component is optional."""
    change_index(bundle, put(**{name: value}))

    assert findings(validate(bundle)) == [("invalid_component_entry", name)]


def test_required_components(bundle: Path) -> None:
    """Absent and null are two findings: a bundle that was saved without a component has null."""
    change_index(bundle, drop("unet"))
    change_index(bundle, put(vae=[None, None]))

    assert findings(validate(bundle)) == [("required_component_absent", "unet"), ("required_component_null", "vae")]


def test_optional_components(bundle: Path) -> None:
    """They may be null, half null, or absent."""
    change_index(bundle, put(safety_checker=[None, "X"], feature_extractor=[None, None], image_encoder=[None]))

    assert findings(validate(bundle)) == []


def test_encoders_of_the_prompt(bundle: Path) -> None:
    """The loader does without the text encoders of SDXL; the first prompt does not."""
    change_index(bundle, put(_class_name="StableDiffusionXLPipeline", text_encoder=[None, None]))

    said = findings(validate(bundle))

    for name in ("text_encoder", "text_encoder_2", "tokenizer_2"):
        assert ("prompt_encoder_absent", name) in said


def test_a_safety_checker_without_eyes(bundle: Path) -> None:
    """The checker looks through the feature extractor."""
    change_index(bundle, put(safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"]))
    change_index(bundle, drop("feature_extractor"))

    assert ("required_component_absent", "feature_extractor") in findings(validate(bundle))


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (["os", "UNet2DConditionModel"], "unknown_component_library"),
        (["wuerstchen", "PaellaVQModel"], "unknown_component_library"),
        (["../evil", "X"], "path_escape"),
        (["..", "X"], "path_escape"),
        (["diffusers", "NoSuchModel"], "unknown_component_class"),
        (["transformers", "AutoModel"], "unknown_component_class"),
        (["stable_diffusion", "NoSuchThing"], "unknown_component_class"),
    ],
)
def test_classes_that_cannot_be_loaded(bundle: Path, entry: list[str], code: str) -> None:
    """The library must be one that diffusers loads components from, and must have the class."""
    change_index(bundle, put(unet=entry))

    assert findings(validate(bundle)) == [(code, "unet")]


def test_keys_that_nobody_reads(bundle: Path) -> None:
    """Diffusers ignores them, whatever they hold and however they are named; private ones are not even looked at."""
    change_index(bundle, put(**{"../x": ["lib", "cls"], "numbers": [1.5, 2.5], "_private": 1}))

    report = validate(bundle)

    assert findings(report) == []
    assert notices(report) == [("unknown_key", "model_index.json")] * 2
    assert [component.name for component in report.components if component.name == "../x"] == []


def test_many_keys_are_counted(bundle: Path) -> None:
    """A report stays readable, and small, whatever the index holds."""
    change_index(bundle, put(**{f"key_{number:05}": number for number in range(5000)}))

    report = validate(bundle)

    assert len(report.notices) == 101
    assert "4900 more" in report.notices[0].message


def test_a_prior_elsewhere(bundle: Path) -> None:
    """A combined pipeline sends for the prior that its README.md names: the bundle alone does not draw."""
    change_index(bundle, put(_class_name="KandinskyV22CombinedPipeline"))
    (bundle / "README.md").write_text("---\nprior:\n- org/prior\n---\ntext\n")

    assert ("required_component_absent", "README.md") in findings(validate(bundle))
