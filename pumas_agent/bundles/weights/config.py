"""Owns how a component's config is asked for what shapes depend on. Reads no file."""

from collections.abc import Mapping, Sequence
from typing import Any

from pumas_agent.bundles.findings import shown

MAX_SIZE = (1 << 63) - 1
"""Of a size in torch."""
_ACTIVATIONS = frozenset({"swish", "silu", "mish", "gelu", "relu"})


class NotKnown(Exception):
    """The config asks for something of which it is not known here what tensors it needs."""


class Misfit(Exception):
    """From the config no model can be made: its library raises."""


class ModelConfig:
    """The settings of one model, with the defaults of its class for what it does not say."""

    def __init__(self, document: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        # diffusers: what was not given when the model was saved is left to the class (`extract_init_dict`)
        unsaid = document.get("_use_default_values")
        ignored = frozenset(unsaid) if isinstance(unsaid, list) and _is_list_of(unsaid, str) else frozenset()
        self._given = {key: value for key, value in document.items() if key not in ignored}
        self._defaults = defaults

    def part(self, key: str, defaults: Mapping[str, Any]) -> "ModelConfig | None":
        """The settings within the settings, None when there are none."""
        within = self._given.get(key)
        return ModelConfig(within, defaults) if isinstance(within, dict) else None

    def value(self, key: str) -> Any:
        """Whatever it is."""
        return self._given.get(key, self._defaults[key])

    def natural(self, key: str) -> int:
        """A natural number.

        Raises:
            NotKnown: it is something that Python may take for one.
            Misfit: it is a text, a fraction, null, too large or the like, of which torch makes no layer.
        """
        value = self.value(key)
        _require_size(key, value)
        if _is_natural(value):
            return int(value)
        if isinstance(value, int):
            raise NotKnown(key)
        raise Misfit(f"{key} is {shown(value)}, which is no natural number")

    def optional(self, key: str) -> int | None:
        """A natural number, or None for null; raises Misfit as `natural`."""
        return None if self.value(key) is None else self.natural(key)

    def naturals(self, key: str) -> Sequence[int]:
        """A list of natural numbers with at least one.

        Raises:
            NotKnown: it is a list of something else.
            Misfit: it is no list, or one is too large.
        """
        value = self.value(key)
        if not isinstance(value, list | tuple):
            raise Misfit(f"{key} is {shown(value)}, which is no list")
        _require_size(key, *value)
        if not value or not _is_list_of(value, int) or not all(map(_is_natural, value)):
            raise NotKnown(key)
        return tuple(value)

    def natural_each(self, key: str, count: int) -> Sequence[int]:
        """A natural number for each block: one for all, or a list.

        Raises:
            NotKnown: it is null, or something that Python may take for a number.
            Misfit: it is a text, a fraction or the like, too large, or the list is for more blocks or for fewer
                (`UNet2DConditionModel._check_config` raises).
        """
        value = self.value(key)
        if value is not None and not isinstance(value, int) and not _is_list_of(value, int):
            raise Misfit(f"{key} is {shown(value)}, which is no natural number, nor a list of some")
        _require_size(key, *(value if isinstance(value, list) else [value]))
        if _is_natural(value):
            return (value,) * count
        if not _is_list_of(value, int) or not all(map(_is_natural, value)):
            raise NotKnown(key)
        if len(value) != count:
            raise Misfit(f"{key} has {len(value)} values for {count} blocks")
        return tuple(value)

    def divides(self, key: str, sizes: Sequence[int]) -> None:
        """Ask of a number that it divides the sizes, as `torch.nn.GroupNorm` does.

        Raises:
            NotKnown: as `natural`.
            Misfit: as `natural`, or it does not.
        """
        groups = self.natural(key)
        for size in sizes:
            if not groups or size % groups:
                raise Misfit(f"{key} is {groups}, which does not divide {size} channels")

    def texts(self, key: str) -> Sequence[str]:
        """A list of texts.

        Raises:
            Misfit: it is something else.
        """
        value = self.value(key)
        if not _is_list_of(value, str):
            raise Misfit(f"{key} is {shown(value)}, which is no list of names")
        return tuple(value)

    def activation(self, key: str) -> str:
        """The name of an activation function of diffusers (`ACT2FN`).

        Raises:
            Misfit: it is another name, or none.
        """
        value = self.value(key)
        if not isinstance(value, str) or value.lower() not in _ACTIVATIONS:
            raise Misfit(f"{key} is {shown(value)}, which is no activation function")
        return value

    def flag(self, key: str) -> bool:
        """Whether Python takes the value for true, as the libraries do."""
        return bool(self.value(key))

    def require(self, **usual: Any) -> None:
        """What is known here holds for these values alone.

        Raises:
            NotKnown: one of them is another.
        """
        for key, value in usual.items():
            if self._given.get(key, value) != value:
                raise NotKnown(key)


def _require_size(key: str, *values: Any) -> None:
    for value in values:
        if isinstance(value, int) and value > MAX_SIZE:
            raise Misfit(f"{key} is {shown(value)}, too large for a size")


def _is_natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, kind) for item in value)
