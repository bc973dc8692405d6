"""Owns what a tokenizer.json must hold: the parts that `tokenizers` 0.23 reads, and the kind of model the class builds.

A small file is checked whole; of a large one, which takes longer to parse than all the rest of a bundle, only that it
was not cut off. What words and merges must be is for `vocabularies`.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pumas_agent.bundles.bundle import Bundle, Component, Unusable
from pumas_agent.bundles.findings import Problem, fatal, shown
from pumas_agent.bundles.sentencepiece import Wrong
from pumas_agent.bundles.special_tokens import WHOLE_TOKENIZERS
from pumas_agent.bundles.tokenizer_parts import PARTS, AddedToken, ModelSettings, Padding, Truncation
from pumas_agent.bundles.vocabularies import checked_words, content_of, from_json, merges_fit

_TOP_LEVEL = frozenset(
    {
        *("version", "truncation", "padding", "added_tokens", "normalizer"),
        *("pre_tokenizer", "post_processor", "decoder", "model"),
    }
)
"""What tokenizer.json may hold; the parser of `tokenizers` refuses anything else."""
_MODELS = {
    "CLIPTokenizer": "BPE",
    "GPT2Tokenizer": "BPE",
    "Qwen2Tokenizer": "BPE",
    "T5Tokenizer": "Unigram",
    "XLMRobertaTokenizer": "Unigram",
    "BertTokenizer": "WordPiece",
}
"""The model that a class builds from what it reads (transformers 5); of other classes any will do."""


def check_tokenizer_json(
    bundle: Bundle, component: Component, path: str, *, has_the_tokens: bool = False
) -> Iterator[Problem]:
    """tokenizer.json is what `tokenizers` reads, and holds the kind of model that the class builds.

    It may lack `added_tokens` where tokenizer_config.json has them, which transformers 5 then takes.
    """
    try:
        content = content_of(bundle, path, _is_whole)
        if content is not None:
            document = from_json(content)
            if has_the_tokens and isinstance(document, dict):
                document.setdefault("added_tokens", [])
            _check(document, component.class_name)
    except Wrong as wrong:
        yield fatal(wrong.code, f"{path} {wrong}", path)
    except Unusable as unusable:
        yield unusable.problem


def _is_whole(first: bytes, last: bytes) -> bool:
    """The model comes last, so two braces close the file; indented, the last one stands alone in its line."""
    return first.startswith(b"{") and last.endswith(b"\n}" if first[1:2] in b"\r\n" else b"}}")


def _check(document: Any, class_name: str) -> None:
    plain = class_name.removesuffix("Fast")
    if not isinstance(document, dict):
        raise Wrong("holds no JSON object")
    if unknown := document.keys() - _TOP_LEVEL:
        raise Wrong(f"has {min(unknown)[:80]!r}, which no tokenizer has")
    if document.get("version", "1.0") != "1.0":
        raise Wrong("is of a version that nobody reads")
    _are_of("added_tokens", document.get("added_tokens"), list[AddedToken])
    _are_of("padding", document.get("padding"), Padding | None)
    _are_of("truncation", document.get("truncation"), Truncation | None)
    for part in PARTS:
        if document.get(part) is not None:
            _check_part(part, document[part])
    _check_model(document.get("model"), plain)
    if class_name in WHOLE_TOKENIZERS and document.get("pre_tokenizer") is None:
        raise Wrong(f"has no pre_tokenizer, and {class_name} brings none of its own")


def _check_part(part: str, value: Any) -> None:
    """One of the steps around the model, or a sequence of them; one without a type is of an older kind."""
    inner, known = PARTS[part]
    waiting = [value]
    while waiting:
        step = waiting.pop()
        if not isinstance(step, dict) or not step:
            raise Wrong(f"has a {part} that is none: {shown(step)}")
        name = step.get("type")
        if name == "Sequence" and isinstance(step.get(inner), list):
            waiting += step[inner]
        elif "type" in step:
            if not isinstance(name, str) or name not in known:
                raise Wrong(f"has a {part} of the type {shown(name)}, which is not known")
            _are_of(part, step, known[name])
            if name == "Precompiled":
                _check_charsmap(step["precompiled_charsmap"])


def _check_charsmap(text: str) -> None:
    """How sentencepiece has characters written: bytes in base64, which is nothing in a model that leaves all alone."""
    try:
        base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Wrong("has a precompiled_charsmap that is not in base64") from error


def _check_model(model: Any, class_name: str) -> None:
    if not isinstance(model, dict) or "vocab" not in model:
        raise Wrong("has no model with a vocabulary")
    kind = model.get("type", _MODELS.get(class_name, "BPE"))
    if kind not in {"BPE", "Unigram", "WordPiece", "WordLevel"} or kind != _MODELS.get(class_name, kind):
        raise Wrong(f"has a model of the type {shown(kind)}, which {class_name} does not read")
    if kind == "BPE":
        listed = isinstance(model["vocab"], list) and class_name in _MODELS
        words = _in_order(model["vocab"]) if listed else model["vocab"]
        _byte_pairs(checked_words(words), model.get("merges"), model.get("continuing_subword_prefix"))
    elif kind == "Unigram":
        _unigrams(model["vocab"], model.get("unk_id"))
    else:
        checked_words(model["vocab"])
    _are_of("model", model, ModelSettings)


def _in_order(listed: list[Any]) -> dict[str, int]:
    """The words of a vocabulary that is a list, each the first of a list perhaps, numbered by their places.

    transformers 5: `TokenizersBackend.convert_to_native_format`.
    """
    words = [word[0] if isinstance(word, list) and word else word for word in listed]
    if not all(isinstance(word, str) for word in words):
        raise Wrong("has a vocabulary of other things than words")
    return {word: number for number, word in enumerate(words)}


def _byte_pairs(words: Mapping[str, int], merges: Any, prefix: Any) -> None:
    if not isinstance(merges, list):
        raise Wrong("has no merges")
    if prefix is not None and not isinstance(prefix, str):
        raise Wrong("has a continuing_subword_prefix that is no text")
    pairs = (merge.split(" ", 2) if isinstance(merge, str) else merge for merge in merges)
    merges_fit(words, pairs, prefix or "")


def _unigrams(pieces: Any, unknown: Any) -> None:
    if not isinstance(pieces, list) or not pieces:
        raise Wrong("has an empty vocabulary")
    for piece in pieces:
        if not isinstance(piece, list) or len(piece) != 2 or not isinstance(piece[0], str):  # noqa: PLR2004
            raise Wrong("has a piece that is no pair of text and score")
        if not isinstance(piece[1], int | float) or isinstance(piece[1], bool):
            raise Wrong(f"has no score for {piece[0][:40]!r}")
    if unknown is not None and (not isinstance(unknown, int) or not 0 <= unknown < len(pieces)):
        raise Wrong("names a word outside its vocabulary for what it does not know")


def _are_of(name: str, value: Any, type_: Any) -> None:
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise Wrong(f"has a {name} that cannot be read: {error}") from error
