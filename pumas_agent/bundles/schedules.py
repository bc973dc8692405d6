"""Owns the rules on the configs of schedulers: names that the class knows, numbers that a picture can be drawn with.

Single settings that every scheduler shares are for `settings`; whether the pipeline can use the class is for `fits`.
What each class takes was read in the source of diffusers 0.42.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pumas_agent.bundles.bundle import Bundle, Rule
from pumas_agent.bundles.configs import documents
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, shown
from pumas_agent.bundles.settings import is_number
from pumas_agent.bundles.tables import ComponentKind as Kind

_Names = frozenset[str]
_ANY: Mapping[str, _Names] = {
    "beta_schedule": frozenset({"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace", "exp"}),
    "prediction_type": frozenset({"epsilon", "sample", "v_prediction", "flow_prediction", "original_sample"}),
    "timestep_spacing": frozenset({"linspace", "leading", "trailing"}),
    "final_sigmas_type": frozenset({"zero", "sigma_min"}),
    "interpolation_type": frozenset({"linear", "log_linear"}),
    "time_shift_type": frozenset({"exponential", "linear"}),
}
"""What any scheduler takes for each."""
_NOISES = frozenset({"linear", "scaled_linear", "squaredcos_cap_v2"})
_USUAL: Mapping[str, _Names] = {
    "beta_schedule": _NOISES,
    "prediction_type": frozenset({"epsilon", "sample", "v_prediction"}),
}
_NOT_THE_PICTURE: Mapping[str, _Names] = {**_USUAL, "prediction_type": frozenset({"epsilon", "v_prediction"})}
_WITH_FLOW: Mapping[str, _Names] = {
    **_USUAL,
    "prediction_type": frozenset({"epsilon", "sample", "v_prediction", "flow_prediction"}),
}
_SOLVERS = frozenset({"midpoint", "heun", "logrho", "bh1", "bh2"})
"""Each class has one or two, and takes the others' for its own."""
_MULTISTEP: Mapping[str, _Names] = {
    **_WITH_FLOW,
    "algorithm_type": frozenset({"dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++", "deis"}),
    "solver_type": _SOLVERS,
}
_DDPM: Mapping[str, _Names] = {
    **_USUAL,
    "beta_schedule": _NOISES | {"sigmoid", "laplace"},
    "variance_type": frozenset(
        {"fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range"}
    ),
}
_CLASSES: Mapping[str, Mapping[str, _Names]] = {
    **dict.fromkeys(("DDIMScheduler", "DDIMParallelScheduler", "LCMScheduler", "TCDScheduler"), _USUAL),
    **dict.fromkeys(("DDPMScheduler", "DDPMParallelScheduler"), _DDPM),
    "DEISMultistepScheduler": {
        **_WITH_FLOW,
        "algorithm_type": frozenset({"deis", "dpmsolver", "dpmsolver++"}),
        "solver_type": _SOLVERS,
    },
    "DPMSolverMultistepScheduler": _MULTISTEP,
    "DPMSolverSinglestepScheduler": _MULTISTEP,
    "EDMEulerScheduler": {"prediction_type": _NOT_THE_PICTURE["prediction_type"]},
    "EulerAncestralDiscreteScheduler": _NOT_THE_PICTURE,
    "EulerDiscreteScheduler": {
        **_USUAL,
        "prediction_type": frozenset({"epsilon", "sample", "original_sample", "v_prediction"}),
    },
    "HeunDiscreteScheduler": {**_USUAL, "beta_schedule": _NOISES | {"exp"}},
    "KDPM2AncestralDiscreteScheduler": _NOT_THE_PICTURE,
    "KDPM2DiscreteScheduler": _NOT_THE_PICTURE,
    "PNDMScheduler": _NOT_THE_PICTURE,
    "SASolverScheduler": {**_WITH_FLOW, "algorithm_type": frozenset({"data_prediction", "noise_prediction"})},
    "UnCLIPScheduler": {
        "beta_schedule": frozenset({"squaredcos_cap_v2"}),
        "prediction_type": frozenset({"epsilon", "sample"}),
    },
    "UniPCMultistepScheduler": {**_WITH_FLOW, "solver_type": _SOLVERS},
}
"""By class, what it takes where it takes less than any."""
_IGNORES = "FlowM"
"""How the classes begin that ask for no betas."""
_NOT_ASKED = frozenset(
    {"beta_schedule", "prediction_type", "timestep_spacing", "final_sigmas_type", "interpolation_type"}
)
_SIGMAS = ("use_beta_sigmas", "use_exponential_sigmas", "use_karras_sigmas")
_NEVER_ENDS_IN_ZERO = ("dpmsolver", "sde-dpmsolver", "deis")
_DISTILLED = ("LCMScheduler", "TCDScheduler")
_COUNTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"), ("solver_order",)),
    **dict.fromkeys(("DEISMultistepScheduler", "UniPCMultistepScheduler"), ("solver_order",)),
    "SASolverScheduler": ("predictor_order",),
    **dict.fromkeys(_DISTILLED, ("original_inference_steps",)),
}
"""By class, what it counts with."""
_DPM = ("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler")
_TIMESTEPS = 1000
"""What a scheduler takes when its config does not say."""
_BETAS = frozenset({"beta_schedule", "beta_start", "beta_end", "trained_betas"})
_SAYS_OTHERWISE = frozenset({"num_train_timesteps", "shift", "sigma_min", "sigma_max"})
"""By which a config is one of a scheduler, though of another kind."""
_LENGTHS = {"base_image_seq_len": 256, "max_image_seq_len": 4096}


