"""What fitting the autoencoder would cost."""

from vapray.forecast import WORKSPACE_BYTES, Forecast, Outlook, flop_rate
from vapray.latents.forecast import OF_CONVOLUTIONS, autoencoder_size

__all__ = ["forecast"]

# Forward, and backward by weights and by inputs.
PASSES = 3
# Weights, gradients and AdamW's two moments, four bytes each.
BYTES_OF_A_PARAMETER = 16
MOST_PICTURES_AT_ONCE = 128
BYTES_OF_THE_CARD = 2500


def forecast(outlook: Outlook) -> Forecast:
    """``autoencoder.steps`` batches; all training frames lie in memory."""
    config, size = outlook.config, autoencoder_size(outlook.config)
    settings, pool = config.autoencoder, config.pools.autoencoder
    device = "GPU" if pool.num_gpus else "CPU"
    rate, basis = flop_rate(device)
    rows = settings.steps * settings.batch_size if settings.kind == "kl" else 0
    cores = pool.num_cpus if device == "CPU" else 1
    frames = outlook.images.splits.get("train", 0) * 3 * config.data.image_size**2
    judged = MOST_PICTURES_AT_ONCE * size.widest_values * 4 * 4
    return Forecast(
        rows=rows,
        part_bytes=0,
        file_bytes=4 * size.parameters + BYTES_OF_THE_CARD,
        startup_seconds=7.0 if rows else 0.5,
        work_seconds=rows * PASSES * (size.encoder_flops + size.decoder_flops) / (rate * cores * OF_CONVOLUTIONS),
        peak_bytes=WORKSPACE_BYTES
        + BYTES_OF_A_PARAMETER * size.parameters
        + max(settings.batch_size * 4 * size.kept_values, judged)
        + (2 * frames if device == "CPU" else 0),
        device=device,
        basis=basis,
    )
