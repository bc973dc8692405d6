"""Importing on a filesystem that can share blocks between files: the copy takes no room."""

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pumas_agent.cli import main

pytestmark = pytest.mark.needs_root
SIZE = 64 * 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A btrfs filesystem of its own."""
    if shutil.which("mkfs.btrfs") is None:
        pytest.skip("needs mkfs.btrfs")
    image, point = tmp_path / "image", tmp_path / "disk"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(512 * 1024 * 1024)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, timeout=60)
    mounted = subprocess.run(["mount", "-o", "loop", image, point], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount btrfs: {mounted.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True, timeout=60)


def used(point: Path) -> int:
    """Bytes of data blocks that are in use, once everything is on the disk."""
    subprocess.run(["sync", "-f", point], check=True, timeout=60)
    facts = os.statvfs(point)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize


def test_a_copy_shares_the_blocks_of_its_source(disk: Path) -> None:
    """And is a file of its own: the source may go, or change."""
    header = json.dumps({"x": {"dtype": "U8", "shape": [SIZE], "data_offsets": [0, SIZE]}}).encode()
    source = disk / "model.safetensors"
    source.write_bytes(struct.pack("<Q", len(header)) + header + os.urandom(SIZE))
    content = source.read_bytes()
    before = used(disk)
    where = ["--library", str(disk / "library"), "--socket", str(disk / "none.sock")]

    assert main([*where, "import", str(source), "--family", "acme", "--name", "big", "--type", "llm"]) == 0

    copy = disk / "library" / "llm" / "acme" / "big" / "model.safetensors"
    assert used(disk) - before < SIZE / 4
    source.write_bytes(b"other")
    assert copy.read_bytes() == content
