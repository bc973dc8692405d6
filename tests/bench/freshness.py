"""Break a bundle, ask at once: how often is the answer older than the break?

Four kinds of breaks, in turn, a thousand in all. After each the first lookup has to be a refusal; after the repair the
first has to be a descriptor again. The lookup starts when the system call that broke the bundle has returned.
"""

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pumas_agent.client import AgentClient
from pumas_agent.contracts.errors import AssetNotValid
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from tests.bench.figures import Report, percentile
from tests.bench.service import running_agent

ROUNDS = 1_000


def run() -> Report:
    """Count stale answers."""
    report = Report("freshness")
    with tempfile.TemporaryDirectory(prefix="pumas-bench-") as folder:
        root = Path(folder, "bundle")
        root.mkdir()
        write_stable_diffusion_bundle(root)
        library = Path(folder, "library")
        library.mkdir()
        with running_agent(library) as (socket, _), AgentClient(socket) as client:
            result = client.call(
                "import_external_diffusers_directory", source_path=str(root), family="bench", official_name="bundle"
            )
            _break_and_ask(report, client, result["model_id"], root, Path(folder, "aside"))
    return report


def _break_and_ask(report: Report, client: AgentClient, model_id: str, root: Path, aside: Path) -> None:
    whims = random.Random(1)
    stale: dict[str, int] = dict.fromkeys(_BREAKS, 0)
    refused_late = 0
    refusals: list[float] = []
    for number in range(ROUNDS):
        kind = list(_BREAKS)[number % len(_BREAKS)]
        part = whims.choice(["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
        repair = _BREAKS[kind](root, aside, part)
        started = time.perf_counter()
        try:
            client.descriptor(model_id)
            stale[kind] += 1
        except AssetNotValid:
            refusals.append((time.perf_counter() - started) * 1000)
        repair()
        try:
            client.descriptor(model_id)
        except AssetNotValid:
            refused_late += 1
    for kind, count in stale.items():
        report.add(f"stale answers after {kind}", count, "", "== 0")
    report.add("breaks", ROUNDS, "")
    report.add("refusals after the repair", refused_late, "", "== 0")
    report.add("first refusal p50", percentile(refusals, 0.5), "ms")
    report.add("first refusal p99", percentile(refusals, 0.99), "ms")


def _delete(root: Path, aside: Path, part: str) -> Callable[[], None]:
    shutil.copytree(root / part, aside)
    shutil.rmtree(root / part)
    return lambda: _ignore(aside.rename(root / part))


def _truncate(root: Path, _: Path, __: str) -> Callable[[], None]:
    index = root / "model_index.json"
    content = index.read_bytes()
    os.truncate(index, len(content) // 2)
    return lambda: _ignore(index.write_bytes(content))


def _rename(root: Path, aside: Path, part: str) -> Callable[[], None]:
    (root / part).rename(aside)
    return lambda: _ignore(aside.rename(root / part))


def _replace(root: Path, aside: Path, _: str) -> Callable[[], None]:
    index = root / "model_index.json"
    os.link(index, aside)
    other = root.parent / "other.json"
    # Of the same length, so that only times and inode tell.
    other.write_bytes(index.read_bytes().replace(b"StableDiffusionPipeline", b"StableDiffusionInpaints"))
    other.replace(index)
    return lambda: _ignore(aside.replace(index))


def _ignore(_: object) -> None:
    return


_BREAKS: dict[str, Callable[[Path, Path, str], Callable[[], None]]] = {
    "delete": _delete,
    "truncate": _truncate,
    "rename": _rename,
    "replace": _replace,
}
