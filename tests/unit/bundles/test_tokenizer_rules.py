"""The rules on tokenizers: which files are read, and what they have to hold."""

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.bundles import validate
from pumas_agent.contracts.bundles import BundleReport
from pumas_agent.demo.bundles import BundleKind, write_bundle
from tests.cases.bases import write_base

Change = Callable[[Path], object]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def findings(report: BundleReport) -> list[tuple[str, str | None]]:
    return [(finding.code, finding.path) for finding in report.findings]


def notices(report: BundleReport) -> list[tuple[str, str | None]]:
    return [(notice.code, notice.path) for notice in report.notices]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """vocab.json and merges.txt."""
    return write_base("sd-tiny", tmp_path)


@pytest.fixture
def clip_json(tmp_path: Path) -> Path:
    """tokenizer.json alone."""
    return write_base("sd-tiny-nosafety", tmp_path)


@pytest.fixture
def t5(tmp_path: Path) -> Path:
    """tokenizer.json and spiece.model."""
    write_bundle(BundleKind.PIXART, tmp_path / "pixart")
    return tmp_path / "pixart"


def edit(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
@pytest.mark.parametrize("how", ["gone", "a folder", "a pipe"])
def test_a_vocabulary_that_is_not_complete(clip: Path, name: str, how: str) -> None:
    """Transformers 5 makes up a vocabulary of three words, or fails; what is no file does not count."""
    path = clip / "tokenizer" / name
    path.unlink()
    if how == "a folder":
        path.mkdir()
    elif how == "a pipe":
        os.mkfifo(path)

    code = "unsupported_file_type" if how == "a pipe" else "missing_tokenizer_files"
    assert findings(validate(clip)) == [(code, f"tokenizer/{name}")]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "invalid_tokenizer_files"),
        (b"{", "invalid_tokenizer_files"),
        (b"[]", "invalid_tokenizer_files"),
        (b"{}", "invalid_tokenizer_files"),
        (b'{"a": NaN}', "invalid_tokenizer_files"),
        (b'{"a": -1}', "invalid_tokenizer_files"),
        (b'{"a": "1"}', "invalid_tokenizer_files"),
        (bytes(100), "invalid_tokenizer_files"),
        (POINTER, "invalid_tokenizer_files"),
    ],
)
def test_a_vocab_json_that_is_none(clip: Path, content: bytes, code: str) -> None:
    """Words with their numbers, as strict JSON."""
    (clip / "tokenizer" / "vocab.json").write_bytes(content)

    assert (code, "tokenizer/vocab.json") in findings(validate(clip))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda _text: "", "tokenizer_merges_empty"),
        (lambda _text: "#version: 0.2\n", "tokenizer_merges_empty"),
        (lambda text: text + "zebra x\n", "invalid_tokenizer_files"),
        (lambda text: text + "\n", "invalid_tokenizer_files"),
        (lambda text: text + "one\n", "invalid_tokenizer_files"),
        (lambda text: text.removesuffix("\n")[:-2], "invalid_tokenizer_files"),
        (lambda text: "\n".join(text.splitlines()[:-2]) + "\n", "invalid_tokenizer_files"),
        (lambda text: text.replace("#version: 0.2", "\ufeff#version: 0.2"), "invalid_tokenizer_files"),
    ],
)
def test_merges_that_do_not_fit(clip: Path, change: Callable[[str], str], code: str) -> None:
    """Two words a line, both and what they give in the vocabulary, and none lost at the end."""
    path = clip / "tokenizer" / "merges.txt"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    assert findings(validate(clip)) == [(code, "tokenizer/merges.txt")]


def test_merges_as_other_systems_write_them(clip: Path) -> None:
    """Other line ends and a missing version line change nothing."""
    path = clip / "tokenizer" / "merges.txt"
    path.write_text(path.read_text().removeprefix("#version: 0.2\n").replace("\n", "\r\n"), newline="")

    assert findings(validate(clip)) == []


