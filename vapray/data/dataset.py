"""Dataset of a configuration: registry of the sources, opening, signature and drawing of phantoms."""

import inspect
from collections.abc import Callable
from pathlib import Path

from vapray.config import Config, Data
from vapray.data.chestxray14 import ChestXray14
from vapray.data.colonoscopy.union import Colonoscopy
from vapray.data.folder import Folder
from vapray.data.isic2018 import Isic2018
from vapray.data.isic2019 import Isic2019
from vapray.data.phantom.canvas import Attributes
from vapray.data.phantom.layout import read_attributes, write_isic2018
from vapray.data.records import ImageSource
from vapray.errors import ConfigError

DRAWING_VERSION = 2
"""Version of the phantoms; raised when the same settings draw different images."""

__all__ = ["dataset_content_hash", "draw_phantoms", "open_dataset", "true_attributes"]

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


def open_dataset(config: Config) -> ImageSource:
    """Open the adapter of ``data.source``; drawn phantoms are read through the ISIC 2018 adapter."""
    if config.data.source == "phantom":
        return open_source("isic2018", phantom_root(config))
    assert config.data.root is not None
    return open_source(config.data.source, config.data.root, **_options(config))


def dataset_content_hash(config: Config) -> str:
    """Compute a signature that changes with the dataset; that of phantoms depends on their settings only."""
    return f"{_dataset_content_hash(config)}{_origin_settings(config.data)}"


def _origin_settings(data: Data) -> str:
    """Describe the settings of origins; empty for the defaults, so that finished runs of earlier versions are kept."""
    wanted = data.model_dump(
        mode="json", include={"licence", "metadata_columns", "hash_subjects"}, exclude_defaults=True
    )
    return f" {wanted}" if wanted else ""


def _dataset_content_hash(config: Config) -> str:
    data, seed = config.data, config.run.seed
    if data.source == "phantom":
        phantom, shares = data.phantom, f"{data.validation_share:g} {data.test_share:g} seed {seed}"
        drawn = f"{data.modality} {phantom.n_images} {phantom.width}x{phantom.height}"
        return f"phantom {DRAWING_VERSION} {drawn} {shares} {phantom_root(config)}"
    assert data.root is not None
    # The folder is included because the table contains absolute paths.
    identified = " identified" if data.accept_identified_dicom else ""
    return f"{open_dataset(config).signature()} {_options(config)} {Path(data.root).absolute()}{identified}"


def true_attributes(config: Config) -> dict[str, Attributes] | None:
    """Read the true attributes of each image by image id; None unless the images are phantoms."""
    return read_attributes(phantom_root(config)) if config.data.source == "phantom" else None


def _options(config: Config) -> dict[str, Option]:
    """Collect the options that the source accepts, from the configuration."""
    said: dict[str, Option] = {
        "validation_share": config.data.validation_share,
        "test_share": config.data.test_share,
        "seed": config.run.seed,
        "no_finding": config.data.no_finding,
        "labels": config.data.labels,
    }
    return {option: said[option] for option in options_of(config.data.source)}


def draw_phantoms(config: Config) -> Path:
    """Draw the phantoms unless their complete folder exists, and return that folder."""
    root, data = phantom_root(config), config.data
    if not root.is_dir():
        root.parent.mkdir(parents=True, exist_ok=True)
        write_isic2018(
            root,
            modality=data.modality,
            n_images=data.phantom.n_images,
            image_width=data.phantom.width,
            image_height=data.phantom.height,
            seed=config.run.seed,
            unseen=data.phantom.unseen,
            shares=phantom_shares(config),
        )
    return root


def phantom_shares(config: Config) -> dict[str, float]:
    """Compute the share of the phantoms in each split."""
    validation, test = config.data.validation_share, config.data.test_share
    return {"train": 1 - validation - test, "validation": validation, "test": test}


def phantom_root(config: Config) -> Path:
    """Build the folder path of the drawn dataset: one per set of settings, below ``data.root`` or the run."""
    data, phantom = config.data, config.data.phantom
    shares = f"{data.validation_share:g}-{data.test_share:g}"
    drawn = f"{data.modality}-{phantom.n_images}-{phantom.width}x{phantom.height}"
    drawn += f"-unseen-{'+'.join(phantom.unseen)}" if phantom.unseen else ""
    name = f"v{DRAWING_VERSION}-{drawn}-{shares}-seed{config.run.seed}"
    return Path(data.root or Path(config.run.root) / "phantoms").absolute() / name
