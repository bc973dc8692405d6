"""`python -m tests.real.measure [PREFIX]`: what diffusers makes of the changes in tests.cases, into tests/data.

Loads each changed copy with the installed library and draws with it, and writes a word for each into
measured-cases.json: for changes that are not there yet, or with a prefix for those so called. A library that ends or
hangs the process costs one change: another process goes on. Permissions mean nothing to root, who runs this through

    capsh --drop=cap_dac_override,cap_dac_read_search -- -c 'python -m tests.real.measure PREFIX'
"""

import importlib
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pumas_agent.bundles import validate
from tests.cases import CHANGES
from tests.cases.bases import write_base

MEASURED = Path(__file__).parents[1] / "data" / "measured-cases.json"
PROMPTS = ("a photo of a cat", "the dog")
"""Together they need each merge and most words of the small vocabularies: a lost one is seen."""
WELL = ("the same picture", "not drawn")
ANOTHER = "another picture"
NOT_DRAWN = ("ddpm-tiny", "sd-inpaint-tiny")
"""They need other arguments than a prompt."""
FIRST, EACH = 120.0, 30.0
"""Seconds until a process counts as hung: torch has to be imported for its first change."""
SAME = 1e-3
"""Of the range of a pixel."""
NEAR = {"F16": 0.03, "BF16": 0.15}
"""The same for pictures of which one is drawn with numbers that are as exact as that, and no more."""


def main() -> None:
    """Measure what was asked for, saving after each process."""
    os.environ["PYTHONHASHSEED"] = "0"  # tensors that the library makes up, it makes in the order of a set
    prefix = sys.argv[1] if len(sys.argv) > 1 else None
    words: dict[str, str] = json.loads(MEASURED.read_text())
    asked = [name for name in CHANGES if (name not in words if prefix is None else name.startswith(prefix))]
    waiting = list(asked)
    while waiting:
        measured = _by_another_process(waiting)
        words.update({name: word for name, word in measured.items() if word is not None})
        MEASURED.write_text(_text(words))
        sys.stdout.write(f"{len(asked) - len(waiting)} of {len(asked)}\n")


def _text(words: Mapping[str, str]) -> str:
    return json.dumps(dict(sorted(words.items())), indent=0) + "\n"


def _by_another_process(waiting: list[str]) -> dict[str, str | None]:
    """Words for changes taken from `waiting`, until there are none left or the process ends.

    None for a change that cannot be made to the bundle that this project writes.
    """
    spawned = multiprocessing.get_context("spawn")
    ours, its = spawned.Pipe()
    process = spawned.Process(target=_measure_each, args=(its,))
    process.start()
    its.close()
    words: dict[str, str | None] = {}
    try:
        while waiting:
            name = waiting.pop(0)
            ours.send(name)
            try:
                if not ours.poll(EACH if words else FIRST):
                    words[name] = "does not load"  # nobody waits that long for a small bundle
                    break
                words[name] = ours.recv()
            except EOFError:
                words[name] = "does not load"
                break
    finally:
        ours.close()  # which tells it to end
        process.join(EACH)
        process.kill()
    return words


def _measure_each(changes: Connection) -> None:
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
    measure = Library()
    with suppress(EOFError):  # nothing more is asked
        while True:
            changes.send(measure.word(changes.recv()))


class Library:
    """Diffusers, with what it draws from each whole base."""

    def __init__(self) -> None:
        self._torch = importlib.import_module("torch")  # seconds, which only the measuring process pays
        self._torch.set_num_threads(1)
        self._load = importlib.import_module("diffusers").DiffusionPipeline.from_pretrained
        self._references: dict[str, Any] = {}

    def word(self, name: str) -> str | None:
        """What becomes of a change: as it asks to be loaded, or else as the report says that a runtime should.

        The report names the variant, and the type of most weights, which a runtime passes on as `torch_dtype`.
        """
        change = CHANGES[name]
        with tempfile.TemporaryDirectory(prefix="pumas-measure-", ignore_cleanup_errors=True) as folder:
            base = write_base(change.base, Path(folder))
            try:
                root = change.make(base)
            except (OSError, KeyError, IndexError, AssertionError):
                return None
            report = validate(root)
            stored = {kind for part in report.weights for kind in part.parameters or {}}
            word = self._word(root, change.base, dict(change.arguments), stored)
            named = {"variant": report.load_variant, "torch_dtype": report.load_dtype}
            more = {key: value for key, value in named.items() if value is not None and key not in change.arguments}
            # what the library makes up, it makes up anew each time
            by_chance = word == ANOTHER and not stored & NEAR.keys() and "variant" not in more
            if word not in WELL and more and not by_chance:
                word = self._word(root, change.base, {**change.arguments, **more}, stored)
            return word

    def _word(self, root: Path, base: str, arguments: dict[str, Any], stored: set[str]) -> str:
        kinds = stored | {"F16"} if {"float16", "fp16"} & set(arguments.values()) else stored
        try:
            pipeline = self._loaded(root, arguments)
        except Exception:  # noqa: BLE001 - whatever it raises, it did not load
            return "does not load"
        if base in NOT_DRAWN:
            return "not drawn"
        try:
            pictures = self._drawn(pipeline)
        except Exception:  # noqa: BLE001 - as above
            return "fails at the prompt"
        return self._compared(pictures, self._reference(base), max(NEAR.get(kind, SAME) for kind in {*kinds, ""}))

    def _loaded(self, root: Path, arguments: dict[str, Any]) -> Any:
        if isinstance(arguments.get("torch_dtype"), str):
            arguments["torch_dtype"] = getattr(self._torch, arguments["torch_dtype"])
        self._torch.manual_seed(12345)  # for tensors that the library makes up
        return self._load(str(root), local_files_only=True, **arguments)

    def _drawn(self, pipeline: Any) -> Any:
        pipeline.set_progress_bar_config(disable=True)
        more: dict[str, Any] = {}
        if type(pipeline).__name__.startswith("Flux"):
            more = {"height": 32, "width": 32, "max_sequence_length": 48}
        pictures = []
        for prompt in PROMPTS:
            noise = self._torch.Generator("cpu").manual_seed(0)
            with self._torch.no_grad():
                drawn = pipeline(prompt, num_inference_steps=2, generator=noise, output_type="np", **more)
            pictures.append(self._torch.from_numpy(drawn.images[0]))
        return self._torch.stack(pictures)

    def _reference(self, base: str) -> Any:
        if base not in self._references:
            whole = "sd-tiny" if base == "custom-pipeline" else base
            half = {"variant": "fp16", "torch_dtype": "float16"} if base == "sd-tiny-fp16only" else {}
            with tempfile.TemporaryDirectory(prefix="pumas-measure-") as folder:
                self._references[base] = self._drawn(self._loaded(write_base(whole, Path(folder)), half))
        return self._references[base]

    def _compared(self, pictures: Any, expected: Any, limit: float) -> str:
        if not pictures.isfinite().all():
            return "fails at the prompt"
        same = pictures.shape == expected.shape and abs(pictures - expected).max() < limit
        return WELL[0] if same else ANOTHER


if __name__ == "__main__":
    main()