def schedules_are_known(bundle: Bundle) -> Iterator[Problem]:
    """The names in a scheduler's config are among those that its class knows; any other ends the loading or the prompt.

    diffusers: `NotImplementedError` or `ValueError` of `__init__`, `set_timesteps` and `step`.
    """
    for class_name, path, document in _schedulers(bundle):
        for name, known in {**_ANY, **_CLASSES.get(class_name, {})}.items():
            given = document.get(name)
            ignored = name not in document or (class_name.startswith(_IGNORES) and name in _NOT_ASKED)
            ignored = ignored or (name == "time_shift_type" and not class_name.startswith(_IGNORES))
            ignored = ignored or (name == "beta_schedule" and document.get("trained_betas") is not None)
            if not ignored and (not isinstance(given, str) or given not in known):
                yield _unusable(path, name, given)


def betas_reach_the_end(bundle: Bundle) -> Iterator[Problem]:
    """A trained schedule has a beta for each of its timesteps: they are read by number."""
    for _, path, document in _schedulers(bundle):
        betas, timesteps = document.get("trained_betas"), document.get("num_train_timesteps", _TIMESTEPS)
        if isinstance(betas, list) and type(timesteps) is int and len(betas) < timesteps:
            what = f"{path} has {len(betas)} trained_betas for {timesteps} timesteps"
            yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def noise_grows(bundle: Bundle) -> Iterator[Problem]:
    """The last beta is not below the first, nor the largest sigma below the smallest: noise is added step by step."""
    for class_name, path, document in _schedulers(bundle):
        for least, most in (("beta_start", "beta_end"), ("sigma_min", "sigma_max")):
            first, last = document.get(least), document.get(most)
            if class_name.startswith(_IGNORES) or (least == "beta_start" and document.get("trained_betas") is not None):
                continue
            if is_number(first) and is_number(last) and first > last:  # type: ignore[operator]
                what = f"{path} has {shown(first)} for {least}, and {shown(last)} for {most}"
                yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def betas_are_said(bundle: Bundle) -> Iterator[Problem]:
    """A scheduler that adds noise by betas is told something of them: a config of another kind has its defaults.

    diffusers: a config of flow matching under a class with betas draws from beta_start 0.0001 and beta_end 0.02.
    """
    for class_name, path, document in _schedulers(bundle):
        says = document.keys() & _SAYS_OTHERWISE and not document.keys() & _BETAS
        if says and _CLASSES.get(class_name, {}).get("beta_schedule", frozenset()) >= _NOISES:
            yield fatal(FindingCode.CONFIG_DEFAULTS, f"{path} says nothing of the betas of {class_name}", path)


