"""Registry of datasets by name."""

import inspect
from collections.abc import Callable
from pathlib import Path

from vapray.data.chestxray14 import ChestXray14
from vapray.data.colonoscopy.union import Colonoscopy
from vapray.data.folder import Folder
from vapray.data.isic2018 import Isic2018
from vapray.data.isic2019 import Isic2019
from vapray.data.records import ImageSource
from vapray.errors import ConfigError

Option = float | str | None
"""Value of an option: a share, a seed, a choice, a file."""

SOURCES: dict[str, Callable[..., ImageSource]] = {
    "isic2018": Isic2018,
    "isic2019": Isic2019,
    "chestxray14": ChestXray14,
    "colonoscopy": Colonoscopy,
    "folder": Folder,
}


def options_of(name: str) -> list[str]:
    """List the options of a source, other than its folder.

    Raises:
        ConfigError: unknown source; the message lists the known ones.
    """
    if name not in SOURCES:
        raise ConfigError(f"data source {name!r} is unknown; known: {', '.join(SOURCES)}.")
    return [option for option in inspect.signature(SOURCES[name]).parameters if option != "root"]


def open_source(name: str, root: str | Path, **options: Option) -> ImageSource:
    """Open the source ``name`` on the folder ``root``.

    Raises:
        ConfigError: unknown source or option; the message lists the known ones.
        DataError: the folder is missing or invalid.
    """
    known = options_of(name)
    if unknown := [option for option in options if option not in known]:
        raise ConfigError(f"data source {name}: no option {', '.join(unknown)}; it has {', '.join(known)}")
    return SOURCES[name](root, **options)
