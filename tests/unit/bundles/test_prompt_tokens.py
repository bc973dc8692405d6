"""The rules on the numbers of tokens: rows of the text encoder, the end of a prompt, words that are added."""

import json
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.bundles import validate
from pumas_agent.demo.bundles import BundleKind, write_bundle
from tests.cases.bases import write_base

SD, XL, SD3, FLUX, PIXART = (
    BundleKind.STABLE_DIFFUSION,
    BundleKind.STABLE_DIFFUSION_XL,
    BundleKind.STABLE_DIFFUSION_3,
    BundleKind.FLUX,
    BundleKind.PIXART,
)
WRONG = "invalid_tokenizer_files"


def put(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}, ensure_ascii=False))


def codes(root: Path) -> list[str]:
    return [finding.code for finding in validate(root).findings]


@pytest.mark.parametrize(
    ("kind", "name"), [(XL, "text_encoder_2"), (SD3, "text_encoder"), (SD3, "text_encoder_2"), (FLUX, "text_encoder")]
)
def test_the_end_of_a_prompt_is_looked_for_by_its_number(kind: BundleKind, name: str, tmp_path: Path) -> None:
    """Where a pipeline draws by it: 2 is the number of old, by which the highest one is the end."""
    write_bundle(kind, tmp_path)
    config = tmp_path / name / "config.json"
    right = json.loads(config.read_text())["eos_token_id"]
    said = {}

    for number in (right, 2, 5, -1):
        put(config, eos_token_id=number)
        said[number] = codes(tmp_path)

    assert said == {right: [], 2: [], 5: [WRONG], -1: [WRONG]}


@pytest.mark.parametrize("kind", [SD, XL])
def test_an_end_that_nothing_is_drawn_by(kind: BundleKind, tmp_path: Path) -> None:
    """The first text encoder gives every token's numbers, and its end is asked for by nobody."""
    write_bundle(kind, tmp_path)
    put(tmp_path / "text_encoder" / "config.json", eos_token_id=5)

    assert codes(tmp_path) == []


def test_both_marks_of_another_tokenizer(tmp_path: Path) -> None:
    """One may be a slip; both are another vocabulary."""
    write_bundle(SD, tmp_path)
    path = tmp_path / "tokenizer" / "vocab.json"
    words = json.loads(path.read_text(encoding="utf-8"))
    count = len(words)
    path.write_text(json.dumps({word: (number + 7) % count for word, number in words.items()}))

    assert WRONG in codes(tmp_path)

    put(tmp_path / "text_encoder" / "config.json", bos_token_id=0, eos_token_id=2)

    assert codes(tmp_path) == []


@pytest.mark.parametrize(
    "values",
    [
        {"added_tokens_decoder": {"5000": {"content": "cat"}}},
        {"added_tokens_decoder": {"5": {"content": "cat"}}},
        {"extra_special_tokens": ["cat"]},
        {"extra_special_tokens": {"x_token": "cat"}},
    ],
)
@pytest.mark.parametrize("base", ["sd-tiny", "sd-tiny-nosafety", "pixart-tiny"])
def test_a_word_for_which_the_text_encoder_has_no_row(base: str, values: dict[str, Any], tmp_path: Path) -> None:
    """A prompt with the word in it fails; marks are in no prompt by chance."""
    root = write_base(base, tmp_path)
    config = root / "tokenizer" / "tokenizer_config.json"

    put(config, **values)
    word = codes(root)
    put(config, **json.loads(json.dumps(values).replace('"cat"', '"<cat>"')))

    assert word == [WRONG]
    assert codes(root) == []


def test_a_word_that_is_added_by_a_file_of_its_own(tmp_path: Path) -> None:
    """added_tokens.json, or the list in tokenizer.json, in which it has whatever number."""
    slow, fast = write_base("sd-tiny", tmp_path), write_base("sd-tiny-nosafety", tmp_path)
    (slow / "tokenizer" / "added_tokens.json").write_text('{"cat": 7}')
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    put(fast / "tokenizer" / "tokenizer.json", added_tokens=[{"id": 66, "content": "cat", **flags}])

    assert codes(slow) == codes(fast) == [WRONG]


def test_a_word_with_a_row(tmp_path: Path) -> None:
    """One that the vocabulary has, or that the text encoder has room for."""
    root = write_base("sd-tiny", tmp_path)
    (root / "tokenizer" / "added_tokens.json").write_text('{"a": 64}')

    assert codes(root) == []


@pytest.mark.parametrize(("end", "expected"), [("<new>", [WRONG]), ("▁cat", [WRONG]), ("</s>", [])])
@pytest.mark.parametrize("absent", ["tokenizer.json", None])
def test_the_end_of_a_prompt_of_t5(end: str, expected: list[str], absent: str | None, tmp_path: Path) -> None:
    """A new one has no row, and a word is no end; from sentencepiece alone, only the first can be told."""
    write_bundle(PIXART, tmp_path)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        put(tmp_path / "tokenizer" / name, eos_token=end)
    if absent is not None:
        (tmp_path / "tokenizer" / absent).unlink()

    told = expected if absent is None or end == "<new>" else []
    assert codes(tmp_path) == told
