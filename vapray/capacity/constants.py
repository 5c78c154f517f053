"""Constants of the estimate, and costs that carry the names of the constants they were computed from."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from vapray.config.section import Positive, Section
from vapray.errors import ConfigError
from vapray.strict_yaml import parse_yaml

__all__ = ["Constant", "Cost", "read_constants"]


class Constant(Section):
    """Number with its unit, origin and source."""

    value: Positive
    unit: str
    kind: Literal["given", "measured", "derived", "assumed"]
    source: str


@dataclass(frozen=True)
class Cost:
    """Number with the names of the constants that it was computed from."""

    value: float
    constants: frozenset[str] = frozenset()

    def __add__(self, other: "Cost | float") -> "Cost":
        right = other if isinstance(other, Cost) else Cost(other)
        return Cost(self.value + right.value, self.constants | right.constants)

    def __mul__(self, factor: float) -> "Cost":
        return Cost(self.value * factor, self.constants)

    def __rtruediv__(self, amount: float) -> "Cost":
        return Cost(amount / self.value, self.constants)

    __radd__, __rmul__ = __add__, __mul__


def read_constants(given: Mapping[str, float]) -> dict[str, Constant]:
    """Read ``constants.yaml`` and replace the values that a plan gives.

    Raises:
        ConfigError: a name is unknown.
    """
    text = files("vapray.capacity").joinpath("constants.yaml").read_text(encoding="utf-8")
    tree, _ = parse_yaml(text, where="constants.yaml")
    if unknown := given.keys() - tree.keys():
        raise ConfigError(f"constants.{min(unknown)}: unknown constant. Fix: use one of {', '.join(tree)}.")
    own = {name: {"value": value, "kind": "given", "source": "the plan"} for name, value in given.items()}
    return {name: Constant.model_validate(entry | own.get(name, {})) for name, entry in tree.items()}
