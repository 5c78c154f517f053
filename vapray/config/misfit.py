"""Conflict between settings, and the error that lists all conflicts."""

from dataclasses import dataclass

__all__ = ["Misfit", "Misfits"]


@dataclass(frozen=True)
class Misfit:
    """Conflict between settings.

    Attributes:
        keys: dotted keys of the settings, the one to check first in front.
        text: the problem and its fix.
    """

    keys: tuple[str, ...]
    text: str


class Misfits(ValueError):
    """Error with all conflicts of one configuration."""

    def __init__(self, found: list[Misfit]) -> None:
        super().__init__("\n".join(misfit.text for misfit in found))
        self.found = tuple(found)
