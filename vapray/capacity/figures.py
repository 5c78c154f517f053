"""What a unit of work costs, and how that is known: ``figures.yaml``."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Literal

from vapray.config.section import Section
from vapray.errors import ConfigError
from vapray.strict_yaml import parse_yaml

__all__ = ["Figure", "Figures", "read_figures"]

Kind = Literal["measured", "derived", "assumed", "given"]


class Figure(Section):
    """One of them."""

    value: float
    unit: str
    kind: Kind
    source: str


class Figures:
    """All of them; remembers which were asked for.

    Args:
        all_of_them: by name.
    """

    def __init__(self, all_of_them: Mapping[str, Figure]) -> None:
        self.all = all_of_them
        self._asked: dict[str, None] = {}

    def __getitem__(self, name: str) -> float:
        self._asked[name] = None
        return self.all[name].value

    def taken(self) -> tuple[str, ...]:
        """Names that were asked for since the last call."""
        names, self._asked = tuple(self._asked), {}
        return names


def read_figures(given: Mapping[str, float] | None = None) -> Figures:
    """Those of the package, with a user's own in place of some.

    Raises:
        ConfigError: a name that there is not, or a value that is not above 0.
    """
    text = files("vapray.capacity").joinpath("figures.yaml").read_text(encoding="utf-8")
    tree, _ = parse_yaml(text, where="figures.yaml")
    found = {name: Figure.model_validate(entry) for name, entry in tree.items()}
    for name, value in (given or {}).items():
        if name not in found:
            raise ConfigError(f"figures.{name}: there is no such figure. Known: {', '.join(found)}.")
        if not value > 0:
            raise ConfigError(f"figures.{name} = {value}: wanted a number above 0, in {found[name].unit}.")
        found[name] = Figure(value=value, unit=found[name].unit, kind="given", source="the plan")
    return Figures(found)
