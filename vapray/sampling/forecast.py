"""Cost estimate of sampling."""

from vapray.config import Config
from vapray.latents.batch_slices import max_batch_size
from vapray.latents.forecast import autoencoder_size
from vapray.models.network_cost import network_cost
from vapray.runtime.forecast import WORKSPACE_BYTES, Forecast, ForecastInputs, flop_rate, part_overhead, pool_size
from vapray.sampling.plan import arm_sizes

__all__ = ["SECONDS_TO_WRITE", "forecast", "network_passes"]

# Compressed share of a noisy image as PNG, and bytes of its provenance in text chunks.
PACKED, BYTES_OF_PROVENANCE = 0.6, 490
# Bytes per image in the plan, and per line of metadata.jsonl.
BYTES_OF_A_PLAN, BYTES_OF_A_LINE = 25, 385
SECONDS_TO_WRITE = 4e-3
PLANES_AT_ONCE = 4
# Speed relative to training: nothing is kept for a backward pass.
WITHOUT_GRADIENTS = 1.6


def forecast(outlook: ForecastInputs) -> Forecast:
    """Estimate the cost of ``sample.n_images`` images with guidance, and of some untrained ones without.

    Measured increase of peak resident memory for 128 images on a CPU, and ``peak_bytes``: 33 and 40 MB at the demo's
    settings, 281 and 225 MB at width 256, depth 12 and 256 patches.
    """
    config, settings, pool = outlook.config, outlook.config.sample, outlook.config.pools.sample
    network, autoencoder = network_cost(config, outlook.images.num_classes), autoencoder_size(config)
    workers, device = pool_size(pool)
    rate, basis = flop_rate(device)
    rows, side = sum(arm_sizes(settings.n_images).values()), config.data.image_size
    flops = network_passes(config) * network.flops + rows * autoencoder.decoder_flops
    png = 3 * side**2 * PACKED + BYTES_OF_PROVENANCE
    batch = max(settings.batch_sizes)
    decoded = min(batch, max_batch_size(side, side)) * PLANES_AT_ONCE * autoencoder.widest_values
    return Forecast(
        rows=rows,
        part_bytes=rows * png + part_overhead(rows, pool),
        file_bytes=rows * (png + BYTES_OF_A_LINE + BYTES_OF_A_PLAN),
        startup_seconds=5.0,
        work_seconds=(flops / (rate * WITHOUT_GRADIENTS) + rows * SECONDS_TO_WRITE) / workers,
        peak_bytes=WORKSPACE_BYTES
        + 4 * (2 * network.parameters + autoencoder.parameters + max(batch * network.passing_values, decoded)),
        workers=workers,
        device=device,
        basis=basis,
    )


def network_passes(config: Config) -> float:
    """Number of network rows for all images of the stage: generated with guidance, untrained without."""
    generated, untrained = arm_sizes(config.sample.n_images).values()
    return config.sample.network_evaluations * (generated * (1 + _guided_share(config)) + untrained)


def _guided_share(config: Config) -> float:
    """Share of the solver's steps that take two network rows; the steps are evenly spaced."""
    settings = config.sample
    if settings.guidance_scale == (0.0 if settings.guidance_convention == "excess" else 1.0):
        return 0.0
    first, last = settings.guidance_interval or (1, config.diffusion.steps)
    return max(0, min(last, config.diffusion.steps) - max(first, 1) + 1) / config.diffusion.steps
