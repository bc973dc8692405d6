"""Owns the parts of a tokenizer.json: which types of each `tokenizers` 0.23 knows, and which settings they must have.

Found by leaving out each setting, and by giving it a value of another type, with the real library.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Size = Annotated[int, msgspec.Meta(ge=0)]
_Unsplit = Literal["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


class _Pattern(msgspec.Struct):
    String: str | msgspec.UnsetType = msgspec.UNSET
    Regex: str | msgspec.UnsetType = msgspec.UNSET


class AddedToken(msgspec.Struct):
    """A token beside the words, as transformers reads it: of the content it takes what it finds."""

    id: float
    single_word: bool
    lstrip: bool
    rstrip: bool
    normalized: bool
    special: bool


class Padding(msgspec.Struct):
    """How texts of a batch are made as long as each other."""

    strategy: Literal["BatchLongest"] | dict[Literal["Fixed"], _Size]
    direction: Literal["Left", "Right"]
    pad_id: _Size
    pad_type_id: _Size
    pad_token: str
    pad_to_multiple_of: _Size | None = None


class Truncation(msgspec.Struct):
    """How texts are cut to length."""

    max_length: _Size
    strategy: Literal["LongestFirst", "OnlyFirst", "OnlySecond"]
    stride: _Size
    direction: Literal["Left", "Right"] = "Right"


class ModelSettings(msgspec.Struct):
    """What byte pairs, unigrams and whole words have beside their vocabulary; each takes some of it."""

    unk_token: str | None = None
    continuing_subword_prefix: str | None = None
    end_of_word_suffix: str | None = None
    dropout: _Share | None = None
    fuse_unk: bool | None = None
    byte_fallback: bool | None = None
    ignore_merges: bool | None = None
    max_input_chars_per_word: _Size = 100


class _Plain(msgspec.Struct):
    """A part without settings."""


class _Bert(msgspec.Struct):
    clean_text: bool
    handle_chinese_chars: bool
    lowercase: bool
    strip_accents: bool | None = None


class _Strip(msgspec.Struct):
    strip_left: bool
    strip_right: bool


class _Precompiled(msgspec.Struct):
    precompiled_charsmap: str


class _Replace(msgspec.Struct):
    pattern: _Pattern
    content: str


class _Prepend(msgspec.Struct):
    prepend: str


class _ByteLevel(msgspec.Struct):
    add_prefix_space: bool
    trim_offsets: bool
    use_regex: bool = True


class _Delimiter(msgspec.Struct):
    delimiter: str


class _Metaspace(msgspec.Struct):
    replacement: str
    prepend_scheme: Literal["first", "never", "always"] = "always"
    split: bool | None = None


class _Split(msgspec.Struct):
    pattern: _Pattern
    behavior: _Unsplit
    invert: bool


class _Punctuation(msgspec.Struct):
    behavior: _Unsplit = "Isolated"


class _Digits(msgspec.Struct):
    individual_digits: bool


class _FixedLength(msgspec.Struct):
    length: _Size = 5


class _Ends(msgspec.Struct):
    sep: tuple[str, _Size]
    cls: tuple[str, _Size]


class _Template(msgspec.Struct):
    single: list[Any]
    pair: list[Any]
    special_tokens: dict[str, Any]


class _BytePairs(msgspec.Struct):
    suffix: str


class _WordPiece(msgspec.Struct):
    prefix: str
    cleanup: bool


class _Ctc(msgspec.Struct):
    pad_token: str
    word_delimiter_token: str
    cleanup: bool


class _StripText(msgspec.Struct):
    content: str
    start: _Size
    stop: _Size


PARTS: Mapping[str, tuple[str, Mapping[str, type[msgspec.Struct]]]] = {
    "normalizer": (
        "normalizers",
        {
            **dict.fromkeys(("StripAccents", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Nmt", "ByteLevel"), _Plain),
            "BertNormalizer": _Bert,
            "Strip": _Strip,
            "Replace": _Replace,
            "Prepend": _Prepend,
            "Precompiled": _Precompiled,
        },
    ),
    "pre_tokenizer": (
        "pretokenizers",
        {
            **dict.fromkeys(("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "UnicodeScripts"), _Plain),
            "ByteLevel": _ByteLevel,
            "CharDelimiterSplit": _Delimiter,
            "Metaspace": _Metaspace,
            "Split": _Split,
            "Punctuation": _Punctuation,
            "Digits": _Digits,
            "FixedLength": _FixedLength,
        },
    ),
    "post_processor": (
        "processors",
        {
            "RobertaProcessing": _Ends,
            "BertProcessing": _Ends,
            "ByteLevel": _ByteLevel,
            "TemplateProcessing": _Template,
        },
    ),
    "decoder": (
        "decoders",
        {
            **dict.fromkeys(("Fuse", "ByteFallback"), _Plain),
            "BPEDecoder": _BytePairs,
            "ByteLevel": _ByteLevel,
            "WordPiece": _WordPiece,
            "Metaspace": _Metaspace,
            "CTC": _Ctc,
            "Replace": _Replace,
            "Strip": _StripText,
        },
    ),
}
"""Of each part: what a sequence calls its own parts, and what the settings of each type are."""
