"""Loading of a run's autoencoder from the version of the autoencoder stage."""

from vapray.checkpoint import read_checkpoint, unpacked
from vapray.latents.autoencoder import Autoencoder, load_autoencoder
from vapray.store import Version

__all__ = ["open_autoencoder", "stored_autoencoder"]


def stored_autoencoder(version: Version) -> dict[str, bytes]:
    """Read the files of the autoencoder and verify them."""
    return read_checkpoint(version.files, f"{version.folder}/files/autoencoder")


def open_autoencoder(version: Version, device: str = "cpu") -> Autoencoder:
    """Load the autoencoder onto a device.

    Raises:
        CheckpointError: damaged or missing.
    """
    with unpacked(stored_autoencoder(version)) as folder:
        return load_autoencoder(folder, device)
