"""Which format a file has: by its first bytes, and by its name only where they do not tell."""

import os
from pathlib import Path

import pytest

from pumas_agent.contracts.bundles import SecurityTier
from pumas_agent.importing.formats import FileFormat, format_of, read_head, tier_of

ZEROS = bytes(64)


@pytest.mark.parametrize(
    ("head", "name", "found"),
    [
        (b"GGUF" + ZEROS, "x.safetensors", "gguf"),
        (b"ggjt" + ZEROS, "x", "ggml"),
        (b"PK\x03\x04" + ZEROS, "x.txt", "pickle"),
        (b"PK\x03\x04", "x.pt", "pickle"),
        (b"PK\x03\x04" + ZEROS, "voices.npz", "unknown"),
        (b"\x80\x02" + ZEROS, "x.bin", "pickle"),
        (b"\x80\x05" + ZEROS, "x", "pickle"),
        (b"\x80\x06" + ZEROS, "x", "unknown"),
        ((2).to_bytes(8, "little") + b"{}" + ZEROS, "x", "safetensors"),
        ((100_000_000).to_bytes(8, "little") + b"{}" + ZEROS, "x", "unknown"),
        (ZEROS, "x.onnx", "onnx"),
        (ZEROS, "x.gguf", "gguf"),
        (ZEROS, "X.CKPT", "pickle"),
        (ZEROS, "x.bin", "unknown"),
        (ZEROS, "README.md", "unknown"),
        (b"GGU", "x.gguf", "unknown"),
    ],
)
def test_the_first_bytes_decide_before_the_name(head: bytes, name: str, found: str) -> None:
    """Cases identify-001, identify-003, identify-004; a `.bin` is not safe because of its name."""
    assert format_of(head, name) == found


def test_pickles_and_what_is_not_known_are_not_safe() -> None:
    tiers = {found.value: tier_of(found) for found in FileFormat}

    assert tiers.pop("pickle") is SecurityTier.PICKLE
    assert tiers.pop("unknown") is SecurityTier.UNKNOWN
    assert set(tiers.values()) == {SecurityTier.SAFE}


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    """Opening it would wait for whoever writes."""
    os.mkfifo(tmp_path / "model.gguf")

    assert read_head(tmp_path / "model.gguf") == b""
