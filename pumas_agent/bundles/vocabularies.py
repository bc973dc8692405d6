"""Owns what the files of a vocabulary must hold: tokenizer.json, vocab.json with merges.txt, sentencepiece models.

Small files are checked whole. Of large ones only what a cut-off download or a full disk leaves is looked for, because a
full-size vocabulary takes longer to parse than all the rest of a bundle.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

import msgspec

from pumas_agent.bundles.bundle import LFS_MARKS, Bundle, Component, Unusable
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, shown

MAX_WHOLE_BYTES = 512 * 1024
_MAX_BYTES = 64 * 1024 * 1024
_MAX_CONTAINERS = 4_000_000
"""Lists and objects in a document, each of which takes seventy bytes; the largest vocabularies have 600,000."""
_MAX_LIST_BYTES = 16 * 1024 * 1024
"""Of a file that is read item by item; the largest published have 5 MB."""
_EDGE_BYTES = 4096
_NUMBERS = 1 << 32
"""`tokenizers` numbers words in 32 bits; a larger one is cut to fit, and is another word."""
_LAST_NUMBER = re.compile(rb"(\d{1,9})\s*}$")
_BASE_SYMBOLS = 2048
"""More than the symbols and special tokens that a trained byte-pair vocabulary has beside its merges (CLIP: 514)."""

_TOP_LEVEL = frozenset(
    {
        *("version", "truncation", "padding", "added_tokens", "normalizer"),
        *("pre_tokenizer", "post_processor", "decoder", "model"),
    }
)
"""What tokenizer.json may hold; the parser of `tokenizers` refuses anything else."""
_OF_A_TOKEN = frozenset({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"})
_MODELS = {
    "CLIPTokenizer": "BPE",
    "GPT2Tokenizer": "BPE",
    "Qwen2Tokenizer": "BPE",
    "T5Tokenizer": "Unigram",
    "XLMRobertaTokenizer": "Unigram",
    "BertTokenizer": "WordPiece",
}
"""The model that a class builds from what it reads (transformers 5); of other classes any will do."""
_KNOWN_MODELS = ("BPE", "Unigram", "WordPiece", "WordLevel")


class _Wrong(Exception):
    """What is wrong with a vocabulary, as the end of a sentence that begins with the file."""

    def __init__(self, what: str, code: FindingCode = FindingCode.INVALID_TOKENIZER_FILES) -> None:
        super().__init__(what)
        self.code = code


def check_tokenizer_json(bundle: Bundle, component: Component, path: str) -> Iterator[Problem]:
    """tokenizer.json is what `tokenizers` reads, and holds the kind of model that the class builds."""
    try:
        content = _content(bundle, path, _whole_tokenizer)
        if content is not None:
            _tokenizer(_json(content), component.class_name.removesuffix("Fast"))
    except _Wrong as wrong:
        yield fatal(wrong.code, f"{path} {wrong}", path)
    except Unusable as unusable:
        yield unusable.problem


def check_slow_files(bundle: Bundle, component: Component, names: Sequence[str]) -> Iterator[Problem]:
    """Each file of the slow tokenizer is of its kind, and merges agree with the vocabulary."""
    words: Mapping[str, int] | None = None
    for name in sorted(names, key=lambda name: name.endswith(".txt")):  # merges.txt after its vocab.json
        path = component.path(name)
        try:
            if name.endswith(".json"):
                words = _vocabulary(bundle, path)
            elif name == "merges.txt":
                _merges(bundle, path, component.path("vocab.json"), words)
            elif name.endswith(".model"):
                _sentencepiece(bundle, path)
            else:
                _text(bundle, path)
        except _Wrong as wrong:
            yield fatal(wrong.code, f"{path} {wrong}", path)
        except Unusable as unusable:
            yield unusable.problem


def is_damaged(bundle: Bundle, path: str) -> bool:
    """True for a file that is empty, a Git LFS pointer, or ends in zeros."""
    try:
        first, last, size = _edges(bundle, path)
    except Unusable:
        return True
    return size == 0 or first.startswith(LFS_MARKS) or last.endswith(b"\0")


def _tokenizer(document: Any, class_name: str) -> None:
    if not isinstance(document, dict):
        raise _Wrong("holds no JSON object")
    if unknown := document.keys() - _TOP_LEVEL:
        raise _Wrong(f"has {min(unknown)[:80]!r}, which no tokenizer has")
    if document.get("version", "1.0") != "1.0":
        raise _Wrong("is of a version that nobody reads")
    added = document.get("added_tokens")
    if not isinstance(added, list) or not all(
        isinstance(token, dict) and token.keys() >= _OF_A_TOKEN for token in added
    ):
        raise _Wrong("has no added_tokens, or some that are none")
    model = document.get("model")
    if not isinstance(model, dict) or "vocab" not in model:
        raise _Wrong("has no model with a vocabulary")
    kind = model.get("type", _MODELS.get(class_name, "BPE"))
    if kind not in _KNOWN_MODELS or kind != _MODELS.get(class_name, kind):
        raise _Wrong(f"has a model of the type {shown(kind)}, which {class_name} does not read")
    if kind == "BPE":
        _byte_pairs(_words(model["vocab"]), model.get("merges"), model.get("continuing_subword_prefix"))
    elif kind == "Unigram":
        _unigrams(model["vocab"], model.get("unk_id"))
    else:
        _words(model["vocab"])


def _byte_pairs(words: Mapping[str, int], merges: Any, prefix: Any) -> None:
    if not isinstance(merges, list):
        raise _Wrong("has no merges")
    if prefix is not None and not isinstance(prefix, str):
        raise _Wrong("has a continuing_subword_prefix that is no text")
    pairs = (merge.split(" ", 2) if isinstance(merge, str) else merge for merge in merges)
    _merges_fit(words, pairs, prefix or "")


def _merges_fit(words: Mapping[str, int], pairs: Iterable[Any], prefix: str = "") -> None:
    """Each merge is of two words of the vocabulary, and gives a third one (`tokenizers`: Token … out of vocabulary)."""
    first = last = None
    in_order, count = True, 0
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):  # noqa: PLR2004
            raise _Wrong("has a merge that is no pair of words")
        left, right = pair
        merged = left + right.removeprefix(prefix)
        for word in (left, right, merged):
            if word not in words:
                raise _Wrong(f"has a merge with {word[:40]!r}, which is not in the vocabulary")
        last = words[merged]
        first = last if first is None else first
        in_order = in_order and last == first + count
        count += 1
    if last is None:
        raise _Wrong("has no merges: words would be read letter by letter", FindingCode.TOKENIZER_MERGES_EMPTY)
    # A trained vocabulary numbers its merges in their order: another word right behind the last is a lost merge.
    after = next((word for word, number in words.items() if number == last + 1), None)
    if in_order and count > 1 and after is not None and not after.startswith("<") and len(after) > 1:
        raise _Wrong(f"ends before the merge that gives {after[:40]!r}")


def _unigrams(pieces: Any, unknown: Any) -> None:
    if not isinstance(pieces, list) or not pieces:
        raise _Wrong("has an empty vocabulary")
    for piece in pieces:
        if not isinstance(piece, list) or len(piece) != 2 or not isinstance(piece[0], str):  # noqa: PLR2004
            raise _Wrong("has a piece that is no pair of text and score")
        if not isinstance(piece[1], int | float) or isinstance(piece[1], bool):
            raise _Wrong(f"has no score for {piece[0][:40]!r}")
    if unknown is not None and (not isinstance(unknown, int) or not 0 <= unknown < len(pieces)):
        raise _Wrong("names a word outside its vocabulary for what it does not know")


def _words(vocabulary: Any) -> Mapping[str, int]:
    if not isinstance(vocabulary, dict) or not vocabulary:
        raise _Wrong("has an empty vocabulary")
    if not all(type(number) is int and 0 <= number < _NUMBERS for number in vocabulary.values()):
        raise _Wrong("has words without a number")
    return vocabulary


def _numbered(vocabulary: Any) -> Mapping[str, int]:
    """The words of a vocab.json; what has no number is no word to `tokenizers`, and no reason to refuse the file."""
    if not isinstance(vocabulary, dict):
        raise _Wrong("holds no JSON object")
    return _words({word: number for word, number in vocabulary.items() if type(number) in (int, float)})


def _vocabulary(bundle: Bundle, path: str) -> Mapping[str, int] | None:
    """The words of a vocab.json; None for a large one, of which only the ends are looked at."""
    content = _content(bundle, path, _whole_vocabulary)
    return None if content is None else _numbered(_json(content))


def _merges(bundle: Bundle, path: str, vocabulary: str, words: Mapping[str, int] | None) -> None:
    content = bundle.read(path, _MAX_LIST_BYTES)
    if not content:
        raise _Wrong("is empty: words would be read letter by letter", FindingCode.TOKENIZER_MERGES_EMPTY)
    _not_a_pointer(content)
    if words is None and content.endswith(b"\n") and b"\0" not in content[-_EDGE_BYTES:]:
        missing = _last_number(bundle, vocabulary) - content.count(b"\n")
        if missing > _BASE_SYMBOLS:
            raise _Wrong(f"has {missing} merges less than there are words in vocab.json")
        return
    if words is None:  # cut off in the middle of a line, perhaps: only the whole vocabulary tells
        words = _numbered(_json(bundle.read(vocabulary, _MAX_BYTES)))
    try:
        lines = (line.decode().removesuffix("\n").removesuffix("\r") for line in BytesIO(content))
        _merges_fit(words, (line.split(" ", 2) for line in lines if not line.startswith("#version")))
    except UnicodeDecodeError as error:
        raise _Wrong("is not text in UTF-8") from error


def _last_number(bundle: Bundle, path: str) -> int:
    """Of a large vocab.json, which is written in the order of its numbers; less than the last one where it is not."""
    _, last, _ = _edges(bundle, path)
    found = _LAST_NUMBER.search(last.rstrip())
    return int(found[1]) if found else 0


def _sentencepiece(bundle: Bundle, path: str) -> None:
    """A serialized `ModelProto`: fields one after the other, the last of which ends where the file does."""
    content = bundle.read(path, _MAX_LIST_BYTES)
    if not content:
        raise _Wrong("is empty")
    _not_a_pointer(content)
    at, size, pieces = 0, len(content), 0
    while at < size:
        tag = content[at]
        if tag & 7 != 2 or tag >> 3 > 5:  # noqa: PLR2004 - length-delimited, and ModelProto has five fields
            raise _Wrong("is no sentencepiece model")
        length, at = _varint(content, at + 1)
        at += length
        pieces += tag >> 3 == 1
    if at != size or not pieces:
        raise _Wrong("is cut off" if pieces else "has no pieces")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while at < len(content) and shift < 64:  # noqa: PLR2004 - bits of the longest one
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:  # noqa: PLR2004 - the last byte has no top bit
            return value, at
    raise _Wrong("is cut off")


def _text(bundle: Bundle, path: str) -> None:
    first, last, size = _edges(bundle, path)
    if size == 0:
        raise _Wrong("is empty")
    _not_a_pointer(first)
    if b"\0" in first or last.endswith(b"\0"):
        raise _Wrong("is no text")


def _content(bundle: Bundle, path: str, whole: Callable[[bytes, bytes], bool]) -> bytes | None:
    """The bytes of a file that has to be parsed: it is small, or its ends are not those of a `whole` one."""
    first, last, size = _edges(bundle, path)
    if size > MAX_WHOLE_BYTES and whole(first, last.rstrip()):
        return None
    return bundle.read(path, _MAX_BYTES)


def _whole_vocabulary(first: bytes, last: bytes) -> bool:
    return first.startswith(b"{") and _LAST_NUMBER.search(last) is not None


def _whole_tokenizer(first: bytes, last: bytes) -> bool:
    """The model comes last, so two braces close the file; indented, the last one stands alone in its line."""
    return first.startswith(b"{") and last.endswith(b"\n}" if first[1:2] in b"\r\n" else b"}}")


def _json(content: bytes) -> Any:
    _not_a_pointer(content)
    if content.count(b"[") + content.count(b"{") > _MAX_CONTAINERS:
        raise _Wrong("has more lists than a vocabulary")
    try:
        return msgspec.json.decode(content)  # strict, as the parser of `tokenizers` is: no NaN
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Wrong(f"is not JSON: {error}") from error


def _edges(bundle: Bundle, path: str) -> tuple[bytes, bytes, int]:
    with bundle.open(path) as descriptor:
        size = os.fstat(descriptor).st_size
        first = os.pread(descriptor, _EDGE_BYTES, 0)
        return first, os.pread(descriptor, _EDGE_BYTES, max(size - _EDGE_BYTES, 0)), size


def _not_a_pointer(content: bytes) -> None:
    if not content:
        raise _Wrong("is empty")
    if content.startswith(LFS_MARKS):
        raise _Wrong("is a Git LFS pointer, not the file itself")
