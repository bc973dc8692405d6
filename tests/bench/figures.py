"""What a bench gives back: named figures, some with a bar they have to meet; as a table or as one JSON object."""

import json
import operator
from collections.abc import Callable
from dataclasses import dataclass, field

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `bar` is like `<= 3`, in the unit of the value."""

    value: float
    unit: str
    bar: str | None = None

    @property
    def ok(self) -> bool | None:
        """Whether the bar is met; None without one."""
        if self.bar is None:
            return None
        how, limit = self.bar.split()
        return _COMPARE[how](self.value, float(limit))


@dataclass(slots=True)
class Report:
    """The figures of one bench."""

    bench: str
    figures: dict[str, Figure] = field(default_factory=dict)

    def add(self, name: str, value: float, unit: str, bar: str | None = None) -> None:
        """Note a figure."""
        self.figures[name] = Figure(round(value, 4), unit, bar)

    @property
    def ok(self) -> bool:
        """Every bar is met."""
        return all(figure.ok is not False for figure in self.figures.values())

    def as_json(self) -> str:
        """One object for programs."""
        figures = {
            name: {"value": figure.value, "unit": figure.unit}
            | ({"bar": figure.bar, "ok": figure.ok} if figure.bar is not None else {})
            for name, figure in self.figures.items()
        }
        return json.dumps({"bench": self.bench, "figures": figures})

    def as_table(self) -> str:
        """For people."""
        width = max(map(len, self.figures))
        lines = [f"{self.bench}"]
        for name, figure in self.figures.items():
            verdict = {None: "", True: "ok", False: "MISSED"}[figure.ok]
            lines.append(
                f"  {name:<{width}}  {figure.value:>12,.4g} {figure.unit:<10} {figure.bar or '':<10} {verdict}"
            )
        return "\n".join(lines)


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
