"""The data sets that can be opened, by name."""

import inspect
from collections.abc import Callable
from pathlib import Path

from vapray.data.folder import Folder
from vapray.data.isic2018 import Isic2018
from vapray.data.records import ImageSource
from vapray.errors import ConfigError

SOURCES: dict[str, Callable[..., ImageSource]] = {"isic2018": Isic2018, "folder": Folder}


def open_source(name: str, root: str | Path, **options: float | int) -> ImageSource:
    """The source called ``name`` over the folder ``root``.

    Raises:
        ConfigError: an unknown source or option; the known ones are listed.
        DataError: the folder cannot be used.
    """
    if name not in SOURCES:
        raise ConfigError(f"data source {name!r} is unknown; known: {', '.join(SOURCES)}.")
    source = SOURCES[name]
    known = [option for option in inspect.signature(source).parameters if option != "root"]
    if unknown := [option for option in options if option not in known]:
        raise ConfigError(f"data source {name}: no option {', '.join(unknown)}; it has {', '.join(known)}")
    return source(root, **options)
