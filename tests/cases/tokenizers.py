"""Changes to tokenizers: every file missing, empty, damaged, or another tokenizer's."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.cases.change import (
    LFS_POINTER,
    Change,
    Step,
    copy,
    cut,
    drop_keys,
    edit_json,
    halve,
    link,
    mode,
    move_outside,
    pipe,
    remove,
    rename,
    rewrite,
    set_keys,
    steps,
    swap,
    write,
)

CLIP = {
    "vocab": "tokenizer/vocab.json",
    "merges": "tokenizer/merges.txt",
    "config": "tokenizer/tokenizer_config.json",
    "special_map": "tokenizer/special_tokens_map.json",
}
V5 = {"tokenizer_json": "tokenizer/tokenizer.json", "config": "tokenizer/tokenizer_config.json"}
T5 = {
    "spiece": "tokenizer_2/spiece.model",
    "tokenizer_json": "tokenizer_2/tokenizer.json",
    "config": "tokenizer_2/tokenizer_config.json",
}
CONFIG = CLIP["config"]


def tokenizer_changes() -> Iterator[Change]:
    """CLIP as transformers 4 and 5 write it, T5 with both files and with spiece.model alone; then the keys."""
    yield from _files("tok", "sd-tiny", CLIP)
    yield from _files("tok_v5", "sd-tiny-nosafety", V5)
    yield from _files("tok_t5", "flux-tiny", T5)
    pixart = {"spiece": "tokenizer/spiece.model", "config": "tokenizer/tokenizer_config.json"}
    yield from _files("tok_pixart", "pixart-tiny", pixart)
    yield from _clip()
    yield from _v5()
    yield from _t5()
    yield from _keys()


def _files(prefix: str, base: str, files: Mapping[str, str]) -> Iterator[Change]:
    for name, path in files.items():
        broken: dict[str, Step] = {
            "missing": remove(path),
            "empty": write(path, b""),
            "zeros": rewrite(path, lambda content: bytes(len(content))),
            "lfs_pointer": write(path, LFS_POINTER),
            "truncated": halve(path),
            "truncated_by_one": cut(path, 1),
            "unreadable": mode(path, 0),
            "dangling_symlink": steps(remove(path), link(path, "nowhere")),
            "symlink_outside": move_outside(path),
            "is_directory": steps(remove(path), write(f"{path}/x", b"x")),
            "fifo": pipe(path),
            "bom": rewrite(path, lambda content: b"\xef\xbb\xbf" + content),
            "html": write(path, b"<!DOCTYPE html><html></html>"),
        }
        if path.endswith(".json"):
            broken |= {
                "empty_object": write(path, b"{}"),
                "array": write(path, b"[]"),
                "null": write(path, b"null"),
                "string": write(path, b'"x"'),
                "nan": rewrite(path, lambda content: content.replace(b"{", b'{"_x": NaN,', 1)),
                "crlf": rewrite(path, lambda content: content.replace(b"\n", b"\r\n")),
            }
        for what, step in broken.items():
            yield Change(f"{prefix}_{name}_{what}", base, step)


def _clip() -> Iterator[Change]:
    def sd(what: str, step: Step) -> Change:
        return Change(f"tok_{what}", "sd-tiny", step)

    vocab, merges = CLIP["vocab"], CLIP["merges"]
    yield sd("all_files_missing", remove(*CLIP.values()))
    yield sd("only_config", remove(vocab, merges))
    yield sd("only_vocab_and_merges", remove(CLIP["config"], CLIP["special_map"]))
    yield sd("renamed_files", rename(vocab, "tokenizer/vocabulary.json"))
    yield sd("upper_case_vocab", rename(vocab, "tokenizer/Vocab.json"))
    yield sd("vocab_list", write(vocab, b'["a", "b"]'))
    yield sd(
        "vocab_values_strings",
        edit_json(vocab, lambda words: words.update({key: str(at) for key, at in words.items()})),
    )
    yield sd("vocab_value_negative", set_keys(vocab, {"a</w>": -1}))
    yield sd("vocab_value_float", set_keys(vocab, {"a</w>": 1.5}))
    yield sd("vocab_value_huge", set_keys(vocab, {"cat</w>": 2**40}))
    yield sd("vocab_one_word", write(vocab, b'{"a": 0}'))
    yield sd("vocab_without_special", drop_keys(vocab, "<|startoftext|>", "<|endoftext|>"))
    yield sd("vocab_without_merged_word", drop_keys(vocab, "et</w>"))
    yield sd("vocab_without_letter", drop_keys(vocab, "a</w>"))
    yield sd("vocab_more_than_model", set_keys(vocab, {"zebra</w>": 5000}))

    def rotated(words: dict[str, Any]) -> None:
        count = len(words)
        words.update({key: (at + 7) % count for key, at in words.items()})

    yield sd("vocab_other_numbers", edit_json(vocab, rotated))
    yield sd("merges_only_version", write(merges, b"#version: 0.2\n"))
    yield sd("merges_no_version", rewrite(merges, lambda content: content.split(b"\n", 1)[1]))
    yield sd("merges_crlf", rewrite(merges, lambda content: content.replace(b"\n", b"\r\n")))
    yield sd("merges_blank_lines", rewrite(merges, lambda content: content + b"\n\n"))
    yield sd("merges_one_word_line", rewrite(merges, lambda content: content + b"lonely\n"))
    yield sd("merges_three_words_line", rewrite(merges, lambda content: content + b"a b c\n"))
    yield sd("merges_unknown_words", rewrite(merges, lambda content: content + b"zebra crossing\n"))
    yield sd("merges_first_lines_only", rewrite(merges, lambda content: b"\n".join(content.split(b"\n")[:20]) + b"\n"))
    yield sd("merges_not_utf8", rewrite(merges, lambda content: content + b"\xff\xfe x\n"))
    yield sd("merges_is_vocab", copy(vocab, merges))
    yield sd("swapped_vocab_merges", swap(vocab, merges))
    yield sd("added_tokens_json", write("tokenizer/added_tokens.json", b'{"<new>": 1000}'))
    yield sd("added_tokens_json_broken", write("tokenizer/added_tokens.json", b"no"))
    yield sd("added_tokens_json_empty", write("tokenizer/added_tokens.json", b"{}"))
    yield sd("chat_template_broken", write("tokenizer/chat_template.jinja", b"{% if"))
    yield sd("tokenizer_json_beside_broken", write("tokenizer/tokenizer.json", b"no"))
    yield sd("tokenizer_json_beside_empty", write("tokenizer/tokenizer.json", b"{}"))
    yield sd("tokenizer_json_beside_zero_byte", write("tokenizer/tokenizer.json", b""))


def _v5() -> Iterator[Change]:
    def sd(what: str, step: Step, base: str) -> Change:
        return Change(f"tok_{what}", base, step)

    vocab, merges = CLIP["vocab"], CLIP["merges"]
    v5, fast = "sd-tiny-nosafety", V5["tokenizer_json"]
    yield sd("v5_slow_beside_damaged", steps(write(vocab, b"no"), write(merges, b"")), v5)
    yield sd("v5_without_model", drop_keys(fast, "model"), v5)
    yield sd("v5_without_version", drop_keys(fast, "version"), v5)
    yield sd("v5_version_2", set_keys(fast, {"version": "2.0"}), v5)
    yield sd("v5_model_null", set_keys(fast, {"model": None}), v5)
    yield sd("v5_model_empty", set_keys(fast, {"model": {}}), v5)
    yield sd("v5_model_type_unknown", edit_json(fast, lambda content: content["model"].update(type="Made")), v5)
    yield sd("v5_vocab_empty", edit_json(fast, lambda content: content["model"].update(vocab={}, merges=[])), v5)
    yield sd("v5_vocab_empty_merges_kept", edit_json(fast, lambda content: content["model"].update(vocab={})), v5)
    yield sd("v5_merges_empty", edit_json(fast, lambda content: content["model"].update(merges=[])), v5)
    old = edit_json(
        fast, lambda content: content["model"].update(merges=[" ".join(m) for m in content["model"]["merges"]])
    )
    yield sd("v5_merges_as_strings", old, v5)
    yield sd(
        "v5_merge_unknown", edit_json(fast, lambda content: content["model"]["merges"].append(["zebra", "cross"])), v5
    )
    yield sd("v5_without_added_tokens", drop_keys(fast, "added_tokens"), v5)
    yield sd("v5_added_tokens_empty", set_keys(fast, {"added_tokens": []}), v5)
    yield sd("v5_normalizer_null", set_keys(fast, {"normalizer": None}), v5)
    yield sd("v5_pre_tokenizer_null", set_keys(fast, {"pre_tokenizer": None}), v5)
    yield sd("v5_pre_tokenizer_unknown", set_keys(fast, {"pre_tokenizer": {"type": "Made"}}), v5)
    yield sd("v5_post_processor_null", set_keys(fast, {"post_processor": None}), v5)
    yield sd("v5_unknown_key", set_keys(fast, {"made_up": 1}), v5)
    yield sd("v5_renamed", rename(fast, "tokenizer/clip.json"), v5)
    yield sd(
        "v5_truncation_set",
        set_keys(
            fast, {"truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}}
        ),
        v5,
    )


def _t5() -> Iterator[Change]:
    def flux(what: str, step: Step) -> Change:
        return Change(f"tok_t5_{what}", "flux-tiny", step)

    spiece, fast = T5["spiece"], T5["tokenizer_json"]
    yield flux("spiece_missing_json_present", remove(spiece))
    yield flux("json_missing_spiece_present", remove(fast))
    yield flux("both_missing", remove(spiece, fast))
    yield flux("all_files_missing", remove(*T5.values()))
    yield flux("json_is_clip", steps(_clip_json(fast)))
    yield flux("files_are_clip", steps(remove("tokenizer_2"), copy("tokenizer", "tokenizer_2")))
    yield flux("spiece_named_tokenizer_model", steps(rename(spiece, "tokenizer_2/tokenizer.model"), remove(fast)))
    yield flux("vocab_empty", edit_json(fast, lambda content: content["model"].update(vocab=[])))
    yield flux("unk_id_past_end", edit_json(fast, lambda content: content["model"].update(unk_id=9999)))
    yield flux("unk_id_null", edit_json(fast, lambda content: content["model"].update(unk_id=None)))
    yield flux(
        "vocab_shorter", edit_json(fast, lambda content: content["model"].update(vocab=content["model"]["vocab"][:20]))
    )
    swapped = swap("tokenizer", "tokenizer_2")
    yield flux("folders_swapped", swapped)
    yield Change("tok_sdxl_folders_swapped", "sdxl-tiny", swap("tokenizer", "tokenizer_2"))
    yield Change("tok_sdxl_tokenizer_2_json_missing", "sdxl-tiny", remove("tokenizer_2/tokenizer.json"))
    yield Change("tok_sdxl_tokenizer_2_config_missing", "sdxl-tiny", remove("tokenizer_2/tokenizer_config.json"))
    yield Change(
        "tok_sd3_tokenizer_3_both_missing", "sd3-tiny", remove("tokenizer_3/spiece.model", "tokenizer_3/tokenizer.json")
    )
    yield Change("tok_sd3_tokenizer_2_vocab_missing", "sd3-tiny", remove("tokenizer_2/vocab.json"))
    yield Change("tok_sharded_tokenizer_2_merges_missing", "sdxl-tiny-sharded", remove("tokenizer_2/merges.txt"))


def _clip_json(path: str) -> Step:
    model = (
        b'{"version":"1.0","added_tokens":[],"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}}'
    )
    return write(path, model)


def _keys() -> Iterator[Change]:
    values: dict[str, dict[str, Any]] = {
        "model_max_length_16": {"model_max_length": 16},
        "model_max_length_null": {"model_max_length": None},
        "model_max_length_huge": {"model_max_length": 10**30},
        "model_max_length_512": {"model_max_length": 512},
        "model_max_length_string": {"model_max_length": "77"},
        "model_max_length_float": {"model_max_length": 77.0},
        "model_max_length_0": {"model_max_length": 0},
        "tokenizer_class_other": {"tokenizer_class": "T5Tokenizer"},
        "tokenizer_class_unknown": {"tokenizer_class": "MadeUpTokenizer"},
        "tokenizer_class_null": {"tokenizer_class": None},
        "tokenizer_class_fast": {"tokenizer_class": "CLIPTokenizerFast"},
        "name_or_path": {"name_or_path": "openai/clip-vit-large-patch14"},
        "tokenizer_file_elsewhere": {"tokenizer_file": "/nowhere/tokenizer.json"},
        "vocab_file_elsewhere": {"vocab_file": "/nowhere/vocab.json"},
        "auto_map": {"auto_map": {"AutoTokenizer": ["tokenization_x.Tok", None]}},
        "pad_token_unknown": {"pad_token": "<|nothing|>"},
        "pad_token_null": {"pad_token": None},
        "pad_token_number": {"pad_token": 5},
        "eos_token_other": {"eos_token": "!"},
        "unk_token_null": {"unk_token": None},
        "do_lower_case_false": {"do_lower_case": False},
        "added_tokens_decoder": {"added_tokens_decoder": {"998": {"content": "<|startoftext|>", "special": True}}},
        "added_tokens_decoder_bad": {"added_tokens_decoder": {"x": "y"}},
        "added_tokens_decoder_past_end": {"added_tokens_decoder": {"5000": {"content": "<x>", "special": True}}},
        "chat_template": {"chat_template": "{{ messages }}"},
        "unknown_key": {"made_up": 1},
        "padding_side_left": {"padding_side": "left"},
        "padding_side_unknown": {"padding_side": "middle"},
        "special_tokens_map_file": {"special_tokens_map_file": "/nowhere.json"},
        "extra_special_tokens": {"extra_special_tokens": ["<e1>", "<e2>"]},
        "errors_unknown": {"errors": "made_up"},
    }
    for name, keys in values.items():
        yield Change(f"tok_config_{name}", "sd-tiny", set_keys(CONFIG, keys))
    for key in ("model_max_length", "tokenizer_class", "pad_token", "bos_token", "eos_token", "unk_token"):
        yield Change(f"tok_config_without_{key}", "sd-tiny", drop_keys(CONFIG, key))
    yield Change("tok_v5_config_without_model_max_length", "sd-tiny-nosafety", drop_keys(CONFIG, "model_max_length"))
    yield Change("tok_v5_special_map_broken", "sd-tiny-nosafety", write(CLIP["special_map"], b"no"))
    yield Change("tok_t5_config_without_model_max_length", "flux-tiny", drop_keys(T5["config"], "model_max_length"))
    yield Change("tok_pixart_config_without_model_max_length", "pixart-tiny", drop_keys(CONFIG, "model_max_length"))
    special = CLIP["special_map"]
    yield Change("tok_special_map_pad_other", "sd-tiny", set_keys(special, {"pad_token": "!"}))
    yield Change("tok_special_map_unknown_key", "sd-tiny", set_keys(special, {"made_up": "x"}))
    yield Change("tok_special_map_value_number", "sd-tiny", set_keys(special, {"pad_token": 5}))
    yield Change(
        "tok_special_map_and_config_without_pad",
        "sd-tiny",
        steps(drop_keys(special, "pad_token"), drop_keys(CONFIG, "pad_token")),
    )
    yield Change("tok_unrelated_file", "sd-tiny", write("tokenizer/README", b"x"))
    config = steps(rename(CONFIG, "tokenizer/config.json"))
    yield Change("tok_config_named_config_json", "sd-tiny", config)
    model = write("tokenizer/config.json", b'{"model_type": "clip_text_model"}')
    yield Change("tok_config_json_beside", "sd-tiny", model)
    yield Change("tok_config_json_beside_broken", "sd-tiny", write("tokenizer/config.json", b"no"))
