"""The rules on the tokens that a tokenizer names, and on files that it reads beside its vocabulary."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.bundles import validate
from pumas_agent.contracts.bundles import BundleReport
from pumas_agent.demo.bundles import BundleKind, write_bundle
from tests.cases.bases import write_base

CONFIG, SPECIAL = "tokenizer/tokenizer_config.json", "tokenizer/special_tokens_map.json"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    write_bundle(BundleKind.STABLE_DIFFUSION, tmp_path)
    return tmp_path


def findings(report: BundleReport) -> list[tuple[str, str | None]]:
    return [(finding.code, finding.path) for finding in report.findings]


def put(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def name_token(root: Path, name: str, value: Any) -> None:
    put(root / CONFIG, **{name: value})
    put(root / SPECIAL, **{name: value})


@pytest.mark.parametrize(
    "values",
    [
        {"cls_token": 7},
        {"mask_token": {"content": "<m>"}},
        {"extra_special_tokens": [7]},
        {"additional_special_tokens": "red"},
        {"added_tokens_decoder": {"x": {"content": "<x>"}}},
        {"added_tokens_decoder": {"7": {"content": 7}}},
        {"added_tokens_decoder": {"7": {"content": "<x>", "lstrip": "no"}}},
    ],
)
def test_what_is_no_token(clip: Path, values: dict[str, Any]) -> None:
    """A token is a text, or an object that says it is one; numbers in the decoder are numbers."""
    put(clip / CONFIG, **values)

    assert ("invalid_config_json", CONFIG) in findings(validate(clip))


@pytest.mark.parametrize("name", ["bos_token", "eos_token", "pad_token"])
def test_a_token_of_each_prompt_that_is_gone(clip: Path, name: str) -> None:
    """Transformers cannot begin, end or fill a prompt without it."""
    name_token(clip, name, None)

    assert findings(validate(clip)) == [("invalid_config_json", CONFIG)]


@pytest.mark.parametrize("name", ["bos_token", "eos_token", "pad_token"])
def test_a_token_that_the_text_encoder_does_not_know(clip: Path, name: str) -> None:
    """One that the vocabulary lacks is given a number past the embedding's end; the first prompt fails."""
    name_token(clip, name, "[NEW]")

    assert findings(validate(clip)) == [("invalid_tokenizer_files", CONFIG)]


def test_a_token_that_no_prompt_holds(clip: Path) -> None:
    """What stands for unknown words is never needed: every byte has a word."""
    name_token(clip, "unk_token", "[UNK]")

    assert findings(validate(clip)) == []


def test_a_tokenizer_of_a_larger_model(clip: Path) -> None:
    """The start and end of a prompt are its last words, past the end of the smaller embedding."""
    path = clip / "tokenizer" / "vocab.json"
    words = json.loads(path.read_text())
    for number, word in enumerate(("<|startoftext|>", "<|endoftext|>"), start=len(words)):
        words[word] = number
    path.write_text(json.dumps(words))

    assert ("invalid_tokenizer_files", CONFIG) in findings(validate(clip))


@pytest.mark.parametrize("stray", ["tokenizer.model", "tokenizer.model.v3", "tekken.json", "tiktoken.model"])
def test_a_file_that_is_taken_for_the_vocabulary(clip: Path, stray: str) -> None:
    """Transformers 5 takes some names rather than the class's own, unless there is a tokenizer.json."""
    (clip / "tokenizer" / stray).write_text("{}")

    assert findings(validate(clip)) == [("invalid_tokenizer_files", f"tokenizer/{stray}")]


def test_a_sentencepiece_model_under_its_general_name(tmp_path: Path) -> None:
    """It is read rather than the one of the class."""
    write_bundle(BundleKind.PIXART, tmp_path)
    (tmp_path / "tokenizer" / "tokenizer.json").unlink(missing_ok=True)
    (tmp_path / "tokenizer" / "tokenizer.model").write_bytes((tmp_path / "tokenizer" / "spiece.model").read_bytes())
    good = findings(validate(tmp_path))
    (tmp_path / "tokenizer" / "tokenizer.model").write_bytes(b"junk")

    assert good == []
    assert findings(validate(tmp_path)) == [("invalid_tokenizer_files", "tokenizer/tokenizer.model")]


