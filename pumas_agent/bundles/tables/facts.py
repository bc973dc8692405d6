"""Owns what is known about the classes of one release of diffusers and transformers. Reads its own JSON files alone.

The files beside this one are made by `regenerate`; what a pipeline is for stands in tasks.json, which people keep.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
PIPELINES, COMPONENTS, TASKS = "pipelines.json", "components.json", "tasks.json"


class ComponentKind(StrEnum):
    """What a class is, and so which files it is loaded from."""

    DIFFUSERS_MODEL = "diffusers_model"
    SCHEDULER = "scheduler"
    GUIDER = "guider"
    TRANSFORMERS_MODEL = "transformers_model"
    TOKENIZER = "tokenizer"
    FEATURE_EXTRACTOR = "feature_extractor"
    IMAGE_PROCESSOR = "image_processor"
    PROCESSOR = "processor"
    DUMMY = "dummy"
    """It stands for a class that needs a package beyond torch, transformers, sentencepiece and accelerate."""


@dataclass(frozen=True, slots=True)
class PipelineFacts:
    """One pipeline class: what it is for, and what its constructor takes."""

    name: str
    task: str
    """`text-to-image` for what makes a picture from a prompt alone."""
    required: tuple[str, ...]
    optional: tuple[str, ...]
    """Components that may be null or absent (`_optional_components`)."""
    config_keys: tuple[str, ...] = ()
    """Parameters that are no components, but settings."""
    connected: bool = False
    """It sends for another repository that its README.md names."""
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of components: the classes that the constructor is annotated with."""
    scheduler_needs: tuple[str, ...] = ()
    """What it uses of its scheduler without asking: attributes, and parameters as `set_timesteps(mu)`."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything that is known. One object a process; `tables_with` adds what an operator describes."""

    diffusers_version: str
    transformers_version: str
    pipelines: Mapping[str, PipelineFacts]
    kinds: Mapping[str, Mapping[str, ComponentKind]]
    """By library and class."""
    remapped: Mapping[str, str]
    """Classes of transformers that diffusers loads under a newer name."""
    schedulers: Mapping[str, frozenset[str]]
    tokenizers: Mapping[str, Mapping[str, str]]

    def pipeline(self, name: str) -> PipelineFacts | None:
        """The pipeline class of that name, also one that cannot be loaded; None when there is none."""
        return self.pipelines.get(name)

    def is_dummy_pipeline(self, name: str) -> bool:
        """Diffusers has the class, and it needs a package that runtimes do not have."""
        return name in self.pipelines and self.kinds["diffusers"].get(name) is ComponentKind.DUMMY

    def is_not_a_pipeline(self, name: str) -> bool:
        """Diffusers has something of that name that is no pipeline class."""
        return (
            (name not in self.pipelines and name in self.kinds["diffusers"])
            or name == "DiffusionPipeline"
            or name.startswith("AutoPipeline")
            or name.endswith("ModularPipeline")
        )

    def is_library(self, name: str) -> bool:
        """Diffusers loads components from a library of that name."""
        return name in self.kinds

    def is_pipeline_module(self, name: str) -> bool:
        """The library is a module of `diffusers.pipelines`, which comes before code in the component's folder."""
        return name in self.kinds and name.partition(".")[0] not in {"diffusers", "transformers"}

    def kind(self, library: str, class_name: str) -> ComponentKind | None:
        """What the class is; None when the library has none that can be loaded.

        transformers 5 has one class for the fast and the slow tokenizer, and takes it by both names.
        """
        kinds = self.kinds.get(library, {})
        if library != "transformers":
            return kinds.get(class_name)
        name = self.remapped.get(class_name, class_name)
        found = kinds.get(name) or kinds.get(name.removesuffix("Fast"))
        if name in kinds or found is None or found is ComponentKind.TOKENIZER:
            return found
        # …ImageProcessorFast is the class that needs torchvision
        return ComponentKind.DUMMY if found is ComponentKind.IMAGE_PROCESSOR else None

    def scheduler_provides(self, class_name: str) -> frozenset[str] | None:
        """Of what pipelines use of a scheduler: what this one has; None for a class that is not known."""
        return self.schedulers.get(class_name)

    def tokenizer_files(self, class_name: str) -> Mapping[str, str] | None:
        """The files of a tokenizer by their role (`vocab_files_names`); None for a class without any."""
        return self.tokenizers.get(class_name) or self.tokenizers.get(class_name.removesuffix("Fast"))


@cache
def tables() -> Tables:
    """The tables that come with the package; read at the first call."""
    pipelines, components, tasks = (_read(name) for name in (PIPELINES, COMPONENTS, TASKS))
    return Tables(
        diffusers_version=pipelines["diffusers"],
        transformers_version=components["transformers"],
        pipelines={name: _pipeline(name, tasks[name], facts) for name, facts in pipelines["pipelines"].items()},
        kinds={
            library: {name: ComponentKind(kind) for kind, names in by_kind.items() for name in names}
            for library, by_kind in components["libraries"].items()
        },
        remapped=components["remapped"],
        schedulers={name: frozenset(provides) for name, provides in components["schedulers"].items()},
        tokenizers=components["tokenizer_files"],
    )


def tables_with(extra: Mapping[str, PipelineFacts]) -> Tables:
    """The tables with further pipeline classes, or others in place of known ones."""
    known = tables()
    return replace(known, pipelines={**known.pipelines, **extra}) if extra else known


def _pipeline(name: str, task: str, facts: Mapping[str, Any]) -> PipelineFacts:
    return PipelineFacts(
        name=name,
        task=task,
        required=tuple(facts["required"]),
        optional=tuple(facts["optional"]),
        config_keys=tuple(facts["config_keys"]),
        connected=facts["connected"],
        classes={component: tuple(names) for component, names in facts["classes"].items()},
        scheduler_needs=tuple(facts["scheduler_needs"]),
    )


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / name).read_bytes())
    return content
