"""Owns random damage to a bundle on disk: values in JSON, bytes in files, and the shape of the tree."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**64, 10**400, 0.5, 1e308, float("nan"), float("inf")),
    *("", "x", "../x", "/etc", ".", "..", "a\0b", "\ud800", "x" * 5000, "safetensors", "float32"),
    *(
        [],
        [[]],
        [None],
        [None, None],
        ["a", "b"],
        ["diffusers", "AutoencoderKL"],
        [1, "x"],
        [0.5],
        [-1],
        list(range(50)),
    ),
    *({}, {"": None}, {"a": {"b": [1]}}, {"type": "BPE"}, {"quant_method": ["x"]}),
)
ODD_BYTES = (
    *(b"", b"\0", b"{", b"}", b"[" * 5000, b'{"a":' * 5000, b"\xff\xfe", b"\xef\xbb\xbf", b"NaN", b"9" * 6000),
    *(b"version https://git-lfs.github.com/spec/v1\n", b"PK\3\4", b"\x80\x02", b"\n\n", b" ", b"\r\n"),
)
ODD_NAMES = ("a b", "new\nline", "\udcff\udcfe", "x" * 200, "None.py", "__MACOSX", "README.md", "fp16", ".hidden")


def damage(random: Random, root: Path) -> str:
    """Damage one thing below the root, in some way; what was done, for people."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    ways: list[Callable[[Random, Path, list[Path]], str]] = [_json, _json, _json, _bytes, _bytes, _tree, _header]
    return random.choice(ways)(random, root, files)


def _json(random: Random, root: Path, files: list[Path]) -> str:
    documents = [path for path in files if path.suffix == ".json" and path.stat().st_size < 100_000]
    if not documents:
        return "nothing"
    path = random.choice(documents)
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError):  # damaged before
        return "nothing"
    places = list(_places(document))
    if not places:
        return "nothing"
    holder, key = random.choice(places)
    value = random.choice(ODD_VALUES)
    if random.random() < 0.2 and isinstance(holder, dict):
        del holder[key]
        what = "gone"
    else:
        holder[key] = value
        what = repr(value)[:60]
    path.write_text(json.dumps(document))
    return f"{path.relative_to(root)}: {key!r} is {what}"


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Each place of a value: what holds it, and under which key."""
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        pairs = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, value in pairs:
            yield holder, key
            if isinstance(value, dict | list):
                waiting.append(value)


def _bytes(random: Random, root: Path, files: list[Path]) -> str:
    if not files:
        return "nothing"
    path = random.choice(files)
    content = path.read_bytes()
    begin, end = sorted((random.randrange(len(content) + 1), random.randrange(len(content) + 1)))
    with_what = random.choice(ODD_BYTES)
    if random.random() < 0.5:
        end = min(end, begin + 8)
    path.write_bytes(content[:begin] + with_what + content[end:])
    return f"{path.relative_to(root)}: bytes {begin} to {end} are {with_what[:20]!r}"


def _header(random: Random, root: Path, files: list[Path]) -> str:
    """The header of weights, its length corrected: names, shapes, dtypes and offsets."""
    weights = [path for path in files if path.suffix == ".safetensors" and path.stat().st_size > 8]
    if not weights:
        return "nothing"
    path = random.choice(weights)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError):  # damaged before
        return "nothing"
    places = list(_places(header)) if isinstance(header, dict) else []
    if not places:
        return "nothing"
    holder, key = random.choice(places)
    value = random.choice((*ODD_VALUES, "F16", "I32", "F4", [1, 1], [0, 4]))
    if random.random() < 0.3 and isinstance(holder, dict):
        del holder[key]
    else:
        holder[key] = value
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    return f"{path.relative_to(root)}: header {key!r} is {value!r:.60}"


def _tree(random: Random, root: Path, files: list[Path]) -> str:
    path = random.choice([*files, *(path for path in sorted(root.iterdir()) if path.is_dir())] or [root])
    way = random.choice(("gone", "a folder", "a pipe", "a loop", "a dead link", "outside", "renamed", "more", "deep"))
    if way == "more":
        _add(random, root)
        return "one entry more"
    if way == "deep":
        (root / "/".join(random.choice("abc") for _ in range(random.randrange(1, 12)))).mkdir(
            parents=True, exist_ok=True
        )
        return "folders in folders"
    if path == root:
        return "nothing"
    if way == "renamed":
        path.rename(path.with_name(random.choice(ODD_NAMES)))
        return f"{path.relative_to(root)}: renamed"
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if way == "a folder":
        path.mkdir()
    elif way == "a pipe":
        os.mkfifo(path)
    elif way in {"a loop", "a dead link", "outside"}:
        path.symlink_to({"a loop": path.name, "a dead link": "nowhere", "outside": "/etc"}[way])
    return f"{path.relative_to(root)}: {way}"


def _add(random: Random, root: Path) -> None:
    """A folder in the root, or a file anywhere."""
    if random.random() < 0.5:
        (root / random.choice(ODD_NAMES)).mkdir(exist_ok=True)
        return
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.is_symlink()]
    place = random.choice([root, *folders]) / random.choice(ODD_NAMES)
    if not place.exists():
        place.write_bytes(random.choice(ODD_BYTES))
