"""Forecast of stage encode."""

from vapray.config import Config
from vapray.config.network import Autoencoder as Settings
from vapray.data.forecast import reading_seconds
from vapray.errors import VaprayError
from vapray.latents.batch_slices import max_batch_size
from vapray.latents.file_names import CONFIG_FILE
from vapray.latents.kl_shape import STABLE_DIFFUSION, KlShape
from vapray.latents.network_size import NO_NETWORK, AutoencoderSize, kl_size, pca_size, tiny_size
from vapray.latents.pretrained_files import find_pretrained
from vapray.latents.teacher_files import teacher_cost
from vapray.runtime.forecast import WORKSPACE_BYTES, Forecast, ForecastInputs, flop_rate, part_overhead, pool_size

__all__ = ["OF_CONVOLUTIONS", "PLANES_AT_ONCE", "autoencoder_size", "forecast"]

# Share of the rate of matrix products that small convolutions reach.
OF_CONVOLUTIONS = 0.55
# Compressed share of float16 moments.
PACKED = 0.85
# A convolution's input, its normalized and activated copies, and its output are in memory together.
PLANES_AT_ONCE = 4


def autoencoder_size(config: Config) -> AutoencoderSize:
    """Compute the size of a run's autoencoder; Stable Diffusion's is assumed if the model is not on this machine."""
    settings, side = config.autoencoder, config.data.image_size
    if settings.kind == "pixels":
        return NO_NETWORK
    if settings.kind == "taef2":
        return tiny_size(side)
    if settings.kind == "pca":
        return pca_size(side, settings.channels, settings.factor)
    if settings.kind == "diffusers":
        return kl_size(_trained_shape(settings), side)
    widths = tuple(settings.width * min(4, 2**level) for level in range(settings.factor.bit_length()))
    return kl_size(KlShape(settings.channels, widths, 1, False), side)


def forecast(outlook: ForecastInputs) -> Forecast:
    """Forecast stage encode: each image and its mirror image, 1:2; moments are 2C x h x w float16 values.

    A teacher's features are one byte each.
    """
    config, pictures = outlook.config, outlook.rows["images"]
    pool, size = config.pools.encode, autoencoder_size(config)
    workers, device = pool_size(pool)
    rate, basis = flop_rate(device)
    channels = 3 if config.autoencoder.kind == "pixels" else config.autoencoder.channels
    moments = 2 * channels * config.latent_side**2 * 2
    features, teaching = teacher_cost(config)
    side = config.data.image_size
    frame, encoding = 3 * side**2, 2 * (size.encoder_flops / OF_CONVOLUTIONS + teaching) / rate
    return Forecast(
        rows=2 * pictures,
        part_bytes=2 * pictures * (moments * PACKED + features + 20) + part_overhead(pictures, pool),
        file_bytes=0,
        startup_seconds=5.0,
        work_seconds=pictures * (reading_seconds(outlook.images) + encoding) / workers,
        peak_bytes=WORKSPACE_BYTES
        + 4 * size.parameters
        + pool.batch_rows * frame * 6
        + min(pool.batch_rows, max_batch_size(side, side)) * 4 * PLANES_AT_ONCE * size.widest_values,
        workers=workers,
        device=device,
        basis=basis,
    )


def _trained_shape(settings: Settings) -> KlShape:
    try:
        return KlShape.of(find_pretrained(settings, download=False) / CONFIG_FILE)
    except VaprayError:  # the stage that needs the files reports the problem
        return STABLE_DIFFUSION
