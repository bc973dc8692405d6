"""Owns the rules on tokenizers: which files each class reads, and whether they hold a vocabulary that can be used.

A tokenizer without its files loads with a vocabulary of three words and draws another picture, without a warning
(transformers 5). What the files must hold stands in `vocabularies`.
"""

from collections.abc import Iterator
from typing import Any

from pumas_agent.bundles.bundle import Bundle, Component, Presence, Rule, Unusable
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, notice, shown
from pumas_agent.bundles.tables import ComponentKind
from pumas_agent.bundles.vocabularies import (
    check_slow_files,
    check_tokenizer_json,
    count_of_words,
    is_damaged,
    words_without_number,
)

TOKENIZER_JSON = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
_SIDE_FILES = ("special_tokens_map.json", "added_tokens.json")
_ROLES = frozenset({"bos_token", "eos_token", "pad_token"})
"""Of the special tokens that stand in every prompt."""
_T5_MARKS = 100
_NOT_VOCABULARY = ("tokenizer_file", "tokenizer_config_file")
_SENTENCEPIECE = (".model",)
_CLIP_POSITIONS = 77
"""`max_position_embeddings` of a CLIP text encoder whose config does not say (transformers: CLIPTextConfig)."""


def vocabulary_is_complete(bundle: Bundle) -> Iterator[Problem]:
    """tokenizer.json, or every file of the slow tokenizer, is there; what transformers would read can be used.

    tokenizer.json comes first whenever it is a file: a damaged one is not made up for by the files beside it.
    """
    for component in _tokenizers(bundle):
        slow = _slow_files(bundle, component)
        if bundle.is_file(component.path(TOKENIZER_JSON)) and _reads_tokenizer_json(bundle, component):
            path = component.path(TOKENIZER_JSON)
            yield from _checked(bundle, component, path, check_tokenizer_json(bundle, component, path))
            yield from _beside_tokenizer_json(bundle, component, slow)
        elif slow and all(bundle.is_file(component.path(name)) for name in slow):
            path = component.path(slow[-1])  # vocab.json, where there is one
            yield from _checked(bundle, component, path, check_slow_files(bundle, component, slow))
            if all(name.endswith(_SENTENCEPIECE) for name in slow):
                what = f"{component.name} has a sentencepiece model only; runtimes need sentencepiece and protobuf"
                yield notice(FindingCode.TOKENIZER_NEEDS_SENTENCEPIECE, what, component.path(slow[0]))
        elif slow:
            yield from _missing(bundle, component, slow)


def settings_are_usable(bundle: Bundle) -> Iterator[Problem]:
    """tokenizer_config.json is an object, and says how long a prompt may be to those who ask it.

    CLIP's pipelines cut prompts at `model_max_length`; without it, transformers gives a number that no tensor has room
    for, and the first prompt fails. Other pipelines name a length of their own.
    """
    for component in _tokenizers(bundle):
        path = component.path(TOKENIZER_CONFIG)
        if bundle.presence(path) is Presence.FILE:
            document = bundle.document(path)
            yield from _entries_are_usable(document, path)
            if _is_clip(component):
                yield from _length_is_usable(bundle, component, document.get("model_max_length"))
        elif _is_clip(component):
            what = f"{component.name} has no {TOKENIZER_CONFIG}: prompts would not be cut to length"
            yield bundle.no_file(path, FindingCode.TOKENIZER_CONFIG_MISSING, what)


def _special_tokens_have_vectors(bundle: Bundle, component: Component, path: str) -> Iterator[Problem]:
    """The marks around and behind a prompt are in CLIP's vocabulary, or the text encoder has vectors for further ones.

    transformers numbers a mark that is not in the vocabulary behind all others.
    """
    beside = component.path(_SIDE_FILES[0])
    named = {**_special(bundle, component.path(TOKENIZER_CONFIG)), **_special(bundle, beside)}
    if None in named.values():
        what = f"{component.name} has a special token that is none"
        yield fatal(FindingCode.INVALID_CONFIG_JSON, what, beside)
        return
    tokens = {token for token in named.values() if token is not None} - _added(bundle, component)
    missing = words_without_number(bundle, path, sorted(tokens))
    count = count_of_words(bundle, path) if missing else None
    vectors = _of_the_text_encoder(bundle, component, "vocab_size")
    if count is not None and vectors is not None and count + len(missing) > vectors:
        what = f"{component.name} has the special token {missing[0][:80]!r}, for which the text encoder has no vector"
        yield fatal(FindingCode.INVALID_TOKENIZER_FILES, what, path)


