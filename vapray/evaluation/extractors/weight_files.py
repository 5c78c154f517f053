"""Weight files of the extractors, and the hash that identifies them in the fingerprint."""

from pathlib import Path

from vapray.config import Config, Evaluate
from vapray.errors import BackendError, ConfigError
from vapray.pretrained.model_files import sha256_of
from vapray.pretrained.vision_tower_files import VISION_PACKAGES, VisionTowerFiles, require_package

__all__ = [
    "DESCRIPTIONS",
    "features_content_hash",
    "find_weights",
    "inception_file",
    "require_packages",
    "tower_files",
]

DESCRIPTIONS = {"dinov2": ", positions as published", "biomedclip": ""}
"""Use of the files of a vision tower, where it decides features too; a part of the hashes that identify features."""
PACKAGES = {"inception_v3": "torch_fidelity", **VISION_PACKAGES}
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_ADDRESS = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"


def find_weights(settings: Evaluate, *, download: bool = True) -> list[Path]:
    """Find the files that decide the extractor's features; empty if it needs no file.

    Args:
        settings: Config section ``evaluate``.
        download: Download a hub model that the cache lacks.

    Raises:
        ConfigError: the file or directory, or files in it, are missing.
        BackendError: the model is not in a cache of this machine and cannot be downloaded.
    """
    if settings.features == "inception_v3":
        return [inception_file(settings.weights)]
    if settings.features in VISION_PACKAGES:
        return tower_files(settings).paths(download=download)
    if settings.weights is None:
        return []
    if not Path(settings.weights).is_file():
        raise ConfigError(f"evaluate.weights = {settings.weights}: no such file. Fix: give the path of a weights file.")
    return [Path(settings.weights)]


def tower_files(settings: Evaluate) -> VisionTowerFiles:
    """Files of dinov2 or biomedclip."""
    return VisionTowerFiles(
        settings.features, settings.weights or "", settings.revision, "evaluate.weights", "evaluate.features"
    )


def inception_file(weights: str | None) -> Path:
    """Find torch-fidelity's weights of Inception-v3: the named file, or the one in torch hub's cache.

    Raises:
        ConfigError: the named file does not exist.
        BackendError: no file is named, and torch hub's cache has none.
    """
    if weights is not None:
        if Path(weights).is_file():
            return Path(weights)
        raise ConfigError(f"evaluate.weights = {weights}: no such file. Fix: give the path of {INCEPTION_FILE}.")
    import torch

    cached = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if cached.is_file():
        return cached
    raise BackendError(
        f"evaluate.features = inception_v3: no {cached}. Fix: download {INCEPTION_ADDRESS} to that path, or set "
        "evaluate.weights to the file."
    )


def features_content_hash(config: Config) -> str:
    """sha256 of the weight files, or the commit of the hub model, and their use; empty if the extractor needs no file.

    Raises:
        ConfigError: the file or directory, or files in it, are missing.
        BackendError: the model is not in a cache of this machine.
    """
    settings = config.evaluate
    if settings.features in VISION_PACKAGES:
        return f"{tower_files(settings).content_hash()}{DESCRIPTIONS[settings.features]}"
    files = find_weights(settings)
    return sha256_of(files) if files else ""


def require_packages(features: str) -> None:
    """Check that the package of an extractor is installed.

    Raises:
        BackendError: the package is missing; names the extra to install.
    """
    if package := PACKAGES.get(features):
        require_package("evaluate.features", features, package)
