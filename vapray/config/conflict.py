"""Conflict between settings, and the error that lists all conflicts."""

from dataclasses import dataclass

__all__ = ["ConfigConflict", "ConfigConflicts"]


@dataclass(frozen=True)
class ConfigConflict:
    """Conflict between settings.

    Attributes:
        keys: dotted keys of the settings, the one to check first in front.
        text: the problem and its fix.
    """

    keys: tuple[str, ...]
    text: str


class ConfigConflicts(ValueError):
    """Error with all conflicts of one configuration."""

    def __init__(self, found: list[ConfigConflict]) -> None:
        super().__init__("\n".join(conflict.text for conflict in found))
        self.found = tuple(found)