def _special(bundle: Bundle, path: str) -> dict[str, str | None]:
    """The special tokens that a file names, by role; None for one that is null."""
    document = _document(bundle, path)
    found: dict[str, str | None] = {}
    for role in _ROLES & document.keys():
        token = document[role]
        if isinstance(token, str | None):  # anything else is said where the file is judged
            found[role] = token
        elif isinstance(token, dict) and isinstance(token.get("content"), str):
            found[role] = token["content"]
    return found


def _added(bundle: Bundle, component: Component) -> frozenset[str]:
    """Tokens that are added to the vocabulary with a number of their own."""
    config = _document(bundle, component.path(TOKENIZER_CONFIG))
    decoder = config.get("added_tokens_decoder")
    tokens = decoder.values() if isinstance(decoder, dict) else ()
    return frozenset(str(token.get("content")) for token in tokens if isinstance(token, dict))


def lists_of_tokens_are_whole(bundle: Bundle) -> Iterator[Problem]:
    """Additional tokens are texts or objects; T5 wants all of its hundred marks, or none (`T5Tokenizer.__init__`)."""
    for component in _tokenizers(bundle):
        last: tuple[str, list[object]] | None = None
        for name in (TOKENIZER_CONFIG, _SIDE_FILES[0]):
            path = component.path(name)
            tokens = _document(bundle, path).get("additional_special_tokens")
            if not isinstance(tokens, list):
                continue
            last = path, tokens  # the map has the last word
            if not all(isinstance(token, str | dict) for token in tokens):
                what = f"{path} has an additional token that is none"
                yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)
        if last is not None and component.class_name.removesuffix("Fast") == "T5Tokenizer":
            marks = sum("<extra_id_" in str(token) for token in last[1])
            wanted = _document(bundle, component.path(TOKENIZER_CONFIG)).get("extra_ids", _T5_MARKS)
            if marks and wanted and marks != wanted:
                what = f"{last[0]} names {marks} of the {shown(wanted)} marks of T5"
                yield fatal(FindingCode.INVALID_CONFIG_JSON, what, last[0])


def _document(bundle: Bundle, path: str) -> dict[str, Any]:
    """The document; nothing when it is not there, or cannot be read, which another rule says."""
    try:
        return bundle.document(path) if bundle.is_file(path) else {}
    except Unusable:
        return {}


def side_files_are_usable(bundle: Bundle) -> Iterator[Problem]:
    """special_tokens_map.json and added_tokens.json may be absent, and are objects where they are there."""
    for component in _tokenizers(bundle):
        for name in _SIDE_FILES:
            path = component.path(name)
            if bundle.is_file(path):
                yield from _side_file(bundle, path)


def _side_file(bundle: Bundle, path: str) -> Iterator[Problem]:
    try:
        document = bundle.document(path)
    except Unusable as unusable:
        yield unusable.problem
        return
    for name, value in document.items():
        if name.endswith("_token") and not isinstance(value, str | dict | None):
            what = f"{path} gives {name[:80]!r} a value that is no token"
            yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)
            return


def _tokenizers(bundle: Bundle) -> Iterator[Component]:
    return (component for component in bundle.components if component.kind is ComponentKind.TOKENIZER)


def _is_clip(component: Component) -> bool:
    return component.class_name.removesuffix("Fast") == "CLIPTokenizer"


def _reads_tokenizer_json(bundle: Bundle, component: Component) -> bool:
    files = bundle.tables.tokenizer_files(component.class_name)
    return files is None or "tokenizer_file" in files or component.class_name.endswith("Fast")