@pytest.mark.parametrize("name", ["chat_template.jinja", "additional_chat_templates/tools.jinja"])
@pytest.mark.parametrize(("content", "sound"), [(b"{{ text }}", True), (b"", True), (b"\xff\xfe{{", False)])
def test_templates(clip: Path, name: str, content: bytes, *, sound: bool) -> None:
    """Every tokenizer reads them, as UTF-8."""
    path = clip / "tokenizer" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)

    assert findings(validate(clip)) == ([] if sound else [("invalid_tokenizer_files", f"tokenizer/{name}")])


@pytest.mark.parametrize("name", ["special_tokens_map.json", "added_tokens.json"])
def test_side_files_that_are_not_read(clip: Path, name: str) -> None:
    """Where the config has the tokens itself, damage beside it is worth a notice."""
    put(clip / CONFIG, added_tokens_decoder={})
    (clip / "tokenizer" / name).write_text("{")

    report = validate(clip)

    assert findings(report) == []
    assert [(found.code, found.path) for found in report.notices] == [
        ("unused_tokenizer_file_damaged", f"tokenizer/{name}")
    ]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"vocab": {"a": 0}}, "invalid_config_json"),
        ({"merges": None}, None),
        ({"truncation_side": "middle"}, "invalid_config_json"),
        ({"fast_tokenizer_files": 7}, "invalid_config_json"),
        ({"fast_tokenizer_files": ["tokenizer.json"]}, None),
        ({"fast_tokenizer_files": ["tokenizer.4.0.0.json"]}, None),
        ({"model_max_length": None, "max_len": 77}, "tokenizer_config_missing"),
    ],
)
def test_settings_in_place_of_files(clip: Path, values: dict[str, Any], code: str | None) -> None:
    """The config names no vocabulary of its own, and no file that is not there."""
    put(clip / CONFIG, **values)

    assert [said for said, _ in findings(validate(clip))] == ([] if code is None else [code])


def test_the_length_under_its_name_of_old(clip: Path) -> None:
    """Transformers takes `max_len` where there is no `model_max_length`."""
    path = clip / CONFIG
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({"max_len": settings.pop("model_max_length"), **settings}))

    assert findings(validate(clip)) == []


@pytest.mark.parametrize(
    "damage",
    [lambda _: b"", lambda _: b"{", lambda content: content[:-9], lambda content: b"[" * len(content)],
)
def test_damage_is_said_by_the_rules_on_vocabularies(clip: Path, damage: Callable[[bytes], bytes]) -> None:
    """No number can be told from a file that is none; that it is none is said once."""
    path = clip / "tokenizer" / "vocab.json"
    path.write_bytes(damage(path.read_bytes()))

    assert findings(validate(clip)) == [("invalid_tokenizer_files", "tokenizer/vocab.json")]


def test_another_version_of_tokenizer_json(tmp_path: Path) -> None:
    """Transformers reads the newest that its own version allows; without the file it makes up a vocabulary."""
    root = write_base("sd-tiny-nosafety", tmp_path)
    said = {}

    for name in ("tokenizer.4.0.0.json", "tokenizer.99.0.0.json"):
        put(root / CONFIG, fast_tokenizer_files=[name])
        said[name] = findings(validate(root))

    assert said == {
        "tokenizer.4.0.0.json": [("missing_tokenizer_files", "tokenizer/tokenizer.4.0.0.json")],
        "tokenizer.99.0.0.json": [],
    }


def test_a_hostile_vocabulary_is_judged_in_bounded_time(clip: Path) -> None:
    """A file that holds nothing but a token has no number for it; it is not searched for ever."""
    content = b'["' + b'<|endoftext|>","' * 500_000 + b'"]'
    (clip / "tokenizer" / "vocab.json").write_bytes(content)

    assert ("invalid_tokenizer_files", "tokenizer/vocab.json") in findings(validate(clip))
