"""Files of a pretrained autoencoder, and those of LPIPS."""

from pathlib import Path

from vapray.config.network import Autoencoder as Settings
from vapray.errors import ConfigError
from vapray.latents.file_names import CONFIG_FILE, DECODER_FILE, ENCODER_FILE, WEIGHTS_FILE
from vapray.latents.kl_shape import KlShape
from vapray.model_files import Wanted, find_folder

__all__ = ["find_perceptual_files", "find_trained", "weights_and_config"]

PIPELINES_FOLDER = "vae"
FILES = {"diffusers": (CONFIG_FILE, WEIGHTS_FILE), "taef2": (ENCODER_FILE, DECODER_FILE)}


def find_trained(settings: Settings, *, download: bool = True) -> Path:
    """Find the folder with the complete files of ``autoencoder.model``.

    Args:
        settings: section ``autoencoder``, with kind diffusers or taef2.
        download: download files that are not in the cache.

    Raises:
        ConfigError: no such directory, files missing, another class, or other channels or factor than the settings'.
        BackendError: not in the cache and not downloadable.
    """
    names = FILES[settings.kind]
    choices = [[*names], [f"{PIPELINES_FOLDER}/{name}" for name in names]]
    wanted = Wanted(
        "autoencoder.model",
        choices[: 2 if settings.kind == "diffusers" else 1],
        lambda folder: [name for name in names if not (_component(folder) / name).is_file()],
    )
    folder = _component(find_folder(settings.model or "", settings.revision, wanted, download=download))
    if settings.kind == "diffusers":
        KlShape.of(folder / CONFIG_FILE).require(settings)
    return folder


def weights_and_config(settings: Settings, folder: Path) -> list[Path]:
    """List the files that determine a trained autoencoder."""
    return [folder / name for name in FILES[settings.kind]]


def find_perceptual_files(settings: Settings) -> list[Path]:
    """List the LPIPS weights files; empty if the settings have none.

    Raises:
        ConfigError: a file is missing.
    """
    named = {key: getattr(settings, key) for key in ("lpips_backbone", "lpips_heads")}
    for key, path in named.items():
        if path and not Path(path).is_file():
            raise ConfigError(f"autoencoder.{key} = {path}: no such file. Fix: give the path of a weights file.")
    return [Path(path) for path in named.values() if path]


def _component(folder: Path) -> Path:
    """Get the folder of the autoencoder within a pipeline's folder, if it is one."""
    inside = folder / PIPELINES_FOLDER
    return inside if inside.is_dir() and not (folder / CONFIG_FILE).is_file() else folder
