"""Changes to words, merges and pieces that leave the files whole: some lost, some more, another kind of entry."""

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

from tests.cases.change import Change, Step, append, edit_json, remove, rewrite, set_keys, steps, write

_MERGES, _VOCAB, _SPIECE = "tokenizer/merges.txt", "tokenizer/vocab.json", "tokenizer/spiece.model"
_JSON, _CONFIG = "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"
_START = 2
"""Lines of merges.txt before the second merge: the version, the first merge."""


def vocabulary_changes() -> Iterator[Change]:
    """Of CLIP's words and merges, in two files and in one; of the pieces of T5."""
    yield from _words()
    yield from _words_in_one_file()
    yield from _pieces()


def _words() -> Iterator[Change]:
    def sd(what: str, step: Step) -> Change:
        return Change(f"words_{what}", "sd-tiny", step)

    yield sd("merges_without_first", rewrite(_MERGES, _without_lines(1, _START)))
    yield sd("merges_without_first_four", rewrite(_MERGES, _without_lines(1, 5)))
    yield sd("merges_without_second", rewrite(_MERGES, _without_lines(2, 3)))
    yield sd("merges_without_last", rewrite(_MERGES, _without_lines(-2, -1)))
    yield sd("merges_reversed", rewrite(_MERGES, _reversed))
    yield sd("merges_twice", rewrite(_MERGES, lambda content: content + content.partition(b"\n")[2]))
    yield sd("merges_trailing_space", rewrite(_MERGES, lambda content: content.replace(b"t h\n", b"t h \n")))
    yield sd("merges_tabs", rewrite(_MERGES, lambda content: content.replace(b"t h\n", b"t\th\n")))
    yield sd("merges_comment", append(_MERGES, b"#version: 0.3\n"))
    yield sd("vocab_word_more", edit_json(_VOCAB, lambda words: words.update({"zebra</w>": len(words)})))
    yield sd("vocab_number_twice", edit_json(_VOCAB, lambda words: words.update({"b</w>": words["a</w>"]})))
    yield sd("vocab_without_rare_letter", edit_json(_VOCAB, lambda words: words.pop("ÿ")))
    yield sd("vocab_marks_swapped", edit_json(_VOCAB, _swapped("<|startoftext|>", "<|endoftext|>")))
    yield sd("vocab_letters_swapped", edit_json(_VOCAB, _swapped("a</w>", "b</w>")))
    yield sd("vocab_sorted", rewrite(_VOCAB, lambda content: json.dumps(json.loads(content), sort_keys=True).encode()))
    yield sd("added_json_plain_word", write("tokenizer/added_tokens.json", b'{"cat": 5000}'))
    yield sd("added_json_known_word", write("tokenizer/added_tokens.json", b'{"cat</w>": 5000}'))


