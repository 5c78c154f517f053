"""What training would cost."""

from vapray.checkpoint import MANIFEST
from vapray.config import Config, Train
from vapray.forecast import WORKSPACE_BYTES, Forecast, Outlook, flop_rate
from vapray.latents.forecast import autoencoder_size
from vapray.models.size import NetworkSize, network_size
from vapray.store import Version

__all__ = ["committed_rows", "forecast", "peak_bytes"]

# Forward, and backward by weights and by inputs.
PASSES = 3
# Weights, gradients, AdamW's two moments and the average, four bytes each; DDP keeps a second copy of the gradients.
BYTES_OF_A_PARAMETER, BYTES_OF_DDP = 20, 4
# Beside its share: rank 0's whole copy of weights for validation, and what blocks borrow while they run; measured at 13
# blocks on two CPUs, 20 in all. Gradients of micro-batches are whole while they add up.
BYTES_BORROWED, BYTES_OF_GRADIENTS = 8, 4
# A copy of the state and its files, beside the steps that go on; where weights lie on a GPU, that is host memory.
BYTES_OF_SAVING = 36
BYTES_OF_A_POINT, BYTES_OF_AN_EVENT = 380, 350
STEPS_OF_A_VALIDATION = 10


def forecast(outlook: Outlook) -> Forecast:
    """``train.steps`` global batches; every worker holds its share of the batch, and of the network all or a share.

    Measured peak resident memory of one worker on a CPU, over what it had before the network was built, beside
    ``peak_bytes``: 105 and 99 MB at the demo's settings, 5.7 and 5.0 GB at width 256, depth 12 and 256 patches.
    """
    config, settings = outlook.config, outlook.config.train
    size = network_size(config, outlook.images.num_classes)
    device = "GPU" if settings.use_gpu else "CPU"
    rate, basis = flop_rate(device)
    rows, share = settings.steps * settings.batch_size, settings.batch_size // settings.workers
    at_once = -(-share // settings.accumulate_steps)
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


def peak_bytes(size: NetworkSize, share: int, settings: Train) -> float:
    """Memory of a worker that takes ``share`` images at a time; of the GPU, where it has one."""
    saving = 0 if settings.use_gpu else BYTES_OF_SAVING
    return WORKSPACE_BYTES + (_bytes_held(settings) + saving) * size.parameters + 4 * share * size.kept_values


def _bytes_held(settings: Train) -> float:
    """Of a parameter, by the worker that holds most."""
    if settings.workers == 1:
        return BYTES_OF_A_PARAMETER
    if settings.sharding == "ddp":
        return BYTES_OF_A_PARAMETER + BYTES_OF_DDP
    gradients = BYTES_OF_GRADIENTS if settings.accumulate_steps > 1 else 0
    return BYTES_OF_A_PARAMETER / settings.workers + BYTES_BORROWED + gradients


def _validated(outlook: Outlook) -> int:
    """Forward passes of one image over all validations, which one worker makes beside its steps."""
    settings = outlook.config.train
    images = min(settings.validation_images, outlook.images.splits.get("validation", 0))
    return (
        -(-settings.steps // settings.validate_every) * images * STEPS_OF_A_VALIDATION if settings.validate_every else 0
    )


def committed_rows(output: Version, config: Config) -> int:
    """Rows before the newest whole training state that an earlier run left."""
    folder = f"{output.folder}/files/steps"
    for name in reversed(output.files.names(folder)):
        if output.files.read(f"{folder}/{name}/{MANIFEST}") is not None:
            return int(name.removeprefix("step-")) * config.train.batch_size
    return 0


def _checkpoint_bytes(outlook: Outlook, parameters: int) -> float:
    """Training states hold weights, average and two moments; ``files/final`` weights, average and autoencoder.

    With validation a state also holds the average that did best.
    """
    settings = outlook.config.train
    states = min(settings.keep_checkpoints, -(-settings.steps // settings.checkpoint_every))
    bytes_of_a_parameter = 20 if settings.validate_every and outlook.images.splits.get("validation", 0) else 16
    points = settings.steps / settings.report_every
    curve, events = points * BYTES_OF_A_POINT, points * BYTES_OF_AN_EVENT * (settings.tracker == "tensorboard")
    bank = outlook.images.splits.get("train", 0) * 40
    final = 8 * parameters + 4 * autoencoder_size(outlook.config).parameters + bank + 4000
    return states * (bytes_of_a_parameter * parameters + 40_000 + curve) + final + 2 * curve + events
