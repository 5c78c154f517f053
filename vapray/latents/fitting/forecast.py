"""Forecast of the autoencoder stage."""

from vapray.latents.batch_slices import max_batch_size
from vapray.latents.forecast import OF_CONVOLUTIONS, PLANES_AT_ONCE, autoencoder_size
from vapray.runtime.forecast import WORKSPACE_BYTES, Forecast, ForecastInputs, flop_rate

__all__ = ["forecast"]

# Forward, backward by weights, and backward by inputs.
PASSES = 3
# Weights, gradients and AdamW's two moments, four bytes each.
BYTES_OF_A_PARAMETER = 16
MOST_HELDOUT = 128
BYTES_OF_THE_CARD = 2500


def forecast(outlook: ForecastInputs) -> Forecast:
    """Forecast the fit, then decoder tuning without LPIPS; all their images are in memory."""
    config, size = outlook.config, autoencoder_size(outlook.config)
    settings, pool, side = config.autoencoder, config.pools.autoencoder, config.data.image_size
    device = "GPU" if pool.num_gpus else "CPU"
    rate, basis = flop_rate(device)
    fitted = settings.steps * settings.batch_size if settings.kind == "kl" else 0
    tuned = settings.tune_decoder_steps * settings.batch_size
    pictures, components = outlook.images.splits.get("train", 0), settings.kind == "pca"
    encoder, decoder = size.encoder_flops, size.decoder_flops
    flops = fitted * PASSES * (encoder + decoder) + tuned * (encoder + PASSES * decoder)
    flops += pictures * 2 * (3 * settings.factor * side) ** 2 if components else 0
    flops += 2 * MOST_HELDOUT * (encoder + decoder) if tuned else 0
    cores = pool.num_cpus if device == "CPU" else 1
    frames = (pictures if fitted or components else min(pictures, tuned)) * 3 * side**2
    judged = min(MOST_HELDOUT, max_batch_size(side, side)) * size.widest_values * 4 * PLANES_AT_ONCE
    learning = max(settings.batch_size * 4 * size.kept_values, judged)
    return Forecast(
        rows=fitted + tuned,
        part_bytes=0,
        file_bytes=4 * size.parameters + BYTES_OF_THE_CARD,
        startup_seconds=7.0 if settings.kind != "pixels" else 0.5,
        work_seconds=flops / (rate * cores * OF_CONVOLUTIONS),
        peak_bytes=WORKSPACE_BYTES
        + (BYTES_OF_A_PARAMETER * size.parameters + learning if fitted or tuned else 4 * size.parameters)
        + (2 * frames if device == "CPU" else 0),
        device=device,
        basis=basis,
    )
