"""Building of a run's autoencoder: fitted or pretrained, optionally with decoder tuning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vapray.config import Config
from vapray.data.image_loading import load_square_images
from vapray.errors import CheckpointError, ConfigError, DataError
from vapray.latents.decoder_tuning import TuningRecipe, tune_decoder
from vapray.latents.fit import MOST_HELDOUT, Recipe, fit_autoencoder, split_heldout
from vapray.latents.kl_autoencoder import KlAutoencoder
from vapray.latents.lpips import SMALLEST_SIDE
from vapray.latents.lpips_weights import load_lpips
from vapray.latents.network_autoencoder import NetworkAutoencoder
from vapray.latents.patch_pca import fit_patch_pca
from vapray.latents.pretrained_files import find_pretrained
from vapray.latents.reconstruction import psnr_db, rebuild_pictures
from vapray.latents.tiny_autoencoder import TinyAutoencoder
from vapray.latents.training_loop import torch_threads

__all__ = ["ImagePaths", "load_pretrained", "optimizer_steps", "prepare_autoencoder"]

OF_A_FIT = {"channels", "factor", "width", "steps", "batch_size", "learning_rate"}
Report = Callable[[int, str], None]


@dataclass(frozen=True)
class ImagePaths:
    """Image files of the splits for training and for its report."""

    train: Sequence[str]
    validation: Sequence[str]


def optimizer_steps(config: Config) -> int:
    """Count the optimizer steps of fitting and tuning together."""
    settings = config.autoencoder
    return (settings.steps if settings.kind == "kl" else 0) + settings.tune_decoder_steps


def prepare_autoencoder(config: Config, paths: ImagePaths, report: Report) -> tuple[NetworkAutoencoder, dict[str, Any]]:
    """Build an autoencoder of any kind but pixels, with its notes for the manifest.

    Args:
        config: configuration of the run.
        paths: image files; read only for training.
        report: called with (optimizer steps done, the loss as text).

    Returns:
        The autoencoder and the notes.

    Raises:
        ConfigError: settings that do not match the model, the images or the LPIPS weights, or a diverged loss.
        DataError: no image of the train split can be read.
        CheckpointError: damaged files of a trained model.
        BackendError: a trained model that is not available.
    """
    settings = config.autoencoder
    if settings.kind == "kl":
        autoencoder, notes = _fitted(config, paths, report)
    elif settings.kind == "pca":
        autoencoder, notes = _principal_components(config, paths)
    else:
        autoencoder, notes = load_pretrained(config), {}
    if settings.tune_decoder_steps:
        notes |= _finetune_decoder(config, autoencoder, paths, report)
    return autoencoder, {"rows": optimizer_steps(config) * settings.batch_size} | notes


def load_pretrained(config: Config) -> NetworkAutoencoder:
    """Load ``autoencoder.model`` onto the device of ``pools.autoencoder``; errors as in ``prepare_autoencoder``."""
    settings = config.autoencoder
    folder = find_pretrained(settings)
    try:
        load = KlAutoencoder.load if settings.kind == "diffusers" else TinyAutoencoder.from_pair
        autoencoder: NetworkAutoencoder = load(folder)
    except CheckpointError as error:
        advice = "Fix: copy or download the model again, or set autoencoder.model to another one."
        raise CheckpointError(f"autoencoder.model = {settings.model}: {error}. {advice}") from error
    autoencoder.network.to(config.pools.autoencoder.device)
    return autoencoder


def _fitted(config: Config, paths: ImagePaths, report: Report) -> tuple[NetworkAutoencoder, dict[str, Any]]:
    autoencoder, fit = fit_autoencoder(
        _frames(config, paths.train),
        Recipe(**config.autoencoder.model_dump(include=OF_A_FIT), seed=config.run.seed),
        threads=_threads(config),
        device=config.pools.autoencoder.device,
        on_step=lambda step, loss: report(step, f"loss {loss:.4f}"),
    )
    return autoencoder, {
        "psnr_train": fit.psnr_train,
        "psnr_heldout": fit.psnr_heldout,
        "loss_curve": fit.loss_curve,
    }


def _principal_components(config: Config, paths: ImagePaths) -> tuple[NetworkAutoencoder, dict[str, Any]]:
    settings, noise = config.autoencoder, torch.Generator().manual_seed(config.run.seed)
    images, heldout = split_heldout(_frames(config, paths.train), noise)
    with torch_threads(_threads(config)):
        sizes = {"channels": settings.channels, "factor": settings.factor}
        autoencoder = fit_patch_pca(images, **sizes, whitening=settings.whitening)
        judged = {"psnr_train": images[: len(heldout)], "psnr_heldout": heldout}
        return autoencoder, {name: psnr_db(rebuild_pictures(autoencoder, seen), seen) for name, seen in judged.items()}


def _finetune_decoder(
    config: Config, autoencoder: NetworkAutoencoder, paths: ImagePaths, report: Report
) -> dict[str, Any]:
    settings = config.autoencoder
    perceptual = load_lpips(settings, config.pools.autoencoder.device)
    if perceptual and config.data.image_size < SMALLEST_SIDE:
        raise ConfigError(
            f"autoencoder.lpips_backbone with data.image_size = {config.data.image_size}: LPIPS needs images of "
            f"{SMALLEST_SIDE} pixels or more. Fix: remove it, or raise data.image_size."
        )
    images, heldout, judged_on = _tuning_frames(config, paths)
    fitted = optimizer_steps(config) - settings.tune_decoder_steps
    tuning = tune_decoder(
        autoencoder,
        images,
        heldout,
        TuningRecipe(
            settings.tune_decoder_steps,
            settings.batch_size,
            settings.tune_learning_rate,
            settings.lpips_weight,
            config.run.seed,
        ),
        perceptual,
        threads=_threads(config),
        on_step=lambda step, loss: report(fitted + step, f"tuning the decoder, loss {loss:.4f}"),
    )
    return {
        "decoder_tuning": {
            "steps": settings.tune_decoder_steps,
            "perceptual": perceptual.name if perceptual else "none: L1 alone",
            "heldout": f"{len(heldout)} of the {judged_on} split",
            "psnr": [tuning.before.psnr, tuning.after.psnr],
            "lpips": [tuning.before.lpips, tuning.after.lpips] if perceptual else None,
            "loss_curve": tuning.loss_curve,
        }
    }


def _tuning_frames(config: Config, paths: ImagePaths) -> tuple[NDArray[np.uint8], NDArray[np.uint8], str]:
    """Load images to tune on and images to evaluate, and name the latter's split: validation, or train without one."""
    noise = torch.Generator().manual_seed(config.run.seed)
    most = config.autoencoder.tune_decoder_steps * config.autoencoder.batch_size
    validation, _, _ = load_square_images(_drawn(paths.validation, MOST_HELDOUT, noise), config.data.image_size)
    if len(validation):
        return _frames(config, _drawn(paths.train, most, noise)), validation, "validation"
    images, heldout = split_heldout(_frames(config, _drawn(paths.train, most + MOST_HELDOUT, noise)), noise)
    return images, heldout, "train"


def _drawn(paths: Sequence[str], most: int, noise: torch.Generator) -> list[str]:
    """Draw at most ``most`` paths in random order, so that images that no step would use are not read."""
    return [paths[row] for row in torch.randperm(len(paths), generator=noise)[:most].tolist()]


def _frames(config: Config, paths: Sequence[str]) -> NDArray[np.uint8]:
    frames, _, _ = load_square_images(paths, config.data.image_size)
    if len(frames) == 0:
        raise DataError("no image of the train split can be read; the autoencoder needs them.")
    return frames


def _threads(config: Config) -> int:
    return max(1, round(config.pools.autoencoder.num_cpus))
