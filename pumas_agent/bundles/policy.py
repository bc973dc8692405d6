"""Owns what an operator may decide about the judging of bundles. Never reads a configuration itself."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self


class Depth(StrEnum):
    """How much of a bundle is looked at."""

    CONTENT = "content"
    """Everything that decides whether diffusers loads it and draws the right picture."""
    STRUCTURE = "structure"
    """The rules of the existing Pumas library alone: root, model_index.json, a supported class, component folders."""


@dataclass(frozen=True, slots=True)
class ExtraPipeline:
    """A pipeline class that the tables do not know, as the operator describes it."""

    task: str
    required: tuple[str, ...] = ()
    """Components without which the class cannot be made."""
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """The `bundles` settings that a verdict depends on, by the same names."""

    depth: Depth = Depth.CONTENT
    custom_code: str = "refuse"
    """`allow`: runtimes here load pipelines with `trust_remote_code`."""
    pickle_weights: str = "allow"
    """`refuse`: weights that are pickles make a bundle not valid."""
    quantization_backends: tuple[str, ...] = ()
    """The `quant_method` values that runtimes here can load."""
    extra_pipelines: Mapping[str, ExtraPipeline] = field(default_factory=dict)

    @property
    def allow_custom_code(self) -> bool:
        """Bundles that bring Python code to run may be valid."""
        return self.custom_code == "allow"

    @property
    def allow_pickle_weights(self) -> bool:
        """Bundles whose weights are pickles may be valid."""
        return self.pickle_weights == "allow"

    def to_fields(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The policy that `to_fields` gave, or that the settings hold; other settings are left alone."""
        extra = {
            name: ExtraPipeline(given["task"], tuple(given["required"]), tuple(given["optional"]))
            for name, given in fields["extra_pipelines"].items()
        }
        return cls(
            depth=Depth(fields["depth"]),
            custom_code=fields["custom_code"],
            pickle_weights=fields["pickle_weights"],
            quantization_backends=tuple(fields["quantization_backends"]),
            extra_pipelines=extra,
        )
