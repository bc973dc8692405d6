"""Owns the rules on the numbers that tokens have in a prompt: the text encoder has a row for each, and finds the end.

Never judges what a token is, which is for `special_tokens`, nor the files of a vocabulary, which is for `vocabularies`.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from pumas_agent.bundles.bundle import Bundle, Component, Rule, Unusable
from pumas_agent.bundles.findings import FindingCode, Problem, fatal
from pumas_agent.bundles.sentencepiece import Wrong, count_pieces
from pumas_agent.bundles.special_tokens import (
    IN_EVERY_PROMPT,
    TOKENIZER_CONFIG,
    document_at,
    plain_class,
    settings_of,
    tokenizers_of,
)
from pumas_agent.bundles.tables import ComponentKind

_POOLED = {
    "Flux": ("tokenizer",),
    "StableDiffusion3": ("tokenizer", "tokenizer_2"),
    "StableDiffusionXL": ("tokenizer_2",),
}
"""How pipelines begin that draw by what a CLIP says at the end of a prompt, and the tokenizers of those."""
_END_OF_OLD = 2
"""`eos_token_id` by which transformers takes the highest number of a prompt for its end."""
_CLIP_END = 49407
"""Where the config does not say (`CLIPTextConfig`)."""
_T5_END, _T5_END_NUMBER = "</s>", 1
_T5_MARKS = 100
_MAX_BYTES = 16 * 1024 * 1024
_MAX_ADDED_BYTES = 512 * 1024
"""Of a tokenizer.json that is parsed for the words it adds; a full-size one takes too long."""
_END_BYTES = 4096
_BEHIND = re.compile(rb"\s*:\s*(\d{1,18})")
_BEFORE = re.compile(rb'"id"\s*:\s*(\d{1,18})\s*,\s*"content"\s*:\s*$')
_ADDED = re.compile(rb'"content"\s*:\s*$')
_END_OF_ID = 80
"""Bytes before a token in which its number stands, however it is indented."""
_MAX_WORDS = 100
_MAX_TRIES = 1000
"""A token stands in a few places of a file, among words and merges."""
_FILES = ("tokenizer.json", "vocab.json", "tokenizer.model", "spiece.model")


class _Model(msgspec.Struct):
    vocab: dict[str, int] | list[Any]


class _TokenizerJson(msgspec.Struct):
    model: _Model
    added_tokens: list[Any] | None = None


_IN_TOKENIZER_JSON, _IN_VOCAB_JSON = msgspec.json.Decoder(_TokenizerJson), msgspec.json.Decoder(dict[str, int])


def text_encoder_knows_the_tokens(bundle: Bundle) -> Iterator[Problem]:
    """The start, the end and the filling of a prompt are to the text encoder what they are to the tokenizer."""
    for component in tokenizers_of(bundle):
        named, config = IN_EVERY_PROMPT.get(plain_class(component)), _text_config(bundle, component)
        if named is None or not config:
            continue
        numbers = _numbers(bundle, component, named)
        yield from _rows(component, config, numbers)
        if plain_class(component) == "CLIPTokenizer":
            yield from _end_of_a_pooled_prompt(bundle, component, config, numbers)
            yield from _marks(component, config, numbers)


def added_words_have_a_row(bundle: Bundle) -> Iterator[Problem]:
    """A word that is added to a vocabulary, and that any prompt may hold, has a number that the text encoder knows.

    tokenizers: `add_tokens` numbers what the vocabulary lacks from its end on, whatever number a file gives it. Marks,
    such as `<mask>`, are in no prompt by chance, and are left to who put them there.
    """
    for component in tokenizers_of(bundle):
        size = vocabulary_size(bundle, component)
        judged = size is not None and plain_class(component) in IN_EVERY_PROMPT
        added = _added(bundle, component) if judged else iter(())
        words = list(islice((word for word in added if word.isalnum()), _MAX_WORDS))
        path, content = _vocabulary(bundle, component) if words else (None, b"")
        if size is None or path is None:
            continue
        new = [word for word in words if not _has_word(content, word)]
        first = _next_number(path, content) if new else None
        if first is not None and first + len(new) > size:
            what = f"{component.name} adds {new[-1][:40]!r} to its {first} words, and the text encoder knows {size}"
            yield fatal(FindingCode.INVALID_TOKENIZER_FILES, what, component.path(TOKENIZER_CONFIG))


def prompts_of_t5_end_as_trained(bundle: Bundle) -> Iterator[Problem]:
    """A prompt of T5 ends with the number that its config has for that: another word there is one of the prompt."""
    for component in tokenizers_of(bundle):
        if plain_class(component) != "T5Tokenizer":
            continue
        end = _text(settings_of(bundle, component).get("eos_token", _T5_END))
        path, content = _vocabulary(bundle, component) if end not in (None, _T5_END) else (None, b"")
        asked = _text_config(bundle, component).get("eos_token_id", _T5_END_NUMBER)
        number = _place(content, end) if path is not None and path.endswith(".json") and end is not None else None
        if number is not None and number != asked:
            yield _another_tokenizer(
                component, f"was trained with {asked} for the end of a prompt, and is given {number}"
            )


def _rows(component: Component, config: Mapping[str, Any], numbers: Mapping[str, int]) -> Iterator[Problem]:
    """Tokens of each prompt have numbers below the text encoder's `vocab_size`.

    A token that the vocabulary lacks is given the next free number. An embedding has no row for what is past its end,
    and the first prompt fails.
    """
    size = config.get("vocab_size")
    for name, number in numbers.items():
        if type(size) is int and number >= size:
            path = component.path(TOKENIZER_CONFIG)
            what = f"{name} of {component.name} has the number {number}; the text encoder knows {size} words"
            yield fatal(FindingCode.INVALID_TOKENIZER_FILES, what, path)


def _end_of_a_pooled_prompt(
    bundle: Bundle, component: Component, config: Mapping[str, Any], numbers: Mapping[str, int]
) -> Iterator[Problem]:
    """A CLIP whose answer at the end of a prompt is drawn by finds that end by the number its tokenizer gives it.

    transformers: `CLIPTextModel.forward` takes the first `eos_token_id`, and the start of a prompt that has none.
    """
    name = bundle.facts.name if bundle.facts is not None else ""
    pooled = any(component.name in names for start, names in _POOLED.items() if name.startswith(start))
    asked, number = config.get("eos_token_id", _CLIP_END), numbers.get("eos_token")
    if pooled and type(asked) is int and number is not None and asked not in (_END_OF_OLD, number):
        yield _another_tokenizer(component, f"looks for the end {asked}, and a prompt ends with {number}")


def _marks(component: Component, config: Mapping[str, Any], numbers: Mapping[str, int]) -> Iterator[Problem]:
    """Where a CLIP names other numbers for the start and for the end, its tokenizer is another model's.

    One that differs may be a slip that no pipeline here asks for; configs of old name 0 and 2 for both.
    """
    asked = [config.get(name) for name in ("bos_token_id", "eos_token_id")]
    given = [numbers.get(name) for name in ("bos_token", "eos_token")]
    known = None not in asked and None not in given and asked[1] != _END_OF_OLD
    if known and all(one != other for one, other in zip(asked, given, strict=True)):
        what = f"was trained with {asked[0]} and {asked[1]} for the ends of a prompt, and is given {given}"
        yield _another_tokenizer(component, what)


def vocabulary_size(bundle: Bundle, tokenizer: Component) -> int | None:
    """How many words the text encoder that belongs to the tokenizer knows; None where its config does not say."""
    size = _text_config(bundle, tokenizer).get("vocab_size")
    return size if type(size) is int else None


def _text_config(bundle: Bundle, tokenizer: Component) -> dict[str, Any]:
    """The config of the text encoder that belongs to the tokenizer; nothing where there is none."""
    name = tokenizer.name.replace("tokenizer", "text_encoder", 1)
    for component in bundle.components:
        if component.name == name and component.kind is ComponentKind.TRANSFORMERS_MODEL:
            return document_at(bundle, component.path("config.json"))
    return {}


def _numbers(bundle: Bundle, component: Component, named: Mapping[str, str]) -> dict[str, int]:
    """What each token becomes in a prompt, as far as these files tell; what is wrong with them, other rules say."""
    path = next((path for path in map(component.path, _FILES) if bundle.is_file(path)), None)
    settings = settings_of(bundle, component)
    texts = {name: _text(settings.get(name, usual)) for name, usual in named.items()}
    numbers: dict[str, int] = {}
    if path is None:
        return numbers
    try:
        ends = _ends(bundle, path) if path.endswith(".json") else b""
        for name, text in texts.items():
            number = None if text is None else _number_in(ends, text)
            if number is None and text is not None:
                number = _number_in_all(path, bundle.read(path, _MAX_BYTES), text)
            if number is not None:
                numbers[name] = number
    except Unusable:
        pass
    return numbers


def _number_in_all(path: str, content: bytes, token: str) -> int | None:
    number = _number_in(content, token)
    if number is not None:
        return number
    is_there = _has_word(content, token) if path.endswith(".json") else token.encode("utf-8", "replace") in content
    return None if is_there else _next_number(path, content)


def _vocabulary(bundle: Bundle, component: Component) -> tuple[str | None, bytes]:
    """The file with the words, and what it holds; None where there is none, or another rule says so."""
    path = next((path for path in map(component.path, _FILES) if bundle.is_file(path)), None)
    try:
        return (None, b"") if path is None else (path, bundle.read(path, _MAX_BYTES))
    except Unusable:
        return None, b""


def _added(bundle: Bundle, component: Component) -> Iterator[str]:
    """The words that the files add to the vocabulary, wherever they stand."""
    settings = settings_of(bundle, component)
    tokens: list[Any] = []
    for name in ("additional_special_tokens", "extra_special_tokens"):
        value = settings.get(name)
        tokens += value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    decoder = settings.get("added_tokens_decoder")
    tokens += decoder.values() if isinstance(decoder, dict) else ()
    if "added_tokens_decoder" not in settings:
        tokens += document_at(bundle, component.path("added_tokens.json"))
        tokens += _added_in_one_file(bundle, component.path("tokenizer.json"))
    yield from dict.fromkeys(text for text in map(_text, tokens) if text is not None)


def _added_in_one_file(bundle: Bundle, path: str) -> list[Any]:
    if not bundle.is_file(path):
        return []
    try:
        return _IN_TOKENIZER_JSON.decode(bundle.read(path, _MAX_ADDED_BYTES)).added_tokens or []
    except (Unusable, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


def _text(token: object) -> str | None:
    value = token.get("content") if isinstance(token, dict) else token
    return value if isinstance(value, str) else None


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


def _has_word(content: bytes, word: str) -> bool:
    """Whether the vocabulary has a word, and not the list of added ones alone."""
    spelled = (json.dumps(word, ensure_ascii=plain).encode("utf-8", "surrogatepass") for plain in (True, False))
    return any(
        not _ADDED.search(content, max(found.start() - _END_OF_ID, 0), found.start())
        for text in spelled
        for found in islice(re.finditer(re.escape(text), content), _MAX_TRIES)
    )


def _place(content: bytes, piece: str) -> int | None:
    """The number of a piece in the list that a tokenizer.json of T5 has; None where it is not there."""
    try:
        pieces = _IN_TOKENIZER_JSON.decode(content).model.vocab
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return next(
        (number for number, entry in enumerate(pieces) if isinstance(entry, list) and entry[:1] == [piece]), None
    )


def _next_number(path: str, content: bytes) -> int | None:
    """The number that a further token is given: how many there are; None where they cannot be counted."""
    if not path.endswith(".json"):
        try:
            return count_pieces(content, whole=False) + _T5_MARKS
        except Wrong:
            return None
    for decoder in (_IN_TOKENIZER_JSON, _IN_VOCAB_JSON):
        try:
            document = decoder.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        return len(document.model.vocab) if isinstance(document, _TokenizerJson) else len(document)
    return None


def _another_tokenizer(component: Component, how: str) -> Problem:
    name = component.name.replace("tokenizer", "text_encoder", 1)
    what = f"{component.name} is not the tokenizer of {name}, which {how}"
    return fatal(FindingCode.INVALID_TOKENIZER_FILES, what, component.path(TOKENIZER_CONFIG))


PROMPT_TOKEN_RULES: tuple[Rule, ...] = (
    text_encoder_knows_the_tokens,
    added_words_have_a_row,
    prompts_of_t5_end_as_trained,
)
