"""Signatures of the files of a trained autoencoder and of LPIPS, which add to the configuration."""

from vapray.config import Config
from vapray.latents.trained_files import find_perceptual_files, find_trained, weights_and_config
from vapray.model_files import hub_commit, is_directory, sha256_of

__all__ = ["autoencoder_signature", "perceptual_signature"]


def autoencoder_signature(config: Config) -> str:
    """Compute the sha256 of the model in ``autoencoder.model``, or its hub commit; empty for kl and pixels.

    Raises:
        ConfigError: no such directory, files missing in it, or a model that does not match the settings.
    """
    settings = config.autoencoder
    if settings.kind not in ("diffusers", "taef2"):
        return ""
    if is_directory(settings.model):
        return sha256_of(weights_and_config(settings, find_trained(settings)))
    return hub_commit(settings.model or "", settings.revision, "autoencoder.model")


def perceptual_signature(config: Config) -> str:
    """Compute the sha256 of the LPIPS weights files; empty if the settings have none.

    Raises:
        ConfigError: a file is missing.
    """
    files = find_perceptual_files(config.autoencoder)
    return sha256_of(files) if files else ""
