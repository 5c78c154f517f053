"""Loading of an autoencoder of any class from a folder."""

import json
from collections.abc import Callable
from pathlib import Path

from vapray.errors import CheckpointError
from vapray.latents.file_names import CONFIG_FILE
from vapray.latents.kl_autoencoder import KlAutoencoder
from vapray.latents.network_autoencoder import Autoencoder, NetworkAutoencoder
from vapray.latents.patch_pca import PatchPca
from vapray.latents.pixel_space import PixelSpace
from vapray.latents.tiny_autoencoder import TinyAutoencoder

__all__ = ["Autoencoder", "load_autoencoder"]


LOADERS: dict[str, Callable[[str | Path], Autoencoder]] = {
    "AutoencoderKL": KlAutoencoder.load,
    "PatchPca": PatchPca.load,
    "PixelSpace": lambda _: PixelSpace(),
    "TinyAutoencoder": TinyAutoencoder.load,
}


def load_autoencoder(folder: str | Path, device: str = "cpu") -> Autoencoder:
    """Load the autoencoder of the class in ``folder/config.json`` onto a torch device.

    Raises:
        CheckpointError: no readable config.json, an unknown class, or damaged weights.
    """
    path = Path(folder) / CONFIG_FILE
    try:
        name = json.loads(path.read_text())["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read as an autoencoder's config: {error!r}") from error
    if name not in LOADERS:
        raise CheckpointError(f"{path}: unknown autoencoder {name!r}. Known: {', '.join(sorted(LOADERS))}")
    autoencoder = LOADERS[name](folder)
    if isinstance(autoencoder, NetworkAutoencoder):
        autoencoder.network.to(device)
    return autoencoder
