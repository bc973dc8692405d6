"""Owns the rules on the tokens that a tokenizer names beside its words: that they are tokens, and that the text encoder
has a row for each that every prompt holds.

Never looks at words and merges, which is for `vocabularies`.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

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
_IN_EVERY_PROMPT = {
    "CLIPTokenizer": {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
    "T5Tokenizer": {"eos_token": "</s>", "pad_token": "<pad>"},
}
"""By class: the tokens that a pipeline puts into each prompt, with what the class takes where nothing is said."""
_T5_MARKS = 100
_MARK = {"__type": "AddedToken"}
"""What tells a token from other objects in tokenizer_config.json; special_tokens_map.json needs none."""
_MAX_BYTES = 16 * 1024 * 1024
_END_BYTES = 4096
_BEHIND = re.compile(rb"\s*:\s*(\d{1,18})")
_BEFORE = re.compile(rb'"id"\s*:\s*(\d{1,18})\s*,\s*"content"\s*:\s*$')
_END_OF_ID = 80
"""Bytes before a token in which its number stands, however it is indented."""
_MAX_TRIES = 1000
"""A token stands in a few places of a file, among words and merges."""


class _Model(msgspec.Struct):
    vocab: dict[str, int]


class _TokenizerJson(msgspec.Struct):
    model: _Model


_IN_TOKENIZER_JSON, _IN_VOCAB_JSON = msgspec.json.Decoder(_TokenizerJson), msgspec.json.Decoder(dict[str, int])


def tokens_are_tokens(bundle: Bundle) -> Iterator[Problem]:
    """Tokens are texts, or objects that hold one (`AddedToken` of `tokenizers`), and those of each prompt are named."""
    for component in _tokenizers(bundle):
        path = component.path(TOKENIZER_CONFIG)
        settings = _settings(bundle, component)
        overlaid = _overlay(bundle, component, settings)
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
        assumed = _IN_EVERY_PROMPT.get(_plain(component), {})
        for name in ("pad_token",) if component.class_name in WHOLE_TOKENIZERS else assumed:
            if settings.get(name, assumed.get(name)) is None:
                yield _wrong(path, f"has no {name}, which each prompt needs")


def marks_of_t5_are_whole(bundle: Bundle) -> Iterator[Problem]:
    """T5 is given the names of all its hundred marks, or of none (`T5Tokenizer.__init__`)."""
    for component in _tokenizers(bundle):
        settings = _settings(bundle, component)
        tokens, marks = settings.get("additional_special_tokens"), settings.get("extra_ids", _T5_MARKS)
        if _plain(component) != "T5Tokenizer":
            continue
        overlaid = "additional_special_tokens" in _overlay(bundle, component, settings)
        path = component.path(SPECIAL_TOKENS if overlaid else TOKENIZER_CONFIG)
        if type(marks) is not int:
            yield _wrong(component.path(TOKENIZER_CONFIG), f"gives {shown(marks)} for extra_ids")
            continue
        named = sum("<extra_id_" in str(token) for token in tokens) if isinstance(tokens, list) else 0
        if named and marks > 0 and named != marks:
            yield _wrong(path, f"names {named} of the {shown(marks)} marks of T5")


def text_encoder_knows_the_tokens(bundle: Bundle) -> Iterator[Problem]:
    """The start, the end and the filling of a prompt have numbers below the text encoder's `vocab_size`.

    A token that the vocabulary lacks is given the next free number. An embedding has no row for what is past its end,
    and the first prompt fails.
    """
    for component in _tokenizers(bundle):
        named = _IN_EVERY_PROMPT.get(_plain(component))
        size = _vocabulary_size(bundle, component)
        if _plain(component) != "CLIPTokenizer" or named is None or size is None:
            continue
        settings = _settings(bundle, component)
        try:
            numbers = {name: _number(bundle, component, settings, name) for name in named}
        except (Unusable, ValueError):  # another rule says so
            continue
        for name, number in numbers.items():
            if number >= size:
                path = component.path(TOKENIZER_CONFIG)
                what = f"{name} of {component.name} has the number {number}; the text encoder knows {size} words"
                yield fatal(FindingCode.INVALID_TOKENIZER_FILES, what, path)


def _number(bundle: Bundle, component: Component, settings: Mapping[str, Any], name: str) -> int:
    """What the token becomes in a prompt.

    Raises:
        Unusable, ValueError: nobody can tell from these files.
    """
    default = _IN_EVERY_PROMPT[_plain(component)][name]
    given = settings.get(name, default)
    token = given.get("content") if isinstance(given, dict) else given
    if not isinstance(token, str):
        raise ValueError("no token")  # noqa: TRY004 - what is wrong is the file
    files = (component.path(name) for name in ("tokenizer.json", "vocab.json"))
    path = next((path for path in files if bundle.is_file(path)), None)
    if path is None:
        raise ValueError("no vocabulary")
    number = _number_in(_ends(bundle, path), token)
    if number is None:
        content = bundle.read(path, _MAX_BYTES)
        number = _number_in(content, token)
        return _next_number(content) if number is None else number
    return number


def _ends(bundle: Bundle, path: str) -> bytes:
    """Where the tokens are in most files: vocab.json has them at its end, tokenizer.json at its start."""
    with bundle.open(path) as descriptor:
        after = max(os.fstat(descriptor).st_size - _END_BYTES, _END_BYTES)
        return os.pread(descriptor, _END_BYTES, 0) + b"\n" + os.pread(descriptor, _END_BYTES, after)


def _number_in(content: bytes, token: str) -> int | None:
    """The number that stands behind a token, or before it among the added ones; None where it does not occur.

    Looked for without parsing, which takes longer than all the rest of a bundle.
    """
    for plain in (True, False):
        word = json.dumps(token, ensure_ascii=plain).encode("utf-8", "surrogatepass")
        at = -1
        for _ in range(_MAX_TRIES):
            at = content.find(word, at + 1)
            if at < 0:
                break
            found = _BEHIND.match(content, at + len(word)) or _BEFORE.search(content, max(at - _END_OF_ID, 0), at)
            if found:
                return int(found[1])
    return None


def _next_number(content: bytes) -> int:
    """The number that a further token is given: how many there are.

    Raises:
        ValueError: they cannot be counted.
    """
    for decoder in (_IN_TOKENIZER_JSON, _IN_VOCAB_JSON):
        try:
            document = decoder.decode(content)
        except (msgspec.DecodeError, RecursionError):
            continue
        return len(document.model.vocab) if isinstance(document, _TokenizerJson) else len(document)
    raise ValueError("the vocabulary is no object")


def _vocabulary_size(bundle: Bundle, tokenizer: Component) -> int | None:
    """How many words the text encoder that belongs to the tokenizer knows; None where its config does not say."""
    name = tokenizer.name.replace("tokenizer", "text_encoder", 1)
    for component in bundle.components:
        if component.name == name and component.kind is ComponentKind.TRANSFORMERS_MODEL:
            size = _document(bundle, component.path("config.json")).get("vocab_size")
            return size if type(size) is int else None
    return None


def _tokenizers(bundle: Bundle) -> Iterator[Component]:
    return (component for component in bundle.components if component.kind is ComponentKind.TOKENIZER)


def _plain(component: Component) -> str:
    return component.class_name.removesuffix("Fast")


def _settings(bundle: Bundle, component: Component) -> dict[str, Any]:
    """tokenizer_config.json, overlaid by special_tokens_map.json.

    transformers 5 reads the second only where the first has no `added_tokens_decoder`.
    """
    settings = _document(bundle, component.path(TOKENIZER_CONFIG))
    return {
        **settings,
        **{
            name: {**token, **_MARK} if isinstance(token, dict) and name.endswith("_token") else token
            for name, token in _overlay(bundle, component, settings).items()
        },
    }


def _overlay(bundle: Bundle, component: Component, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {} if "added_tokens_decoder" in settings else _document(bundle, component.path(SPECIAL_TOKENS))


def _decoder(settings: Mapping[str, Any]) -> dict[Any, Any]:
    decoder = settings.get("added_tokens_decoder")
    return decoder if isinstance(decoder, dict) else {}


def _document(bundle: Bundle, path: str) -> dict[str, Any]:
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
    text_encoder_knows_the_tokens,
)
