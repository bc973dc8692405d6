"""Owns the rules on the tokens that a tokenizer names beside its words: that they are tokens.

Never looks at words and merges, which is for `vocabularies`, nor at their numbers, which is for `prompt_tokens`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pumas_agent.bundles.bundle import Bundle, Component, Rule, Unusable
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, shown
from pumas_agent.bundles.tables import ComponentKind

TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
WHOLE_TOKENIZERS = frozenset({"PreTrainedTokenizerFast", "TokenizersBackend"})
"""Classes that are whatever tokenizer.json holds, in place of any other (transformers 5); they assume no token."""
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""`SPECIAL_TOKENS_ATTRIBUTES` of transformers 5."""
_LISTS = ("extra_special_tokens", "additional_special_tokens")
_FLAGS = ("lstrip", "rstrip", "normalized", "single_word", "special")
IN_EVERY_PROMPT = {
    "CLIPTokenizer": {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
    "T5Tokenizer": {"eos_token": "</s>", "pad_token": "<pad>"},
}
"""By class: the tokens that a pipeline puts into each prompt, with what the class takes where nothing is said."""
_T5_MARKS = 100
_MARK = {"__type": "AddedToken"}
"""What tells a token from other objects in tokenizer_config.json; special_tokens_map.json needs none."""


def tokens_are_tokens(bundle: Bundle) -> Iterator[Problem]:
    """Tokens are texts, or objects that hold one (`AddedToken` of `tokenizers`), and those of each prompt are named."""
    for component in tokenizers_of(bundle):
        path = component.path(TOKENIZER_CONFIG)
        settings = settings_of(bundle, component)
        overlaid = overlay_of(bundle, component, settings)
        for name in _NAMED:
            if not _is_named_token(settings.get(name)):
                where = component.path(SPECIAL_TOKENS) if name in overlaid else path
                yield _wrong(where, f"gives {shown(settings[name])} for {name}, which is no token")
        for name in _LISTS:
            tokens = settings.get(name)
            if not _are_tokens(tokens) or (name in overlaid and isinstance(tokens, dict)):
                yield _wrong(path, f"gives {shown(settings[name])} for {name}, which are no tokens")
        for number, token in _decoder(settings).items():
            if not _is_number(number) or not isinstance(token, dict) or not _is_token(token):
                yield _wrong(path, f"has {shown(number)} in added_tokens_decoder, which is no token")
                break
        assumed = IN_EVERY_PROMPT.get(plain_class(component), {})
        for name in ("pad_token",) if component.class_name in WHOLE_TOKENIZERS else assumed:
            if settings.get(name, assumed.get(name)) is None:
                yield _wrong(path, f"has no {name}, which each prompt needs")


def marks_of_t5_are_whole(bundle: Bundle) -> Iterator[Problem]:
    """T5 is given the names of all its hundred marks, or of none (`T5Tokenizer.__init__`)."""
    for component in tokenizers_of(bundle):
        settings = settings_of(bundle, component)
        tokens, marks = settings.get("additional_special_tokens"), settings.get("extra_ids", _T5_MARKS)
        if plain_class(component) != "T5Tokenizer":
            continue
        overlaid = "additional_special_tokens" in overlay_of(bundle, component, settings)
        path = component.path(SPECIAL_TOKENS if overlaid else TOKENIZER_CONFIG)
        if type(marks) is not int:
            yield _wrong(component.path(TOKENIZER_CONFIG), f"gives {shown(marks)} for extra_ids")
            continue
        named = sum("<extra_id_" in str(token) for token in tokens) if isinstance(tokens, list) else 0
        if named and marks > 0 and named != marks:
            yield _wrong(path, f"names {named} of the {shown(marks)} marks of T5")


def tokenizers_of(bundle: Bundle) -> Iterator[Component]:
    """Each tokenizer."""
    return (component for component in bundle.components if component.kind is ComponentKind.TOKENIZER)


def plain_class(component: Component) -> str:
    """The class that both kinds of a tokenizer have in transformers 5."""
    return component.class_name.removesuffix("Fast")


def settings_of(bundle: Bundle, component: Component) -> dict[str, Any]:
    """tokenizer_config.json, overlaid by special_tokens_map.json.

    transformers 5 reads the second only where the first has no `added_tokens_decoder`.
    """
    settings = document_at(bundle, component.path(TOKENIZER_CONFIG))
    return {
        **settings,
        **{
            name: {**token, **_MARK} if isinstance(token, dict) and name.endswith("_token") else token
            for name, token in overlay_of(bundle, component, settings).items()
        },
    }


def overlay_of(bundle: Bundle, component: Component, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What special_tokens_map.json says and tokenizer_config.json leaves to it."""
    return {} if "added_tokens_decoder" in settings else document_at(bundle, component.path(SPECIAL_TOKENS))


def _decoder(settings: Mapping[str, Any]) -> dict[Any, Any]:
    decoder = settings.get("added_tokens_decoder")
    return decoder if isinstance(decoder, dict) else {}


def document_at(bundle: Bundle, path: str) -> dict[str, Any]:
    """The document; nothing when it cannot be read, which another rule says."""
    try:
        return bundle.document(path) if bundle.is_file(path) else {}
    except Unusable:
        return {}


def _is_named_token(value: object) -> bool:
    return _is_token(value) and (not isinstance(value, dict) or value.items() >= _MARK.items())


def _is_token(value: object) -> bool:
    if isinstance(value, dict):
        flags = (value.get(flag, False) for flag in _FLAGS)
        return isinstance(value.get("content", ""), str) and all(isinstance(flag, bool) for flag in flags)
    return isinstance(value, str | None)


def _are_tokens(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(token, str | dict) for token in value)
    return value is None or isinstance(value, dict)


def _is_number(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(r"\s*[+-]?\d{1,18}\s*", text) is not None


def _wrong(path: str, what: str) -> Problem:
    return fatal(FindingCode.INVALID_CONFIG_JSON, f"{path} {what}", path)


SPECIAL_TOKEN_RULES: tuple[Rule, ...] = (
    tokens_are_tokens,
    marks_of_t5_are_whole,
)