def _words_in_one_file() -> Iterator[Change]:
    def v5(what: str, edit: Callable[[dict[str, Any]], None]) -> Change:
        return Change(f"words_json_{what}", "sd-tiny-nosafety", edit_json(_JSON, edit))

    def model(edit: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
        def run(content: dict[str, Any]) -> None:
            content["model"].update(edit(content["model"]))

        return run

    yield v5("vocab_listed", model(lambda model: {"vocab": list(model["vocab"])}))
    yield v5("vocab_listed_with_numbers", model(lambda model: {"vocab": [[*pair] for pair in model["vocab"].items()]}))
    yield v5("vocab_listed_short", model(lambda model: {"vocab": list(model["vocab"])[:300]}))
    yield v5("vocab_listed_empty", model(lambda _: {"vocab": []}))
    yield v5("vocab_listed_of_numbers", model(lambda model: {"vocab": list(range(len(model["vocab"])))}))
    yield v5("merges_without_first", model(lambda model: {"merges": model["merges"][1:]}))
    yield v5("merges_without_last", model(lambda model: {"merges": model["merges"][:-1]}))
    yield v5("merges_of_three", model(lambda model: {"merges": [*model["merges"], ["a", "b", "c"]]}))


def _pieces() -> Iterator[Change]:
    def px(what: str, edit: Callable[[bytes], bytes]) -> Change:
        return Change(f"pieces_{what}", "pixart-tiny", steps(remove(_JSON), rewrite(_SPIECE, edit)))

    yield px("as_they_are", lambda content: content)
    yield px("one", _kept(lambda pieces: pieces[:1]))
    yield px("two", _kept(lambda pieces: pieces[:2]))
    yield px("three", _kept(lambda pieces: pieces[:3]))
    yield px("half", _kept(lambda pieces: pieces[: len(pieces) // 2]))
    yield px("twice", _kept(lambda pieces: [*pieces, *pieces]))
    yield px("without_letter", _kept(lambda pieces: [piece for piece in pieces if b"\x0a\x01c" not in piece]))
    yield px("last_lost", _kept(lambda pieces: pieces[:-1]))
    yield px("one_more", _kept(lambda pieces: [*pieces, _message(1, "▁zebra".encode()) + _score(-5.0)]))
    yield px("without_scores", _kept(lambda pieces: [piece[: piece.index(b"\x15")] for piece in pieces]))
    yield px("without_text", _kept(lambda pieces: [*pieces[:-1], _score(-5.0)]))
    yield px("not_utf8", _kept(lambda pieces: [*pieces[:-1], _message(1, b"\xff\xfe") + _score(-5.0)]))
    yield px("nan_score", _kept(lambda pieces: [*pieces[:-1], _message(1, b"zz") + _score(float("nan"))]))
    yield px("unknown_field_in_piece", _kept(lambda pieces: [*pieces[:-1], pieces[-1] + b"\x40\x01"]))
    yield px("damaged_piece", _kept(lambda pieces: [*pieces[:-1], pieces[-1] + b"\x0a\x7f"]))
    yield px("unknown_field", lambda content: content + _message(9, b"more"))
    yield px("unknown_number", lambda content: content + b"\x48\x07")
    yield px("unknown_fixed_32", lambda content: content + b"\x4d\0\0\0\0")
    yield px("unknown_fixed_64", lambda content: content + b"\x49\0\0\0\0\0\0\0\0")
    yield px("unknown_field_first", lambda content: b"\x48\x07" + content)
    yield px("unknown_field_far", lambda content: content + b"\xc2\x0c\x01x")
    yield px("unknown_group", lambda content: content + b"\x4b\x48\x07\x4c")
    yield px("group_without_end", lambda content: content + b"\x4b\x48\x07")
    yield px("end_of_no_group", lambda content: content + b"\x4c")
    yield px("wire_type_6", lambda content: content + b"\x4e\0")
    yield px("field_zero", lambda content: content + b"\x02\x00")
    yield px("unknown_cut_off", lambda content: content + b"\x4a\x7fx")
    yield px("fixed_cut_off", lambda content: content + b"\x4d\0")
    yield px("number_in_place_of_piece", lambda content: content + b"\x08\x07")
    yield px("without_trainer", lambda content: b"".join(field for tag, field in _fields(content) if tag == 1))
    yield px("trainer_empty", lambda content: _pieces_of(content) + b"\x12\x00")
    yield px("byte_pairs", lambda content: content + _message(2, b"\x18\x02"))
    yield px("unknown_is_past_end", lambda content: content + _message(2, b"\xc0\x02\xff\x7f"))
    yield px("trailing_newline", lambda content: content + b"\n")
    without = steps(remove(_JSON), set_keys(_CONFIG, {"eos_token": "<new>"}))
    yield Change("pieces_eos_new", "pixart-tiny", without)
    pad = steps(remove(_JSON), set_keys(_CONFIG, {"pad_token": "<new>"}))
    yield Change("pieces_pad_new", "pixart-tiny", pad)
    new, word = _ending_with("<new>"), _ending_with("▁cat")
    yield Change("pieces_eos_new_everywhere", "pixart-tiny", steps(remove(_JSON), new))
    yield Change("words_t5_eos_new_everywhere", "pixart-tiny", new)
    yield Change("words_t5_eos_word_everywhere", "pixart-tiny", word)


def _ending_with(token: str) -> Step:
    """Another end of a prompt, in both files that name it."""
    named = {"eos_token": token}
    return steps(set_keys(_CONFIG, named), set_keys("tokenizer/special_tokens_map.json", named))


def _without_lines(first: int, last: int) -> Callable[[bytes], bytes]:
    def edit(content: bytes) -> bytes:
        lines = content.split(b"\n")
        del lines[first:last]
        return b"\n".join(lines)

    return edit


def _reversed(content: bytes) -> bytes:
    version, *merges = content.rstrip(b"\n").split(b"\n")
    return b"\n".join([version, *reversed(merges)]) + b"\n"


def _swapped(one: str, other: str) -> Callable[[dict[str, Any]], None]:
    return lambda words: words.update({one: words[other], other: words[one]})


def _kept(edit: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    """The file with other pieces."""

    def run(content: bytes) -> bytes:
        fields = list(_fields(content))
        pieces = [field[_head(field) :] for tag, field in fields if tag == 1]
        return b"".join(_message(1, piece) for piece in edit(pieces)) + b"".join(f for tag, f in fields if tag != 1)

    return run


def _pieces_of(content: bytes) -> bytes:
    return b"".join(field for tag, field in _fields(content) if tag == 1)


def _fields(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Of a sound file: the number of each field, and its bytes with tag and length."""
    at = 0
    while at < len(content):
        start, number = at, content[at] >> 3
        length = shift = 0
        while True:
            at += 1
            length |= (content[at] & 127) << shift
            shift += 7
            if content[at] < 128:
                break
        at += 1 + length
        yield number, content[start:at]


def _head(field: bytes) -> int:
    """Bytes of the tag and the length."""
    return 2 + next(place for place, byte in enumerate(field[1:]) if byte < 128)


def _message(number: int, content: bytes) -> bytes:
    return bytes((number << 3 | 2, len(content))) + content


def _score(value: float) -> bytes:
    return b"\x15" + struct.pack("<f", value)
