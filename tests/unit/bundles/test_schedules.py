"""The rules on schedulers: the names that each class knows, and numbers that a picture can be drawn with."""

import json
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.bundles import validate
from pumas_agent.contracts.bundles import BundleReport
from pumas_agent.demo.bundles import BundleKind, write_bundle

SCHEDULER = "scheduler/scheduler_config.json"
SD, XL, FLUX, PIXART = (
    BundleKind.STABLE_DIFFUSION,
    BundleKind.STABLE_DIFFUSION_XL,
    BundleKind.FLUX,
    BundleKind.PIXART,
)


def judged(kind: BundleKind, root: Path, values: dict[str, Any], *, only: bool = False) -> BundleReport:
    write_bundle(kind, root)
    path = root / SCHEDULER
    path.write_text(json.dumps(values if only else {**json.loads(path.read_text()), **values}))
    return validate(root)


def codes(report: BundleReport) -> list[str]:
    return [finding.code for finding in report.findings if finding.path == SCHEDULER]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (SD, {"prediction_type": "sample"}),
        (SD, {"beta_schedule": "sigmoid"}),
        (XL, {"prediction_type": "flow_prediction"}),
        (XL, {"interpolation_type": "cubic"}),
        (XL, {"final_sigmas_type": "one"}),
        (PIXART, {"algorithm_type": "euler"}),
        (PIXART, {"solver_type": "euler"}),
        (FLUX, {"time_shift_type": "quadratic"}),
    ],
)
def test_names_that_the_class_does_not_know(kind: BundleKind, values: dict[str, Any], tmp_path: Path) -> None:
    """Other classes may know them."""
    assert codes(judged(kind, tmp_path, values)) == ["invalid_config_json"]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (SD, {"prediction_type": "v_prediction", "beta_schedule": "squaredcos_cap_v2", "final_sigmas_type": "zero"}),
        (XL, {"prediction_type": "sample", "interpolation_type": "log_linear", "use_karras_sigmas": True}),
        (PIXART, {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun", "prediction_type": "flow_prediction"}),
        (PIXART, {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min", "solver_order": 4}),
        (PIXART, {"lambda_min_clipped": float("-inf")}),
        (FLUX, {"time_shift_type": "linear", "beta_schedule": "ignored", "prediction_type": None}),
        (FLUX, {"use_dynamic_shifting": True, "base_image_seq_len": 256, "max_image_seq_len": 4096}),
        (FLUX, {"base_image_seq_len": 256, "max_image_seq_len": 256}),
    ],
)
def test_names_and_numbers_that_it_knows(kind: BundleKind, values: dict[str, Any], tmp_path: Path) -> None:
    """What the owner chooses among them is the owner's."""
    assert codes(judged(kind, tmp_path, values)) == []


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (SD, {"beta_start": 0.02, "beta_end": 0.01}),
        (SD, {"clip_sample": "false"}),
        (XL, {"use_karras_sigmas": True, "use_exponential_sigmas": True}),
        (XL, {"use_karras_sigmas": "false"}),
        (PIXART, {"solver_order": 0}),
        (PIXART, {"solver_order": None}),
        (PIXART, {"lambda_min_clipped": "low"}),
        (PIXART, {"algorithm_type": "dpmsolver"}),
        (FLUX, {"shift": 0}),
        (FLUX, {"shift": -1.5}),
        (FLUX, {"use_dynamic_shifting": "false"}),
        (FLUX, {"use_dynamic_shifting": True, "shift_terminal": "x"}),
        (FLUX, {"use_dynamic_shifting": True, "base_image_seq_len": "x"}),
        (FLUX, {"use_dynamic_shifting": True, "base_image_seq_len": 9, "max_image_seq_len": 9}),
    ],
)
def test_settings_that_nothing_is_drawn_with(kind: BundleKind, values: dict[str, Any], tmp_path: Path) -> None:
    """The class raises, divides by zero, or takes a text for true."""
    assert codes(judged(kind, tmp_path, values)) == ["invalid_config_json"]


@pytest.mark.parametrize("kind", [XL, PIXART, FLUX])
def test_sigmas_that_need_scipy(kind: BundleKind, tmp_path: Path) -> None:
    """As the classes that need it, which runtimes may lack."""
    assert codes(judged(kind, tmp_path, {"use_beta_sigmas": True})) == ["component_class_unavailable"]


def test_a_config_of_flow_matching_for_a_scheduler_with_betas(tmp_path: Path) -> None:
    """It would draw with the betas that the class has by itself."""
    flow = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}

    assert codes(judged(SD, tmp_path, flow, only=True)) == ["config_defaults"]


@pytest.mark.parametrize(
    ("class_name", "values"),
    [
        ("DDPMScheduler", {"variance_type": "made up"}),
        ("DEISMultistepScheduler", {"algorithm_type": "made up"}),
        ("DEISMultistepScheduler", {"solver_order": 0}),
        ("EDMEulerScheduler", {"prediction_type": "sample"}),
        ("EulerDiscreteScheduler", {"sigma_min": 5, "sigma_max": 1}),
        ("LCMScheduler", {"original_inference_steps": 0}),
        ("LCMScheduler", {"timestep_scaling": "x"}),
        ("SASolverScheduler", {"algorithm_type": "made up"}),
        ("SASolverScheduler", {"predictor_order": 0}),
        ("TCDScheduler", {"original_inference_steps": "x"}),
        ("UniPCMultistepScheduler", {"solver_type": "made up"}),
        ("UniPCMultistepScheduler", {"solver_order": 0}),
        ("UnCLIPScheduler", {}),  # its betas are of one kind, and those of the bundle of another
    ],
)
def test_settings_of_other_classes(class_name: str, values: dict[str, Any], tmp_path: Path) -> None:
    """The scheduler may be exchanged; each knows settings of its own."""
    write_bundle(SD, tmp_path)
    index, path = tmp_path / "model_index.json", tmp_path / SCHEDULER
    index.write_text(json.dumps({**json.loads(index.read_text()), "scheduler": ["diffusers", class_name]}))
    path.write_text(json.dumps({**json.loads(path.read_text()), "_class_name": class_name, **values}))

    assert "invalid_config_json" in codes(validate(tmp_path))


def test_a_width_of_noise_that_the_unet_does_not_say(tmp_path: Path) -> None:
    """It would be split from what the UNet says, which has no second half."""
    write_bundle(SD, tmp_path)
    index, path = tmp_path / "model_index.json", tmp_path / SCHEDULER
    index.write_text(json.dumps({**json.loads(index.read_text()), "scheduler": ["diffusers", "DDPMScheduler"]}))
    said = {}

    for kind in ("fixed_small", "learned_range"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "variance_type": kind}))
        said[kind] = codes(validate(tmp_path))

    assert said == {"fixed_small": [], "learned_range": ["component_class_mismatch"]}
