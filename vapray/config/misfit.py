"""Settings that contradict one another."""

from dataclasses import dataclass

__all__ = ["Misfit", "Misfits"]


@dataclass(frozen=True)
class Misfit:
    """Settings that do not fit together.

    Attributes:
        keys: dotted, the one to look at first in front.
        text: what is wrong and what to write instead.
    """

    keys: tuple[str, ...]
    text: str


class Misfits(ValueError):
    """All misfits of one configuration."""

    def __init__(self, found: list[Misfit]) -> None:
        super().__init__("\n".join(misfit.text for misfit in found))
        self.found = tuple(found)
