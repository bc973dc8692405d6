"""Owns random safetensors headers, and whether our verdict on them is that of the library."""

import json
import struct
from random import Random

import safetensors

from pumas_agent.bundles.weights.safetensors import BITS, measure, parse

_NUMBERS = (
    *("0", "1", "-1", "-0", "1.0", "1e2", "01", "true", "null", '"1"'),
    *("18446744073709551615", "18446744073709551616"),
)
_TEXTS = ('"x"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\\\ud800"', '"a\\u0000"', '"\\x"', '"\x01"', '""', '"{"', '"]"')
_SPACES = (*([""] * 40), " ", "\n", "\t", "\x0b", "\u00a0")
_METADATA = (
    *(['{"format":"pt"}'] * 6),
    *("null", "{}", '{"a":1}', "[]", '{"a":"1","a":"2"}', '{"dtype":"F32"}', '{"a":{}}'),
)


def check(seed: int) -> str:
    """Make a header and judge it twice; what it was, for people.

    Raises:
        AssertionError: the library and we differ.
    """
    random = Random(seed)
    header, size = _header(random)
    content = header.encode("utf-8", "surrogatepass")
    ours, theirs = _we_accept(content, size), _library_accepts(content, size)
    assert ours == theirs, f"the library {'accepts' if theirs else 'refuses'} {content!r} with {size} bytes of data"
    return header


def _library_accepts(header: bytes, size: int) -> bool:
    try:
        safetensors.deserialize(struct.pack("<Q", len(header)) + header + bytes(size))  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError:
        return False
    return True


def _we_accept(header: bytes, size: int) -> bool:
    try:
        end, _ = measure(parse(header).values())
    except ValueError:
        return False
    return end == size


def _header(random: Random) -> tuple[str, int]:
    position, entries = 0, []
    for number in range(random.randrange(5)):
        entry, position = _entry(random, position)
        name = random.choice([f"t{number}"] * 20 + ["t0", "dtype", "a\\u0062", "\\ud800", "", "__metadata__", "é"])
        entries.append(f'"{name}":{entry}')
    if random.random() < 0.4:
        entries.insert(random.choice((0, len(entries))), f'"__metadata__":{random.choice(_METADATA)}')
    if random.random() < 0.2:
        random.shuffle(entries)
    text = random.choice(_SPACES) + "{" + f"{random.choice(_SPACES)},".join(entries) + "}" + random.choice(_SPACES)
    if random.random() < 0.1:
        at = random.randrange(len(text))
        text = text[:at] + random.choice((*_NUMBERS, *_TEXTS, "", "{", "]", ",")) + text[at + random.randrange(3) :]
    size = position + (random.choice((-1, 1, 8)) if random.random() < 0.05 else 0)
    return text, max(size, 0)


def _entry(random: Random, position: int) -> tuple[str, int]:
    dtype = random.choice(list(BITS))
    shape = [random.choice((0, 1, 1, 2, 3, 4, 8)) for _ in range(random.randrange(4))]
    numbers = 1
    for side in shape:
        numbers *= side
    end = position + numbers * BITS[dtype] // 8
    fields = {"dtype": f'"{dtype}"', "shape": json.dumps(shape), "data_offsets": f"[{position},{end}]"}
    pairs = list(fields.items())
    odd = random.random()
    if odd < 0.15:
        place = random.randrange(3)
        pairs[place] = (pairs[place][0], _junk(random))
    elif odd < 0.2:
        pairs.append((random.choice(("x", "dtype", "shape")), _junk(random)))
    elif odd < 0.23:
        pairs.pop(random.randrange(3))
    if random.random() < 0.2:
        random.shuffle(pairs)
    if random.random() < 0.02:
        return f"[{','.join(value for _, value in pairs)}]", end
    space = random.choice(_SPACES)
    return "{" + ",".join(f'{space}"{key}":{value}' for key, value in pairs) + "}", end


def _junk(random: Random, depth: int = 0) -> str:
    kind = random.random()
    if kind < 0.6 or depth > 2:
        return random.choice((*_NUMBERS, *_TEXTS))
    if kind < 0.7:
        levels = random.choice((1, 2, 124, 125, 126, 127, 128, 1000))
        return "[" * levels + "]" * levels
    inner = [_junk(random, depth + 1) for _ in range(random.randrange(3))]
    if kind < 0.85:
        return f"[{','.join(inner)}]"
    return "{" + ",".join(f'"{random.choice(("a", "dtype", "F32"))}":{value}' for value in inner) + "}"
