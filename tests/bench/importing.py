"""Copying a model in against `cp` and a flush of the same file, side by side on the library's disk.

Bytes are random: a filesystem that compresses or shares blocks gets no help from zeros. Rounds alternate, so that both
meet the same disk, and each begins with memory that was just in use: in a virtual machine, pages that have lain free
for a second or two are the host's again, and to get them back takes longer than to copy into them.
"""

import asyncio
import json
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from pumas_agent.agent import call_locally
from pumas_agent.contracts.imports import ModelImportResult, ModelImportSpec
from pumas_agent.settings import load_settings
from tests.bench.figures import Report

SIZE = 2 * 1024**3
ROUNDS = 5
_BLOCK = 64 * 1024 * 1024


def measure_import(report: Report) -> None:
    """Add the figures."""
    with tempfile.TemporaryDirectory(prefix="pumas-bench-", dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name).resolve()
        source = _model(folder / "model.safetensors")
        imports, copies = [], []
        for number in range(ROUNDS):
            _warm()
            copies.append(_cp(source, folder / f"copy{number}"))
            _warm()
            imports.append(_import(source, folder / f"library{number}"))
        ours, theirs = min(imports), min(copies)
        report.add("import of 2 GiB with both digests", SIZE / ours / 1e6, "MB/s")
        report.add("cp and fsync of the same file", SIZE / theirs / 1e6, "MB/s")
        report.add("import, to cp and fsync", theirs / ours, "times", ">= 0.6")


def _warm() -> None:
    with mmap.mmap(-1, SIZE + _BLOCK) as memory:
        for place in range(0, len(memory), mmap.PAGESIZE):
            memory[place] = 1


def _model(path: Path) -> Path:
    header = json.dumps({"x": {"dtype": "U8", "shape": [SIZE], "data_offsets": [0, SIZE]}}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for _ in range(SIZE // _BLOCK):
            file.write(os.urandom(_BLOCK))
        os.fsync(file.fileno())
    return path


def _cp(source: Path, target: Path) -> float:
    started = time.perf_counter()
    subprocess.run(["cp", "--reflink=never", source, target], check=True)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    taken = time.perf_counter() - started
    target.unlink()
    return taken


def _import(source: Path, library: Path) -> float:
    flags: dict[str, dict[str, object]] = {
        "library": {"root": library},
        "socket": {"path": library.with_suffix(".sock")},
        "log": {"level": "error"},
    }
    spec = ModelImportSpec(path=str(source), family="bench", official_name="big", model_type="llm")
    settings = load_settings(None, {}, flags)
    started = time.perf_counter()
    result = asyncio.run(call_locally(settings, "import_model", spec, lambda *_: None))
    taken = time.perf_counter() - started
    assert isinstance(result, ModelImportResult)
    assert result.success, result
    shutil.rmtree(library)
    return taken
