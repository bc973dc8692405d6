"""Owns which values single settings of a config may have, as one table.

Holds only what the library was seen to fail on: a class ignores most of what it does not know. Settings that depend on
each other are for `config_values`.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from pumas_agent.bundles.bundle import Bundle, Component, Rule
from pumas_agent.bundles.configs import PREPROCESSOR, config_name, document_of
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, shown
from pumas_agent.bundles.special_tokens import TOKENIZER_CONFIG
from pumas_agent.bundles.tables import ComponentKind as Kind

_UNET, _VAE = ("UNet2DConditionModel",), ("AutoencoderKL",)
_FLUX, _PIXART = ("FluxTransformer2DModel",), ("PixArtTransformer2DModel",)
_CLIP_TEXT, _T5 = ("CLIPTextModel", "CLIPTextModelWithProjection"), ("T5EncoderModel",)
_DTYPES = frozenset(
    {
        *("float16", "bfloat16", "float32", "float64", "half", "float", "double"),
        *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
        *("int8", "uint8", "int16", "int32", "int64", "bool"),
    }
)
_ACTIVATIONS = frozenset(
    {
        *("gelu", "gelu_10", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "gelu_python_tanh"),
        *("gelu_accurate", "hardswish", "laplace", "leaky_relu", "linear", "mish", "quick_gelu", "relu", "relu2"),
        *("relu6", "sigmoid", "silu", "sqrtsoftplus", "swish", "tanh", "prelu", "xielu"),
    }
)
"""`ACT2FN` of transformers 5."""
_FEED_FORWARDS = ("gelu", "gelu-approximate", "geglu", "geglu-approximate", "swiglu", "linear-silu")
"""`FeedForward` of diffusers."""
_AXES = 3
"""Of a place in a picture of Flux: its number, its row, its column."""
_ATTENTIONS = ("eager", "sdpa", "flex_attention")
"""Those that torch brings; others are packages of their own, or need a cache that no pipeline here has."""
_SCALE_SHIFTS = ("default", "scale_shift", "ada_group", "spatial")
_RESAMPLINGS = range(6)
"""`PIL.Image.Resampling`."""
_CHANNELS = 3
_MIN_SCALE = 1e-6
"""Of latents, which are divided by it; those published have 0.1 to 2."""


class Setting(NamedTuple):
    """Settings of one kind of component, and the test that their values pass."""

    kind: Kind | None
    """None for components of any kind."""
    classes: tuple[str, ...]
    """None of them for any class."""
    names: tuple[str, ...]
    takes: Callable[[Any], bool]


def is_number(value: object) -> bool:
    """A number that one can calculate with; true and false are none."""
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))


def is_activation(value: object) -> bool:
    """A name that transformers has a function for."""
    return isinstance(value, str) and value in _ACTIVATIONS


def _is_whole(value: object) -> bool:
    return type(value) is int


def _is_several(value: Any) -> bool:
    return type(value) is int and value > 1


def _is_share(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


def _is_noise(value: Any) -> bool:
    """Between none and all of the picture: with other values pictures become NaN."""
    return is_number(value) and 0 <= value < 1


def _is_above_zero(value: Any) -> bool:
    return is_number(value) and value > 0


def _is_natural(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_fraction(value: object) -> bool:
    """Not a whole number: transformers 5 tells the types apart."""
    return isinstance(value, float) and math.isfinite(value)


def _is_false(value: object) -> bool:
    return not value


def _is_no_text(value: object) -> bool:
    """Of a flag: a text is true, whatever it says."""
    return not isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_nothing(value: object) -> bool:
    return value is None


def _never(_value: object) -> bool:
    return False


def _or_null(takes: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or takes(value)


def _one_of(*known: object) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str | int | None) and value in known


def _is_a(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _list_of(takes: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(takes, value))


def _is_dtype(value: Any) -> bool:
    return value is None or isinstance(value, dict) or (isinstance(value, str) and _plain_dtype(value) in _DTYPES)


def _plain_dtype(text: str) -> str:
    return text.removeprefix("torch.")


def _is_betas(value: Any) -> bool:
    return value is None or (isinstance(value, list) and bool(value) and all(map(is_number, value)))


def _is_mean(value: Any) -> bool:
    return value is None or is_number(value) or (_list_of(is_number)(value) and len(value) == _CHANNELS)


def _are_axes(value: Any) -> bool:
    """Each width is that of pairs, a sine and a cosine (`FluxPosEmbed`)."""
    return _list_of(_is_natural)(value) and len(value) == _AXES and not any(width % 2 for width in value)


def _is_template(value: Any) -> bool:
    return not isinstance(value, list) or all(isinstance(one, dict) for one in value)


def _are_named_tokens(value: Any) -> bool:
    return not isinstance(value, dict) or all(isinstance(token, str | dict) for token in value.values())


SETTINGS: tuple[Setting, ...] = (
    # Keyword arguments of the functions that a config is spread into.
    Setting(None, (), ("self",), _never),
    Setting(Kind.TOKENIZER, (), ("cls",), _never),
    Setting(Kind.SCHEDULER, (), ("num_train_timesteps",), _is_several),
    Setting(Kind.SCHEDULER, (), ("steps_offset",), lambda value: not isinstance(value, float)),
    Setting(Kind.SCHEDULER, (), ("shift",), is_number),
    Setting(Kind.SCHEDULER, (), ("beta_start",), _is_noise),
    Setting(Kind.SCHEDULER, (), ("beta_end",), lambda value: _is_noise(value) and value > 0),
    Setting(Kind.SCHEDULER, (), ("trained_betas",), _is_betas),
    Setting(
        Kind.SCHEDULER,
        (),
        (
            "set_alpha_to_one",
            "skip_prk_steps",
            "clip_sample",
            "thresholding",
            "rescale_betas_zero_snr",
            "invert_sigmas",
        ),
        _is_no_text,
    ),
    Setting(Kind.DIFFUSERS_MODEL, _VAE, ("scaling_factor",), lambda value: is_number(value) and value >= _MIN_SCALE),
    Setting(Kind.DIFFUSERS_MODEL, _VAE, ("sample_size",), lambda value: is_number(value) or isinstance(value, list)),
    Setting(Kind.DIFFUSERS_MODEL, _UNET, ("freq_shift",), is_number),
    Setting(Kind.DIFFUSERS_MODEL, _UNET, ("norm_eps",), lambda value: is_number(value) and value >= 0),
    Setting(Kind.DIFFUSERS_MODEL, _UNET, ("dropout",), _is_share),
    Setting(Kind.DIFFUSERS_MODEL, _UNET, ("flip_sin_to_cos",), _is_flag),
    Setting(Kind.DIFFUSERS_MODEL, _PIXART, ("norm_eps",), is_number),
    Setting(Kind.DIFFUSERS_MODEL, _PIXART, ("interpolation_scale",), _or_null(_is_above_zero)),
    Setting(Kind.DIFFUSERS_MODEL, _PIXART, ("num_embeds_ada_norm",), _is_whole),
    Setting(Kind.DIFFUSERS_MODEL, _PIXART, ("activation_fn",), _one_of(*_FEED_FORWARDS)),
    Setting(Kind.DIFFUSERS_MODEL, _FLUX, ("axes_dims_rope",), _are_axes),
    Setting(Kind.DIFFUSERS_MODEL, _UNET, ("mid_block_scale_factor",), lambda value: is_number(value) and value != 0),
    Setting(Kind.DIFFUSERS_MODEL, _UNET, ("time_embedding_type",), _one_of("positional", "fourier")),
    Setting(Kind.DIFFUSERS_MODEL, _UNET, ("resnet_time_scale_shift",), _one_of(*_SCALE_SHIFTS)),
    Setting(Kind.DIFFUSERS_MODEL, _UNET, ("num_attention_heads",), _is_nothing),
    # `DualTransformer2DModel` takes no mask, which the UNet's blocks pass (diffusers 0.42).
    Setting(Kind.DIFFUSERS_MODEL, _UNET, ("dual_cross_attention",), lambda value: not value),
    # Transformers 5 checks types when it reads a config (`StrictDataclassFieldValidationError`).
    Setting(
        Kind.TRANSFORMERS_MODEL,
        (),
        ("attention_dropout", "initializer_range", "initializer_factor", "layer_norm_eps", "layer_norm_epsilon"),
        _or_null(is_number),
    ),
    Setting(Kind.TRANSFORMERS_MODEL, _CLIP_TEXT, ("layer_norm_eps",), _or_null(_is_fraction)),
    Setting(Kind.TRANSFORMERS_MODEL, _T5, ("layer_norm_epsilon",), _is_fraction),
    Setting(Kind.TRANSFORMERS_MODEL, _T5, ("feed_forward_proj",), _is_a(str)),
    Setting(Kind.TRANSFORMERS_MODEL, _T5, ("is_decoder",), _is_false),
    Setting(Kind.TRANSFORMERS_MODEL, (*_CLIP_TEXT, *_T5), ("num_hidden_layers", "num_layers"), _is_natural),
    Setting(Kind.TRANSFORMERS_MODEL, (), ("dropout_rate",), _or_null(_is_share)),
    Setting(
        Kind.TRANSFORMERS_MODEL,
        (*_CLIP_TEXT, *_T5),
        (
            *("hidden_size", "intermediate_size", "num_attention_heads"),
            *("max_position_embeddings", "projection_dim", "vocab_size", "d_model", "d_kv", "d_ff"),
            "num_heads",
        ),
        _is_whole,
    ),
    Setting(Kind.TRANSFORMERS_MODEL, (), ("num_labels",), _is_a(int)),
    Setting(Kind.TRANSFORMERS_MODEL, _CLIP_TEXT, ("hidden_act",), is_activation),
    Setting(Kind.TRANSFORMERS_MODEL, _T5, ("dense_act_fn",), is_activation),
    Setting(Kind.TRANSFORMERS_MODEL, _T5, ("is_encoder_decoder", "use_cache"), _is_flag),
    Setting(Kind.TRANSFORMERS_MODEL, _T5, ("classifier_dropout",), _or_null(is_number)),
    Setting(
        Kind.TRANSFORMERS_MODEL, (), ("bos_token_id", "eos_token_id", "pad_token_id"), _is_a(int, list, type(None))
    ),
    Setting(Kind.TRANSFORMERS_MODEL, _CLIP_TEXT, ("eos_token_id",), _is_a(int)),
    Setting(Kind.TRANSFORMERS_MODEL, (), ("id2label", "rope_scaling", "rope_parameters"), _is_a(dict, type(None))),
    Setting(
        Kind.TRANSFORMERS_MODEL,
        (),
        ("attn_implementation", "_attn_implementation"),
        lambda value: isinstance(value, dict) or _one_of(None, *_ATTENTIONS)(value),
    ),
    Setting(Kind.TRANSFORMERS_MODEL, (*_CLIP_TEXT, *_T5), ("use_return_dict",), _never),
    Setting(Kind.TRANSFORMERS_MODEL, (), ("dtype", "torch_dtype"), _is_dtype),
    Setting(Kind.IMAGE_PROCESSOR, (), ("resample",), lambda value: not isinstance(value, int) or value in _RESAMPLINGS),
    Setting(Kind.IMAGE_PROCESSOR, (), ("image_mean", "image_std"), _is_mean),
    # What transformers takes in place of the files, and what it is made of.
    Setting(Kind.TOKENIZER, (), ("vocab", "merges", "tokenizer_object", "gguf_file"), _is_nothing),
    Setting(Kind.TOKENIZER, (), ("init_inputs",), lambda value: value == []),
    Setting(Kind.TOKENIZER, (), ("model_input_names",), _is_a(list, str)),
    Setting(Kind.TOKENIZER, (), ("split_special_tokens",), _is_flag),
    Setting(Kind.TOKENIZER, (), ("chat_template",), _is_template),
    Setting(Kind.TOKENIZER, (), ("extra_special_tokens",), _are_named_tokens),
)


def settings_are_taken(bundle: Bundle) -> Iterator[Problem]:
    """Each setting has a value that the class can be made with, and that it can calculate with at each step."""
    for component, path, document in _configs(bundle):
        tests = _tests_of(component.kind, component.class_name)
        for name in document.keys() & tests.keys():
            if not all(takes(document[name]) for takes in tests[name]):
                what = f"{path} gives {shown(document[name])} for {name}"
                yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)


@lru_cache(maxsize=256)
def _tests_of(kind: Kind, class_name: str) -> Mapping[str, Sequence[Callable[[Any], bool]]]:
    """What the table says of the settings of one class."""
    tests: defaultdict[str, list[Callable[[Any], bool]]] = defaultdict(list)
    for of_kind, classes, names, takes in SETTINGS:
        if of_kind in (None, kind) and (not classes or class_name in classes):
            for name in names:
                tests[name].append(takes)
    return tests


def _configs(bundle: Bundle) -> Iterator[tuple[Component, str, Mapping[str, Any]]]:
    elsewhere = {Kind.TOKENIZER: TOKENIZER_CONFIG, Kind.IMAGE_PROCESSOR: PREPROCESSOR}
    for component in bundle.components:
        name = elsewhere.get(component.kind) if component.kind in elsewhere else config_name(component)
        path = component.path(name) if name is not None else None
        document = document_of(bundle, path) if path is not None and bundle.is_file(path) else None
        if path is not None and document is not None:
            yield component, path, document


SETTING_RULES: tuple[Rule, ...] = (settings_are_taken,)
