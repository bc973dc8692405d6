"""How long a verdict takes: bundles of full size and shape, sparse on disk, their files in the page cache.

The yardstick is the parsing of the same headers with the json module, in the same run.
"""

import asyncio
import gc
import json
import os
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from pumas_agent.bundles import JudgePool, StatSignature, look, validate
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from tests.bench.figures import Report, percentile
from tests.bench.full_size import write_full_size_flux, write_full_size_sdxl

ROUNDS = 300
SMALL = 1_000
WORKERS = 2


def run() -> Report:
    """Judge, check, judge many; watch the memory."""
    report = Report("validate")
    with tempfile.TemporaryDirectory(prefix="pumas-bench-") as folder:
        sdxl, flux = Path(folder, "sdxl"), Path(folder, "flux")
        write_full_size_sdxl(sdxl)
        write_full_size_flux(flux)
        _full_size(report, "SDXL", sdxl, bar="<= 5")
        _full_size(report, "Flux", flux, bar=None)
        _unchanged(report, sdxl)
        _memory(report, sdxl)
        asyncio.run(_many(report, Path(folder, "small")))
    return report


def _full_size(report: Report, name: str, root: Path, *, bar: str | None) -> None:
    seen = look(root)
    assert seen.report.is_valid, seen.report.findings
    tensors = sum(weights.tensors or 0 for weights in seen.report.weights)
    report.add(f"{name}: tensors", tensors, "")
    report.add(f"{name}: bytes, apparent", seen.report.size_bytes / 1e9, "GB")
    headers = [_header(path) for path in sorted(root.rglob("*.safetensors"))]
    report.add(f"{name}: headers", sum(map(len, headers)) / 1000, "kB")
    json_ms = _median(lambda: [json.loads(header) for header in headers])
    verdict_ms = _median(lambda: validate(root))
    looks = _times(lambda: look(root))
    report.add(f"{name}: json.loads of the headers alone", json_ms, "ms")
    report.add(f"{name}: verdict, median", verdict_ms, "ms", bar)
    report.add(f"{name}: verdict / json.loads", verdict_ms / json_ms, "x")
    report.add(f"{name}: look (verdict, signature, identity), median", statistics.median(looks), "ms")
    report.add(f"{name}: look, p99", percentile(looks, 0.99), "ms")


def _unchanged(report: Report, root: Path) -> None:
    signature = StatSignature.take(root)
    opened: list[object] = []
    watching = True

    def note(event: str, args: tuple[object, ...]) -> None:
        if watching and event in {"open", "os.listdir", "os.scandir"}:
            opened.append(args[0])

    sys.addaudithook(note)
    assert signature.unchanged()
    watching = False
    report.add("unchanged: entries", len(signature), "")
    report.add("unchanged: files opened", len(opened), "", "== 0")
    report.add("unchanged: check, median", _median(signature.unchanged), "ms", "<= 0.2")


def _memory(report: Report, root: Path) -> None:
    process = psutil.Process()
    for _ in range(ROUNDS):
        look(root)
    gc.collect()
    before = process.memory_info().rss
    for _ in range(3 * ROUNDS):
        look(root)
    gc.collect()
    grown = (process.memory_info().rss - before) / 2**20
    report.add("memory: resident", before / 2**20, "MiB")
    report.add(f"memory: grown by {3 * ROUNDS} more looks", grown, "MiB", "<= 1")


async def _many(report: Report, folder: Path) -> None:
    roots = [folder / f"{number:04}" for number in range(SMALL)]
    for root in roots:
        write_stable_diffusion_bundle(root)
    pool = JudgePool(size=WORKERS)
    try:
        await asyncio.gather(*(pool.judge(root) for root in roots[:WORKERS]))  # the processes have started
        started = time.perf_counter()
        looks = await asyncio.gather(*(pool.judge(root) for root in roots))
        took = time.perf_counter() - started
    finally:
        await pool.close()
    assert all(seen.report.is_valid for seen in looks)
    report.add(f"{SMALL} small bundles, {WORKERS} processes, {os.cpu_count()} cores", took, "s", "<= 4")


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return file.read(length)


def _median(work: Callable[[], object]) -> float:
    return statistics.median(_times(work))


def _times(work: Callable[[], object]) -> list[float]:
    """Milliseconds of each of many rounds; the first ones warm the caches and are not counted."""
    taken = []
    for number in range(ROUNDS + 20):
        started = time.perf_counter()
        work()
        if number >= 20:
            taken.append((time.perf_counter() - started) * 1000)
    return taken
