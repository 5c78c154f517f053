"""Weight files of the extractors, and the hash that identifies them in the fingerprint."""

from importlib.util import find_spec
from pathlib import Path

from vapray.bank.tower_files import CONFIGS, WEIGHTS
from vapray.config import Config, Evaluate
from vapray.errors import BackendError, ConfigError
from vapray.model_files import Wanted, find_folder, hub_commit, is_directory, sha256_of

__all__ = ["features_signature", "find_weights", "inception_file", "model_folder", "require_packages"]

PACKAGES = {"inception_v3": "torch_fidelity", "dinov2": "timm", "biomedclip": "open_clip"}
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_ADDRESS = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
CONFIG_FILES = {"dinov2": "config.json", "biomedclip": CONFIGS["open_clip"]}
WEIGHT_FILES = {"dinov2": ("model.safetensors",), "biomedclip": WEIGHTS["open_clip"]}


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
    if settings.features in CONFIG_FILES:
        folder = model_folder(settings, download=download)
        return [folder / CONFIG_FILES[settings.features], _weights(settings.features, folder)[0]]
    if settings.weights is None:
        return []
    if not Path(settings.weights).is_file():
        raise ConfigError(f"evaluate.weights = {settings.weights}: no such file. Fix: give the path of a weights file.")
    return [Path(settings.weights)]


def model_folder(settings: Evaluate, *, download: bool = True) -> Path:
    """Folder of dinov2 or biomedclip; raises the errors of :func:`find_weights`."""
    features = settings.features
    choices = [[CONFIG_FILES[features], name] for name in WEIGHT_FILES[features]]
    wanted = Wanted("evaluate.weights", choices, lambda folder: _missing(features, folder))
    return find_folder(settings.weights or "", settings.revision, wanted, download=download)


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


def features_signature(config: Config) -> str:
    """sha256 of the weight files, or the commit of the hub model; empty if the extractor needs no file.

    Raises:
        ConfigError: the file or directory, or files in it, are missing.
        BackendError: the model is not in a cache of this machine.
    """
    settings = config.evaluate
    if settings.features in CONFIG_FILES and not is_directory(settings.weights):
        return hub_commit(settings.weights or "", settings.revision, "evaluate.weights")
    files = find_weights(settings)
    return sha256_of(files) if files else ""


def require_packages(features: str) -> None:
    """Check that the package of an extractor is installed.

    Raises:
        BackendError: the package is missing; names the extra to install.
    """
    package = PACKAGES.get(features)
    if package and find_spec(package) is None:
        raise BackendError(
            f"evaluate.features = {features}: {package} is not installed. Fix: install the extra with "
            "pip install --constraint constraints.txt '.[features]'"
        )


def _missing(features: str, folder: Path) -> list[str]:
    config = CONFIG_FILES[features]
    missing = [] if (folder / config).is_file() else [config]
    return missing if _weights(features, folder) else [*missing, f"weights ({', '.join(WEIGHT_FILES[features])})"]


def _weights(features: str, folder: Path) -> list[Path]:
    return [folder / name for name in WEIGHT_FILES[features] if (folder / name).is_file()]
