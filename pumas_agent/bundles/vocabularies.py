"""Owns what words and merges must be, and the files of a slow tokenizer: vocab.json with merges.txt, sentencepiece.

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
from pumas_agent.bundles.findings import FindingCode, Problem, fatal

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


class Wrong(Exception):
    """What is wrong with a vocabulary, as the end of a sentence that begins with the file."""

    def __init__(self, what: str, code: FindingCode = FindingCode.INVALID_TOKENIZER_FILES) -> None:
        super().__init__(what)
        self.code = code


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
        except Wrong as wrong:
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


def merges_fit(words: Mapping[str, int], pairs: Iterable[Any], prefix: str = "") -> None:
    """Each merge is of two words of the vocabulary, and gives a third one (`tokenizers`: Token … out of vocabulary)."""
    first = last = None
    in_order, count = True, 0
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):  # noqa: PLR2004
            raise Wrong("has a merge that is no pair of words")
        left, right = pair
        merged = left + right.removeprefix(prefix)
        for word in (left, right, merged):
            if word not in words:
                raise Wrong(f"has a merge with {word[:40]!r}, which is not in the vocabulary")
        last = words[merged]
        first = last if first is None else first
        in_order = in_order and last == first + count
        count += 1
    if last is None:
        raise Wrong("has no merges: words would be read letter by letter", FindingCode.TOKENIZER_MERGES_EMPTY)
    # A trained vocabulary numbers its merges in their order: another word right behind the last is a lost merge.
    after = next((word for word, number in words.items() if number == last + 1), None)
    if in_order and count > 1 and after is not None and not after.startswith("<") and len(after) > 1:
        raise Wrong(f"ends before the merge that gives {after[:40]!r}")


def checked_words(vocabulary: Any) -> Mapping[str, int]:
    """The words with their numbers, or `Wrong`."""
    if not isinstance(vocabulary, dict) or not vocabulary:
        raise Wrong("has an empty vocabulary")
    if not all(type(number) is int and 0 <= number < _NUMBERS for number in vocabulary.values()):
        raise Wrong("has words without a number")
    return vocabulary


def _numbered(vocabulary: Any) -> Mapping[str, int]:
    """The words of a vocab.json; what has no number is no word to `tokenizers`, and no reason to refuse the file."""
    if not isinstance(vocabulary, dict):
        raise Wrong("holds no JSON object")
    return checked_words({word: number for word, number in vocabulary.items() if type(number) in (int, float)})


def _vocabulary(bundle: Bundle, path: str) -> Mapping[str, int] | None:
    """The words of a vocab.json; None for a large one, of which only the ends are looked at."""
    content = content_of(bundle, path, _whole_vocabulary)
    return None if content is None else _numbered(from_json(content))


def _merges(bundle: Bundle, path: str, vocabulary: str, words: Mapping[str, int] | None) -> None:
    content = bundle.read(path, _MAX_LIST_BYTES)
    if not content:
        raise Wrong("is empty: words would be read letter by letter", FindingCode.TOKENIZER_MERGES_EMPTY)
    _not_a_pointer(content)
    if words is None and content.endswith(b"\n") and b"\0" not in content[-_EDGE_BYTES:]:
        missing = _last_number(bundle, vocabulary) - content.count(b"\n")
        if missing > _BASE_SYMBOLS:
            raise Wrong(f"has {missing} merges less than there are words in vocab.json")
        return
    if words is None:  # cut off in the middle of a line, perhaps: only the whole vocabulary tells
        words = _numbered(from_json(bundle.read(vocabulary, _MAX_BYTES)))
    try:
        lines = (line.decode().removesuffix("\n").removesuffix("\r") for line in BytesIO(content))
        merges_fit(words, (line.split(" ", 2) for line in lines if not line.startswith("#version")))
    except UnicodeDecodeError as error:
        raise Wrong("is not text in UTF-8") from error


def _last_number(bundle: Bundle, path: str) -> int:
    """Of a large vocab.json, which is written in the order of its numbers; less than the last one where it is not."""
    _, last, _ = _edges(bundle, path)
    found = _LAST_NUMBER.search(last.rstrip())
    return int(found[1]) if found else 0


def _sentencepiece(bundle: Bundle, path: str) -> None:
    """A serialized `ModelProto`: fields one after the other, the last of which ends where the file does."""
    content = bundle.read(path, _MAX_LIST_BYTES)
    if not content:
        raise Wrong("is empty")
    _not_a_pointer(content)
    at, size, pieces = 0, len(content), 0
    while at < size:
        tag = content[at]
        if tag & 7 != 2 or tag >> 3 > 5:  # noqa: PLR2004 - length-delimited, and ModelProto has five fields
            raise Wrong("is no sentencepiece model")
        length, at = _varint(content, at + 1)
        at += length
        pieces += tag >> 3 == 1
    if at != size or not pieces:
        raise Wrong("is cut off" if pieces else "has no pieces")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while at < len(content) and shift < 64:  # noqa: PLR2004 - bits of the longest one
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:  # noqa: PLR2004 - the last byte has no top bit
            return value, at
    raise Wrong("is cut off")


def _text(bundle: Bundle, path: str) -> None:
    first, last, size = _edges(bundle, path)
    if size == 0:
        raise Wrong("is empty")
    _not_a_pointer(first)
    if b"\0" in first or last.endswith(b"\0"):
        raise Wrong("is no text")


def content_of(bundle: Bundle, path: str, whole: Callable[[bytes, bytes], bool]) -> bytes | None:
    """The bytes of a file that has to be parsed: it is small, or its ends are not those of a `whole` one."""
    first, last, size = _edges(bundle, path)
    if size > MAX_WHOLE_BYTES and whole(first, last.rstrip()):
        return None
    return bundle.read(path, _MAX_BYTES)


def _whole_vocabulary(first: bytes, last: bytes) -> bool:
    return first.startswith(b"{") and _LAST_NUMBER.search(last) is not None


def from_json(content: bytes) -> Any:
    """The document, or `Wrong`: no JSON, or more of it than fits into memory."""
    _not_a_pointer(content)
    if content.count(b"[") + content.count(b"{") > _MAX_CONTAINERS:
        raise Wrong("has more lists than a vocabulary")
    try:
        return msgspec.json.decode(content)  # strict, as the parser of `tokenizers` is: no NaN
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Wrong(f"is not JSON: {error}") from error


def _edges(bundle: Bundle, path: str) -> tuple[bytes, bytes, int]:
    with bundle.open(path) as descriptor:
        size = os.fstat(descriptor).st_size
        first = os.pread(descriptor, _EDGE_BYTES, 0)
        return first, os.pread(descriptor, _EDGE_BYTES, max(size - _EDGE_BYTES, 0)), size


def _not_a_pointer(content: bytes) -> None:
    if not content:
        raise Wrong("is empty")
    if content.startswith(LFS_MARKS):
        raise Wrong("is a Git LFS pointer, not the file itself")