def _slow_files(bundle: Bundle, component: Component) -> tuple[str, ...]:
    """The files that together are the vocabulary without tokenizer.json; none for a class that needs none."""
    files = bundle.tables.tokenizer_files(component.class_name) or {}
    names = tuple(name for role, name in sorted(files.items()) if role not in _NOT_VOCABULARY)
    if len(names) == 1 and names[0].endswith(_SENTENCEPIECE) and not bundle.is_file(component.path(names[0])):
        # transformers 5 takes a sentencepiece model under its general name too
        return ("tokenizer.model",) if bundle.is_file(component.path("tokenizer.model")) else names
    return names


def _checked(bundle: Bundle, component: Component, path: str, said: Iterator[Problem]) -> Iterator[Problem]:
    """What is said of the vocabulary; when that is nothing, of the words that CLIP asks of it."""
    problems = list(said)
    yield from problems
    if not problems and _is_clip(component):
        yield from _special_tokens_have_vectors(bundle, component, path)


def _beside_tokenizer_json(bundle: Bundle, component: Component, slow: tuple[str, ...]) -> Iterator[Problem]:
    there = [name for name in slow if bundle.is_file(component.path(name))]
    for name in there:
        path = component.path(name)
        if is_damaged(bundle, path):
            what = f"{path} is damaged; {TOKENIZER_JSON} is what loads"
            yield notice(FindingCode.UNUSED_TOKENIZER_FILE_DAMAGED, what, path)
    if len(there) < len(slow) and not component.class_name.endswith("Fast"):
        what = f"{component.name} has {TOKENIZER_JSON} only; transformers 4 asks for {', '.join(slow)}"
        yield notice(FindingCode.TOKENIZER_JSON_ONLY, what, component.path(TOKENIZER_JSON))


def _missing(bundle: Bundle, component: Component, slow: tuple[str, ...]) -> Iterator[Problem]:
    code = FindingCode.MISSING_TOKENIZER_FILES
    for name in slow:
        path = component.path(name)
        if not bundle.is_file(path):
            what = f"{component.name} has neither {TOKENIZER_JSON} nor {name}: transformers would make up a vocabulary"
            yield bundle.no_file(path, code, what)


def _entries_are_usable(document: dict[str, object], path: str) -> Iterator[Problem]:
    decoder = document.get("added_tokens_decoder", {})
    if not isinstance(decoder, dict) or not all(isinstance(token, dict) for token in decoder.values()):
        yield fatal(FindingCode.INVALID_CONFIG_JSON, f"{path} has added_tokens_decoder without tokens", path)
    if document.get("padding_side", "right") not in ("left", "right"):
        yield fatal(FindingCode.INVALID_CONFIG_JSON, f"{path} has a padding_side that is neither left nor right", path)


def _length_is_usable(bundle: Bundle, component: Component, length: object) -> Iterator[Problem]:
    path = component.path(TOKENIZER_CONFIG)
    most = _of_the_text_encoder(bundle, component, "max_position_embeddings") or _CLIP_POSITIONS
    if not isinstance(length, int) or isinstance(length, bool) or not 0 < length <= most:
        given = "no" if length is None else f"{shown(length)} as"
        what = f"{path} gives {given} model_max_length; the text encoder takes at most {most} tokens"
        yield fatal(FindingCode.TOKENIZER_CONFIG_MISSING, what, path)


def _of_the_text_encoder(bundle: Bundle, tokenizer: Component, key: str) -> int | None:
    """What the config of the text encoder that belongs to the tokenizer says; None where it does not."""
    name = tokenizer.name.replace("tokenizer", "text_encoder", 1)
    for component in bundle.components:
        if component.name == name and component.kind is ComponentKind.TRANSFORMERS_MODEL:
            try:
                said = bundle.document(component.path("config.json")).get(key)
            except Unusable:
                return None
            return said if isinstance(said, int) else None
    return None


TOKENIZER_RULES: tuple[Rule, ...] = (
    vocabulary_is_complete,
    settings_are_usable,
    lists_of_tokens_are_whole,
    side_files_are_usable,
)
