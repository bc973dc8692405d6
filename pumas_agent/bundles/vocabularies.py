"""Owns what words and merges must be, and the files of a slow tokenizer: vocab.json with merges.txt, sentencepiece.

Small files are checked whole. Of large ones only what a cut-off download or a full disk leaves is looked for, because a
full-size vocabulary takes longer to parse than all the rest of a bundle.
"""

import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

import msgspec

from pumas_agent.bundles.bundle import LFS_MARKS, Bundle, Component, Unusable
from pumas_agent.bundles.findings import FindingCode, Problem, fatal
from pumas_agent.bundles.prompt_tokens import vocabulary_size
from pumas_agent.bundles.sentencepiece import Wrong, count_pieces

MAX_WHOLE_BYTES = 512 * 1024
_MAX_BYTES = 64 * 1024 * 1024
_MAX_CONTAINERS = 4_000_000
"""Lists and objects in a document, each of which takes seventy bytes; the largest vocabularies have 600,000."""
_MAX_LIST_BYTES = 16 * 1024 * 1024
"""Of a file that is read item by item; the largest published have 5 MB."""
_EDGE_BYTES = 4096
_NUMBERS = 1 << 32
"""`tokenizers` numbers words in 32 bits; a larger one is cut to fit, and is another word."""
_WORD_WITH_NUMBER = re.compile(rb',\s*"((?:[^"\\]|\\.)*+)"\s*:\s*\d')
_LAST_NUMBER = re.compile(rb"(\d{1,9})\s*}$")
_T5_BESIDE_PIECES = 512
"""Rows that no piece has: T5 has a hundred marks, mT5 three hundred, and as many as a multiple of 128 takes."""
_BASE_SYMBOLS = 2048
"""More than the symbols and special tokens that a trained byte-pair vocabulary has beside its merges (CLIP: 514)."""


def check_slow_files(bundle: Bundle, component: Component, names: Sequence[str]) -> Iterator[Problem]:
    """Each file of the slow tokenizer is of its kind, and merges agree with the vocabulary."""
    words: Mapping[str, int] | None = None
    vocabulary: str | None = component.path("vocab.json")
    for name in sorted(names, key=lambda name: name.endswith(".txt")):  # merges.txt after its vocab.json
        path = component.path(name)
        try:
            if name.endswith(".json"):
                vocabulary = None  # until it is known to be sound
                words = _vocabulary(bundle, path)
                vocabulary = path
            elif name == "merges.txt":
                _merges(bundle, path, vocabulary, words)
            elif name.endswith(".model"):
                _sentencepiece(bundle, component, path)
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
    numbers: list[int] = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):  # noqa: PLR2004
            raise Wrong("has a merge that is no pair of words")
        left, right = pair
        merged = left + right.removeprefix(prefix)
        for word in (left, right, merged):
            if word not in words:
                raise Wrong(f"has a merge with {word[:40]!r}, which is not in the vocabulary")
        numbers.append(words[merged])
    if not numbers:
        raise Wrong("has no merges: words would be read letter by letter", FindingCode.TOKENIZER_MERGES_EMPTY)
    _no_merge_is_lost(words, numbers)


def _no_merge_is_lost(words: Mapping[str, int], merged: Sequence[int]) -> None:
    """A trained vocabulary numbers its merges in their order: another word among them, or next to them, is a lost one.

    Merged are the numbers that the merges give, in their order; in another order nobody can tell.
    """
    if len(merged) < 2 or any(first >= second for first, second in itertools.pairwise(merged)):  # noqa: PLR2004
        return
    given = frozenset(merged)
    lost = (
        word
        for word, number in words.items()
        if merged[0] - 1 <= number <= merged[-1] + 1 and number not in given and _is_of_several_symbols(word)
    )
    word = next(lost, None)
    if word is not None:
        raise Wrong(f"lacks the merge that gives {word[:40]!r}")


def _is_of_several_symbols(word: str) -> bool:
    """What only a merge gives: no mark, and no symbol by itself or at a word's end."""
    return not word.startswith(("<", "[")) and len(word.removesuffix("</w>")) > 1


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


def _merges(bundle: Bundle, path: str, vocabulary: str | None, words: Mapping[str, int] | None) -> None:
    """Merges beside their vocabulary: its words, or the path of a large one; neither where that is damaged itself."""
    content = bundle.read(path, _MAX_LIST_BYTES)
    if not content:
        raise Wrong("is empty: words would be read letter by letter", FindingCode.TOKENIZER_MERGES_EMPTY)
    _not_a_pointer(content)
    if vocabulary is None:
        return
    if words is None and content.endswith(b"\n") and b"\0" not in content[-_EDGE_BYTES:]:
        missing = _last_number(bundle, vocabulary) - content.count(b"\n")
        if missing > _BASE_SYMBOLS:
            raise Wrong(f"has {missing} merges less than there are words in vocab.json")
        if _ends_with_its_vocabulary(bundle, vocabulary, content):
            return
    if words is None:  # cut off, perhaps: only the whole vocabulary tells
        words = _numbered(from_json(bundle.read(vocabulary, _MAX_BYTES)))
    try:
        lines = (line.decode().removesuffix("\n").removesuffix("\r") for line in BytesIO(content))
        merges_fit(words, (line.split(" ", 2) for line in lines if not line.startswith("#version")))
    except UnicodeDecodeError as error:
        raise Wrong("is not text in UTF-8") from error


def _ends_with_its_vocabulary(bundle: Bundle, vocabulary: str, merges: bytes) -> bool:
    """The last merge gives the last word of a large vocab.json, but for marks; False also where nobody can tell.

    Looked for at the end of the file alone, for the whole takes longer to parse than all the rest of a bundle.
    """
    left, _, right = merges[merges.rstrip().rfind(b"\n") + 1 :].rstrip(b"\r\n").partition(b" ")
    _, last, _ = _edges(bundle, vocabulary)
    try:
        merged = (left + right).decode()
        spelled = (json.dumps(merged, ensure_ascii=plain).encode("utf-8", "surrogatepass") for plain in (True, False))
        at = max(last.rfind(word) for word in spelled)
        after = [json.loads(b'"%s"' % word) for word in _WORD_WITH_NUMBER.findall(last, at + 1)] if at >= 0 else []
    except ValueError:
        return False
    return at >= 0 and not any(map(_is_of_several_symbols, after))


def _last_number(bundle: Bundle, path: str) -> int:
    """Of a large vocab.json, which is written in the order of its numbers; less than the last one where it is not."""
    _, last, _ = _edges(bundle, path)
    found = _LAST_NUMBER.search(last.rstrip())
    return int(found[1]) if found else 0


def _sentencepiece(bundle: Bundle, component: Component, path: str) -> None:
    """A model whose pieces the text encoder has rows for: neither more of them, nor far fewer."""
    content = bundle.read(path, _MAX_LIST_BYTES)
    if not content:
        raise Wrong("is empty")
    _not_a_pointer(content)
    pieces = count_pieces(content, whole=len(content) <= MAX_WHOLE_BYTES)
    rows = vocabulary_size(bundle, component)
    if rows is not None and component.class_name.startswith("T5"):
        if pieces > rows:
            raise Wrong(f"has {pieces} pieces, and the text encoder knows {rows} words")
        if rows - pieces > _T5_BESIDE_PIECES:
            raise Wrong(f"has {pieces} pieces, of the {rows} words that the text encoder knows")


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
