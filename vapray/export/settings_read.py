"""What a function reads of a config, so that an export carries this and nothing else of it."""

from typing import Any, cast

from vapray.config import Config
from vapray.config.section import ConfigSection

__all__ = ["noting"]


class _Noting:
    """Stands for a section, and notes what is read of it."""

    def __init__(self, section: ConfigSection, notes: dict[str, Any]) -> None:
        self._section, self._notes = section, notes

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._section, name)
        if isinstance(value, ConfigSection):
            return _Noting(value, self._notes.setdefault(name, {}))
        self._notes[name] = value
        return value


def noting(config: Config, notes: dict[str, Any]) -> Config:
    """The config; what is read of it is put into ``notes``, section by section."""
    return cast(Config, _Noting(config, notes))
