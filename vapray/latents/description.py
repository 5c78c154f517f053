"""Description of an autoencoder in words, for reports."""

from collections.abc import Mapping
from typing import Any

from vapray.config.network import Autoencoder as Settings

__all__ = ["describe_autoencoder", "describe_tuning"]


def describe_autoencoder(settings: Settings, notes: Mapping[str, Any]) -> str:
    """Describe its kind, its source and, if measured, its reconstruction of held-out images.

    Args:
        settings: settings of the autoencoder.
        notes: notes of the autoencoder stage's manifest.
    """
    kinds = {
        "kl": "small, fitted to the training pictures",
        "pca": f"{settings.channels} principal components of patches of {settings.factor} pixels",
        "pixels": "none, pixels are diffused",
        "diffusers": f"AutoencoderKL of {settings.model}",
        "taef2": f"TAEF2 of {settings.model}",
    }
    fitted = f", held-out PSNR {notes['psnr_heldout']:.1f} dB" if "psnr_heldout" in notes else ""
    tuned = f"; {describe_tuning(notes['decoder_tuning'])}" if "decoder_tuning" in notes else ""
    return f"{kinds[settings.kind]}{fitted}{tuned}"


def describe_tuning(tuning: Mapping[str, Any]) -> str:
    """Describe the decoder tuning in ``notes["decoder_tuning"]``."""
    psnr, lpips = tuning["psnr"], tuning["lpips"]
    distance = f", {tuning['perceptual']} {lpips[0]:.4f} -> {lpips[1]:.4f}" if lpips else ", without LPIPS"
    steps = f"decoder tuned for {tuning['steps']:,} steps"
    return f"{steps}: PSNR {psnr[0]:.1f} -> {psnr[1]:.1f} dB{distance}, on {tuning['heldout']}"