def sigmas_are_of_one_kind(bundle: Bundle) -> Iterator[Problem]:
    """Sigmas are spread in one way at most, none of which is a text; those of a beta distribution need scipy.

    diffusers: `sum([use_beta_sigmas, use_exponential_sigmas, use_karras_sigmas]) > 1` of `__init__`.
    """
    for _, path, document in _schedulers(bundle):
        asked = {name: document[name] for name in _SIGMAS if document.get(name)}
        texts = [name for name, value in asked.items() if not isinstance(value, bool | int)]
        if texts:
            yield _unusable(path, texts[0], asked[texts[0]])
        elif len(asked) > 1:
            what = f"{path} asks for sigmas of {len(asked)} kinds: {', '.join(asked)}"
            yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)
        elif "use_beta_sigmas" in asked:
            what = f"{path} asks for use_beta_sigmas, which needs scipy"
            yield fatal(FindingCode.COMPONENT_CLASS_UNAVAILABLE, what, path)


def solvers_can_be_made(bundle: Bundle) -> Iterator[Problem]:
    """A solver has an order, and ends in a zero only where its algorithm does (`final_sigmas_type`, `__init__`).

    LCM and TCD take their steps from those that the model was distilled with.
    """
    for class_name, path, document in _schedulers(bundle):
        for name in _COUNTS.get(class_name, ()):
            count = document.get(name, 1)
            if type(count) is not int or count < 1:
                yield _unusable(path, name, count)
        scaling = document.get("timestep_scaling", 1)
        if class_name in _DISTILLED and not is_number(scaling):
            yield _unusable(path, "timestep_scaling", scaling)
        if class_name not in _DPM:
            continue
        clip = document.get("lambda_min_clipped", 0)
        if not isinstance(clip, int | float) and clip not in ("-Infinity", "-inf"):
            yield _unusable(path, "lambda_min_clipped", clip)
        algorithm = document.get("algorithm_type", "dpmsolver++")
        if algorithm in _NEVER_ENDS_IN_ZERO and document.get("final_sigmas_type", "zero") == "zero":
            what = f"{path} has {shown(algorithm)} for algorithm_type, which cannot end in a zero (final_sigmas_type)"
            yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


def shifts_can_be_calculated(bundle: Bundle) -> Iterator[Problem]:
    """A schedule is shifted by a number above zero; where the picture's size decides, by two sizes that differ.

    diffusers: `calculate_shift` of the pipelines divides by the difference of the sizes.
    """
    for class_name, path, document in _schedulers(bundle):
        shift, dynamic = document.get("shift", 1), document.get("use_dynamic_shifting")
        if class_name.startswith(_IGNORES) and is_number(shift) and shift <= 0:
            yield _unusable(path, "shift", shift)
        if isinstance(dynamic, str):
            yield _unusable(path, "use_dynamic_shifting", dynamic)
        if not dynamic:
            continue
        terminal = document.get("shift_terminal")
        if terminal is not None and not is_number(terminal):
            yield _unusable(path, "shift_terminal", terminal)
        for name in ("base_shift", "max_shift", *_LENGTHS):
            if not is_number(document.get(name, 1)):
                yield _unusable(path, name, document[name])
                break
        else:
            first, last = (document.get(name, usual) for name, usual in _LENGTHS.items())
            if first == last:
                yield _unusable(path, "base_image_seq_len and max_image_seq_len", first)


def _schedulers(bundle: Bundle) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The class, the path and the config of each."""
    return ((part.class_name, path, document) for part, path, document in documents(bundle, (Kind.SCHEDULER,)))


def _unusable(path: str, name: str, value: object) -> Problem:
    return fatal(FindingCode.INVALID_CONFIG_JSON, f"{path} gives {shown(value)} for {name}", path)


SCHEDULE_RULES: tuple[Rule, ...] = (
    schedules_are_known,
    betas_reach_the_end,
    noise_grows,
    betas_are_said,
    sigmas_are_of_one_kind,
    solvers_can_be_made,
    shifts_can_be_calculated,
)