def test_large_files_are_judged_by_their_ends(tmp_path: Path) -> None:
    """A full-size vocabulary is not parsed; cut off anywhere, it is found all the same."""
    symbols = [chr(0x4E00 + number) for number in range(518)]
    words = {"<|startoftext|>": 518, "<|endoftext|>": 519}  # within the small text encoder
    words |= {symbol: number for number, symbol in enumerate(symbols)}
    pairs = list(itertools.islice(itertools.product(symbols, repeat=2), 40_000))
    words |= {"".join(pair): number for number, pair in enumerate(pairs, 520)}
    merges = [" ".join(pair) for pair in pairs]
    root = write_base("sd-tiny", tmp_path)
    vocab, merged = root / "tokenizer" / "vocab.json", root / "tokenizer" / "merges.txt"
    whole, lines = json.dumps(words), "#version: 0.2\n" + "\n".join(merges) + "\n"

    said = []
    for text, listed in (
        (whole, lines),
        (whole[:-1], lines),
        (whole[: len(whole) // 2], lines),
        (whole, lines[: len(lines) // 2].rpartition("\n")[0] + "\n"),
        (whole, lines[: len(lines) // 2]),
        (whole, lines.rstrip().rpartition("\n")[0] + "\n"),
    ):
        vocab.write_text(text)
        merged.write_text(listed)
        said.append([path for _, path in findings(validate(root))])

    in_vocab, in_merges = ["tokenizer/vocab.json"], ["tokenizer/merges.txt"]
    assert said == [[], in_vocab, in_vocab, in_merges, in_merges, in_merges]


def test_a_vocabulary_that_is_a_list(clip_json: Path) -> None:
    """Words are numbered by their places; each may be the first of a list (transformers 5)."""
    path = clip_json / "tokenizer" / "tokenizer.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    words = document["model"]["vocab"]
    said = []

    for listed in (list(words), [[word, number] for word, number in words.items()]):
        document["model"]["vocab"] = listed
        path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        said.append(findings(validate(clip_json)))

    assert said == [[], []]


@pytest.mark.parametrize("lost", [slice(1, 2), slice(1, 5), slice(2, 3), slice(-2, -1)])
def test_a_merge_that_is_lost(clip: Path, lost: slice) -> None:
    """At the start, in the middle or at the end: its word has a number, and nothing gives it."""
    path = clip / "tokenizer" / "merges.txt"
    lines = path.read_text(encoding="utf-8").split("\n")
    del lines[lost]
    path.write_text("\n".join(lines), encoding="utf-8")

    assert findings(validate(clip)) == [("invalid_tokenizer_files", "tokenizer/merges.txt")]


def test_merges_in_another_order(clip: Path) -> None:
    """Which of them is lost nobody can tell there."""
    path = clip / "tokenizer" / "merges.txt"
    version, *merges = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([version, *reversed(merges)]) + "\n", encoding="utf-8")

    assert findings(validate(clip)) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("added_tokens"),
        lambda content: content.pop("model"),
        lambda content: content.update(surprise=1),
        lambda content: content.update(version="2.0"),
        lambda content: content.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "!"}),
        lambda content: content["model"].update(vocab=[]),
        lambda content: content["model"].update(type="Magic"),
        lambda content: content["model"].update(type="Unigram"),
        lambda content: content["model"].update(vocab={}),
        lambda content: content["model"]["merges"].append(["zebra", "x"]),
        lambda content: content["model"]["merges"].append(["a"]),
        lambda content: content["model"]["merges"].pop(),
    ],
)
def test_a_tokenizer_json_that_is_none(clip_json: Path, change: Callable[[Any], object]) -> None:
    """What the parser of `tokenizers` refuses, or a lost merge."""
    edit(clip_json / "tokenizer" / "tokenizer.json", change)

    assert findings(validate(clip_json)) == [("invalid_tokenizer_files", "tokenizer/tokenizer.json")]


def test_tokenizer_json_comes_first(t5: Path) -> None:
    """A damaged one is not made up for by the file beside it; a damaged file beside a good one is a notice."""
    whole = (t5 / "tokenizer" / "tokenizer.json").read_bytes()

    (t5 / "tokenizer" / "tokenizer.json").write_bytes(whole[:-3])
    broken = validate(t5)
    (t5 / "tokenizer" / "tokenizer.json").write_bytes(whole)
    (t5 / "tokenizer" / "spiece.model").write_bytes(b"")
    beside = validate(t5)

    assert findings(broken) == [("invalid_tokenizer_files", "tokenizer/tokenizer.json")]
    assert findings(beside) == []
    assert notices(beside) == [("unused_tokenizer_file_damaged", "tokenizer/spiece.model")]


def test_only_tokenizer_json(clip_json: Path) -> None:
    """Enough for transformers 5, and for any fast class; older runtimes want the rest."""
    assert notices(validate(clip_json)) == [("tokenizer_json_only", "tokenizer/tokenizer.json")]

    edit(clip_json / "model_index.json", lambda index: index.update(tokenizer=["transformers", "CLIPTokenizerFast"]))

    assert notices(validate(clip_json)) == []


@pytest.mark.parametrize(
    ("change", "sound"),
    [
        (lambda content: content, True),
        (lambda _content: b"", False),
        (lambda content: content[:-1], False),
        (lambda content: content[: len(content) // 2], False),
        (lambda content: bytes(len(content)), False),
        (lambda _content: POINTER, False),
        (lambda content: b"\xef\xbb\xbf" + content, False),
    ],
)
def test_only_a_sentencepiece_model(t5: Path, change: Callable[[bytes], bytes], sound: bool) -> None:
    """Its fields end where the file does; runtimes need two packages to read it."""
    (t5 / "tokenizer" / "tokenizer.json").unlink()
    model = t5 / "tokenizer" / "spiece.model"
    model.write_bytes(change(model.read_bytes()))

    report = validate(t5)

    assert findings(report) == ([] if sound else [("invalid_tokenizer_files", "tokenizer/spiece.model")])
    assert ("tokenizer_needs_sentencepiece", "tokenizer/spiece.model") in notices(report)


@pytest.mark.parametrize("length", [None, 10**30, "77", 77.0, 0, 78, True])
def test_prompts_that_would_not_be_cut(clip: Path, length: Any) -> None:
    """CLIP's pipelines cut prompts at model_max_length: a number that the text encoder has positions for."""
    edit(clip / "tokenizer" / "tokenizer_config.json", lambda content: content.update(model_max_length=length))

    assert findings(validate(clip)) == [("tokenizer_config_missing", "tokenizer/tokenizer_config.json")]


def test_a_config_that_is_gone(clip: Path, t5: Path) -> None:
    """Without it CLIP fails at the first prompt; T5's pipelines name a length of their own."""
    (clip / "tokenizer" / "tokenizer_config.json").unlink()
    (t5 / "tokenizer" / "tokenizer_config.json").unlink()

    assert findings(validate(clip)) == [("tokenizer_config_missing", "tokenizer/tokenizer_config.json")]
    assert findings(validate(t5)) == []


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"])
@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_files_beside_the_vocabulary(clip: Path, name: str, content: str) -> None:
    """They may be absent, all but the config; where they are there, they are read."""
    (clip / "tokenizer" / name).write_text(content)

    assert findings(validate(clip)) == [("invalid_config_json", f"tokenizer/{name}")]


def test_tokens_that_are_none(clip: Path) -> None:
    """A special token is a text or an object; what is no token is not looked at."""
    path = clip / "tokenizer" / "special_tokens_map.json"
    path.write_text('{"pad_token": "!", "_note": NaN}')
    sound = validate(clip)
    path.write_text('{"pad_token": 7}')

    assert findings(sound) == []
    assert findings(validate(clip)) == [("invalid_config_json", "tokenizer/special_tokens_map.json")]


@pytest.mark.parametrize(
    ("tokens", "sound"),
    [
        ({"pad_token": "<|endoftext|>"}, True),
        ({"pad_token": {"content": "!", "lstrip": False}}, True),
        ({"pad_token": "zebra"}, False),
        ({"eos_token": {"content": "zebra"}}, False),
        ({"bos_token": None}, False),
    ],
)
def test_marks_of_a_prompt(clip: Path, tokens: dict[str, Any], sound: bool) -> None:
    """A mark that is no word gets a number of its own, for which the text encoder has no vector."""
    edit(clip / "tokenizer" / "special_tokens_map.json", lambda content: content.update(tokens))

    assert validate(clip).is_valid == sound


def test_a_mark_that_is_numbered_anew(clip: Path) -> None:
    """The text encoder has a vector for it where the vocabulary was shortened."""
    edit(clip / "tokenizer" / "vocab.json", lambda words: words.pop("<|endoftext|>"))

    assert findings(validate(clip)) == []


def test_marks_of_t5(t5: Path) -> None:
    """All of them, or none."""
    path = t5 / "tokenizer" / "special_tokens_map.json"
    edit(path, lambda content: content.update(additional_special_tokens=["<extra_id_0>"]))
    some = validate(t5)
    edit(path, lambda content: content.update(additional_special_tokens=["<mine>"]))

    assert findings(some) == [("invalid_config_json", "tokenizer/special_tokens_map.json")]
    assert findings(validate(t5)) == []
