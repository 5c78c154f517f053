"""Loading of a run's autoencoder from the version of the autoencoder stage."""

from vapray.latents.autoencoder import Autoencoder, load_autoencoder
from vapray.store.checkpoint import as_temporary_folder, read_checkpoint
from vapray.store.version import Version

__all__ = ["load_run_autoencoder", "read_autoencoder_files"]


def read_autoencoder_files(version: Version) -> dict[str, bytes]:
    """Read the files of the autoencoder and verify them."""
    return read_checkpoint(version.files, f"{version.folder}/files/autoencoder")


def load_run_autoencoder(version: Version, device: str = "cpu") -> Autoencoder:
    """Load the autoencoder onto a device.

    Raises:
        CheckpointError: damaged or missing.
    """
    with as_temporary_folder(read_autoencoder_files(version)) as folder:
        return load_autoencoder(folder, device)
