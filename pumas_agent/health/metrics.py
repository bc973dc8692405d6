"""Metrics in the text format of Prometheus: names, how they are written, and the file for node_exporter.

Owns the format. What is measured is handed in; nothing is measured here.
"""

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

METRICS_EVERY_S = 15.0

Labels = Mapping[str, str]
Sample = tuple[Labels, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """One family: a name, what it means, and its samples."""

    name: str
    help: str
    kind: Literal["gauge", "counter"] = "gauge"
    samples: Sequence[Sample] = field(default=())


def metric(name: str, meaning: str, value: float, kind: Literal["gauge", "counter"] = "gauge") -> Metric:
    """A family with one sample and no labels."""
    return Metric(name, meaning, kind, (({}, value),))


def exposition(metrics: Iterable[Metric]) -> str:
    """The text, with a HELP and a TYPE for each family."""
    lines: list[str] = []
    for family in metrics:
        meaning = family.help.replace("\\", r"\\").replace("\n", r"\n")
        lines += [f"# HELP {family.name} {meaning}", f"# TYPE {family.name} {family.kind}"]
        lines += [f"{family.name}{_labels(labels)} {_number(value)}" for labels, value in family.samples]
    return "\n".join(lines) + "\n"


def write_textfile(path: Path, text: str) -> None:
    """Replace the file at once and whole, readable for all: who collects it is another user.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    # Only names that end in .prom are collected, so the one that is being written is no half of anything.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    text = value.encode("utf-8", "replace").decode()
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
