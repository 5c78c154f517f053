"""Forecast of stage train."""

from vapray.config import Config, Train
from vapray.latents.forecast import autoencoder_size
from vapray.models.network_cost import NetworkCost, network_cost
from vapray.runtime.forecast import WORKSPACE_BYTES, Forecast, ForecastInputs, flop_rate
from vapray.store.checkpoint import latest_step
from vapray.store.version import Version

__all__ = ["committed_rows", "forecast", "peak_bytes"]

# Forward, backward by weights, and backward by inputs.
PASSES = 3
# Weights, gradients, AdamW's two moments and the average, four bytes each; DDP keeps a second copy of the gradients.
BYTES_OF_A_PARAMETER, BYTES_OF_DDP = 20, 4
# In addition to a worker's share: rank 0's complete copy of weights for validation, and the gathered weights of running
# blocks; measured at 13 blocks on two CPUs, 20 in all. Gradients of micro-batches are complete while they add up.
BYTES_BORROWED, BYTES_OF_GRADIENTS = 8, 4
# A copy of the state and its files while training continues; with weights on a GPU they are in host memory.
BYTES_OF_SAVING = 36
BYTES_OF_A_POINT, BYTES_OF_AN_EVENT = 380, 350
STEPS_OF_A_VALIDATION = 10


def forecast(outlook: ForecastInputs) -> Forecast:
    """Forecast ``train.steps`` global batches; a worker has its share of the batch, and all or a share of the network.

    Peak resident memory of one worker on a CPU above that before building the network, measured and by ``peak_bytes``:
    105 and 99 MB at the demo's settings, 5.7 and 5.0 GB at width 256, depth 12 and 256 patches.
    """
    config, settings = outlook.config, outlook.config.train
    size = network_cost(config, outlook.images.num_classes)
    device = "GPU" if settings.use_gpu else "CPU"
    rate, basis = flop_rate(device)
    rows, share = settings.steps * settings.batch_size, settings.batch_size // settings.workers
    at_once = -(-share // settings.gradient_accumulation_steps)
    return Forecast(
        rows=rows,
        part_bytes=0,
        file_bytes=_checkpoint_bytes(outlook, size.parameters),
        startup_seconds=14.0,
        work_seconds=(rows * PASSES / settings.workers + _validated(outlook)) * size.flops / rate,
        peak_bytes=peak_bytes(size, at_once, settings),
        workers=settings.workers,
        device=device,
        basis=basis,
    )


def peak_bytes(size: NetworkCost, share: int, settings: Train) -> float:
    """Estimate the memory of a worker that processes ``share`` images at once; GPU memory if it has a GPU."""
    saving = 0 if settings.use_gpu else BYTES_OF_SAVING
    return WORKSPACE_BYTES + (_bytes_held(settings) + saving) * size.parameters + 4 * share * size.kept_values


def _bytes_held(settings: Train) -> float:
    """Estimate the bytes per parameter of the worker that holds most."""
    if settings.workers == 1:
        return BYTES_OF_A_PARAMETER
    if settings.sharding == "ddp":
        return BYTES_OF_A_PARAMETER + BYTES_OF_DDP
    gradients = BYTES_OF_GRADIENTS if settings.gradient_accumulation_steps > 1 else 0
    return BYTES_OF_A_PARAMETER / settings.workers + BYTES_BORROWED + gradients


def _validated(outlook: ForecastInputs) -> int:
    """Count forward passes of one image over all validations, which one worker runs in addition to its steps."""
    settings = outlook.config.train
    images = min(settings.validation_images, outlook.images.splits.get("validation", 0))
    return (
        -(-settings.steps // settings.validate_every) * images * STEPS_OF_A_VALIDATION if settings.validate_every else 0
    )


def committed_rows(output: Version, config: Config) -> int:
    """Count the rows before the latest complete training state of an earlier run."""
    return latest_step(output.files, f"{output.folder}/files/steps") * config.train.batch_size


def _checkpoint_bytes(outlook: ForecastInputs, parameters: int) -> float:
    """Estimate the size of training states and ``files/final``, in bytes.

    A state has weights, EMA and two moments, with validation also the best EMA; ``files/final`` has weights, EMA and
    autoencoder.
    """
    settings = outlook.config.train
    states = min(settings.keep_checkpoints, -(-settings.steps // settings.checkpoint_every))
    bytes_of_a_parameter = 20 if settings.validate_every and outlook.images.splits.get("validation", 0) else 16
    points = settings.steps / settings.log_every
    curve, events = points * BYTES_OF_A_POINT, points * BYTES_OF_AN_EVENT * (settings.tracker == "tensorboard")
    bank = outlook.images.splits.get("train", 0) * 40
    final = 8 * parameters + 4 * autoencoder_size(outlook.config).parameters + bank + 4000
    return states * (bytes_of_a_parameter * parameters + 40_000 + curve) + final + 2 * curve + events
