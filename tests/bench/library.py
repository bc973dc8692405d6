"""Libraries of any size to measure on: file models with a payload of a few bytes, and external bundles."""

import json
from pathlib import Path

from pumas_agent.bundles import look
from pumas_agent.contracts.imports import ExternalBundleSpec
from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.importing.record import external_record

_NOW = "2026-01-01T00:00:00+00:00"


def write_bundles(folder: Path, count: int) -> list[Path]:
    """`count` whole bundles that differ in their weights."""
    roots = [folder / f"bundle{number:03}" for number in range(count)]
    for number, root in enumerate(roots):
        root.mkdir(parents=True)
        write_stable_diffusion_bundle(root, seed=number)
    return roots


def write_library(root: Path, models: int, bundles: list[Path]) -> list[str]:
    """A library of `models` records, as another program would have left it; the ids of those that name the bundles."""
    ids = []
    for number, bundle in enumerate(bundles):
        model_id = f"diffusion/bench/external{number:03}"
        spec = ExternalBundleSpec(source_path=str(bundle), family="bench", official_name=f"external{number:03}")
        record = external_record(
            spec,
            model_id=model_id,
            cleaned_name=f"external{number:03}",
            source=bundle,
            look=look(bundle),
            now=_NOW,
        )
        _write(root / model_id, record)
        ids.append(model_id)
    for number in range(models - len(bundles)):
        model_id = f"llm/family{number % 50:02}/model{number:05}"
        record = ModelMetadata(
            schema_version=2,
            model_id=model_id,
            family=f"family{number % 50:02}",
            model_type="llm",
            official_name=f"Model {number}",
            cleaned_name=f"model{number:05}",
            tags=["bench", f"tag{number % 10}"],
            updated_date=_NOW,
            task_type_primary="text-generation",
        )
        _write(root / model_id, record)
        (root / model_id / "model.gguf").write_bytes(b"GGUF")
    return ids


def _write(folder: Path, record: ModelMetadata) -> None:
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps(record.to_document(), indent=2), encoding="utf-8")
