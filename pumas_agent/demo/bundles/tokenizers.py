"""Owns the files of the tokenizers: CLIP's, in the files of a byte-pair encoding, and T5's, in both of its forms.

Each file comes as its content by its name; nothing is written here.
"""

import json
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final

Files = dict[str, bytes]

_START, _END = "<|startoftext|>", "<|endoftext|>"
_POSITIONS = 77
_SENTINELS = 100
_SPACE = "▁"
_T5_SPECIAL: Final = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
_T5_POSITIONS = 512


def json_file(content: object) -> bytes:
    """As the libraries write theirs."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def clip_vocabulary(merges: Iterable[str]) -> dict[str, int]:
    """CLIP's kind of vocabulary: every byte as a printable character, each also at a word's end, merges, two marks."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    symbols = [chr(code) for code in printable] + [chr(256 + offset) for offset in range(256 - len(printable))]
    merged = [merge.replace(" ", "") for merge in merges]
    words = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *merged, _START, _END]
    return {word: number for number, word in enumerate(words)}


def clip_tokenizer(merges: Sequence[str], *, pad: str = _END) -> Files:
    """The files of a CLIPTokenizer. Each merge is two words of the vocabulary with a space between them."""
    special = {"bos_token": _START, "eos_token": _END, "pad_token": pad, "unk_token": _END}
    config = {
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": _POSITIONS,
        "tokenizer_class": "CLIPTokenizer",
        **special,
    }
    return {
        "vocab.json": json.dumps(clip_vocabulary(merges), ensure_ascii=False).encode(),
        "merges.txt": ("\n".join(("#version: 0.2", *merges)) + "\n").encode(),
        "special_tokens_map.json": json_file(special),
        "tokenizer_config.json": json_file(config),
    }


def t5_vocabulary_size(words: Sequence[str]) -> int:
    """How many numbers a T5 tokenizer of these words gives to tokens."""
    return len(_t5_pieces(words)) + _SENTINELS


def t5_tokenizer(words: Sequence[str]) -> Files:
    """The files of a T5Tokenizer: one who has no sentencepiece reads tokenizer.json, and finds the same numbers."""
    pieces = _t5_pieces(words)
    sentinels = [f"<extra_id_{number}>" for number in range(_SENTINELS)]
    special = {**_T5_SPECIAL, "additional_special_tokens": sentinels}
    config = {
        **special,
        "extra_ids": _SENTINELS,
        "model_max_length": _T5_POSITIONS,
        "tokenizer_class": "T5Tokenizer",
    }
    return {
        "spiece.model": _sentencepiece_model(pieces),
        "tokenizer.json": json.dumps(_t5_document(pieces, sentinels), ensure_ascii=False).encode(),
        "special_tokens_map.json": json_file(special),
        "tokenizer_config.json": json_file(config),
    }


def _t5_pieces(words: Sequence[str]) -> list[tuple[str, float]]:
    """Special pieces, then what a text is cut into, with logarithms of how likely each is: long ones rather."""
    characters = [_SPACE, *(chr(code) for code in range(ord("!"), ord("~") + 1))]
    pieces = [(character, -10.0) for character in characters] + [(_SPACE + word, -5.0) for word in words]
    return [*((piece, 0.0) for piece in _T5_SPECIAL.values()), *pieces]


def _t5_document(pieces: list[tuple[str, float]], sentinels: list[str]) -> dict[str, Any]:
    vocabulary = [*pieces, *((sentinel, 0.0) for sentinel in reversed(sentinels))]
    special = {*_T5_SPECIAL.values(), *sentinels}
    added = [
        {
            "id": number,
            "content": piece,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for number, (piece, _) in enumerate(vocabulary)
        if piece in special
    ]
    end = _T5_SPECIAL["eos_token"]
    metaspace = {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": "always", "split": True}
    first, mark = {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": end, "type_id": 0}}
    second = {"Sequence": {"id": "B", "type_id": 0}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [first, mark],
            "pair": [first, mark, second, mark],
            "special_tokens": {end: {"id": end, "ids": [1], "tokens": [end]}},
        },
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocabulary, "byte_fallback": False},
    }


def _sentencepiece_model(pieces: list[tuple[str, float]]) -> bytes:
    """A ModelProto of sentencepiece_model.proto: the pieces, the numbers of the special ones, no normalisation."""
    kinds = {"<pad>": 3, "</s>": 3, "<unk>": 2}  # control, control, unknown; the others are normal, 1
    model = b"".join(
        _message(1, _message(1, piece.encode()) + b"\x15" + struct.pack("<f", score) + _varint(3, kinds.get(piece, 1)))
        for piece, score in pieces
    )
    unigram, no_start = 1, (1 << 64) - 1  # a negative number is written as its two's complement in 64 bits
    numbers = ((3, unigram), (4, len(pieces)), (40, 2), (41, no_start), (42, 1), (43, 0))
    return model + _message(2, b"".join(_varint(*number) for number in numbers)) + _message(3, _message(1, b"identity"))


def _varint(field: int, number: int) -> bytes:
    return _base128(field << 3) + _base128(number)


def _message(field: int, content: bytes) -> bytes:
    return _base128(field << 3 | 2) + _base128(len(content)) + content


def _base128(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004  seven bits
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))
