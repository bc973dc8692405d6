"""The base of every shape that crosses a border. Owns how contracts are parsed and written, and nothing else."""

from pydantic import BaseModel, ConfigDict


class Contract(BaseModel):
    """A shape with fixed names: unknown keys are refused by name, values are immutable once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_bytes="utf8", ser_json_inf_nan="null")


def is_absent(value: object) -> bool:
    """For `Field(exclude_if=…)`: a key that holds nothing (null, or an empty list) is left out of the JSON."""
    return value is None or value == ()
