"""What training would cost, and the arithmetic of the U-ViT without building it."""

from dataclasses import dataclass

from vapray.bank.forecast import context_width, tokens_of_a_caption
from vapray.checkpoint import MANIFEST
from vapray.config import Config
from vapray.forecast import WORKSPACE_BYTES, Forecast, Outlook, flop_rate
from vapray.latents.forecast import autoencoder_size
from vapray.store import Version

__all__ = ["NetworkSize", "committed_rows", "forecast", "network_size"]

# Forward, and backward by weights and by inputs.
PASSES = 3
# Weights, gradients, AdamW's two moments and the average, four bytes each; DDP keeps a second copy of the gradients.
BYTES_OF_A_PARAMETER, BYTES_OF_DDP = 20, 4
# Activations kept for the backward pass of one block, in token widths: both norms and what they read, queries, keys,
# values, what attention gives, and the MLP's hidden layer before and after its GELU; an out-block also merges.
KEPT_OF_A_BLOCK, KEPT_OF_A_MERGE, KEPT_OF_PROTOTYPES = 17, 3, 14
MLP_RATIO = 4
BYTES_OF_A_POINT = 350
STEPS_OF_A_VALIDATION = 10


@dataclass(frozen=True)
class NetworkSize:
    """Of the network that ``training.network.build_network`` builds.

    Attributes:
        parameters: all of them.
        flops: of one forward pass of one image.
        kept_values: activations of one image that a backward pass needs.
        passing_values: the most that one image holds at once in a pass without a backward one.
    """

    parameters: int
    flops: int
    kept_values: int
    passing_values: int


def network_size(config: Config, num_classes: int) -> NetworkSize:
    """Of the network of a run."""
    width, depth = config.model.width, config.model.depth
    patches = (config.latent_side // config.model.patch_size) ** 2
    tokens = 2 + tokens_of_a_caption(config) + patches
    prototypes = (config.model.prototypes.per_class or 2 * patches) if config.model.prototypes.enabled else 0
    kept = KEPT_OF_A_BLOCK * (depth + 1) + KEPT_OF_A_MERGE * (depth // 2) + KEPT_OF_PROTOTYPES * bool(prototypes)
    return NetworkSize(
        parameters=_parameters(config, num_classes, patches, prototypes),
        flops=_flops(width, depth, tokens, prototypes),
        kept_values=kept * tokens * width + 4 * prototypes * width,
        passing_values=(depth // 2 + 2 * MLP_RATIO + 6) * tokens * width,
    )


def forecast(outlook: Outlook) -> Forecast:
    """``train.steps`` global batches; every worker holds the whole network and its share of the batch.

    Measured peak resident memory of one worker on a CPU, over what it had before the network was built, beside
    ``peak_bytes``: 105 and 99 MB at the demo's settings, 5.7 and 5.0 GB at width 256, depth 12 and 256 patches.
    """
    config, settings = outlook.config, outlook.config.train
    size = network_size(config, outlook.images.num_classes)
    device = "GPU" if settings.use_gpu else "CPU"
    rate, basis = flop_rate(device)
    rows, share = settings.steps * settings.batch_size, settings.batch_size // settings.workers
    ddp = BYTES_OF_DDP if settings.workers > 1 else 0
    return Forecast(
        rows=rows,
        part_bytes=0,
        file_bytes=_checkpoint_bytes(outlook, size.parameters),
        startup_seconds=14.0,
        work_seconds=(rows * PASSES / settings.workers + _validated(outlook)) * size.flops / rate,
        peak_bytes=WORKSPACE_BYTES + (BYTES_OF_A_PARAMETER + ddp) * size.parameters + 4 * share * size.kept_values,
        workers=settings.workers,
        device=device,
        basis=basis,
    )


def _validated(outlook: Outlook) -> int:
    """Forward passes of one image over all validations, which one worker makes while the others wait."""
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
    curve = settings.steps / settings.report_every * BYTES_OF_A_POINT
    bank = outlook.images.splits.get("train", 0) * 40
    final = 8 * parameters + 4 * autoencoder_size(outlook.config).parameters + bank + 4000
    return states * (bytes_of_a_parameter * parameters + 40_000 + curve) + final + 2 * curve


def _parameters(config: Config, num_classes: int, patches: int, prototypes: int) -> int:
    width, depth, context = config.model.width, config.model.depth, context_width(config)
    channels = 3 if config.autoencoder.kind == "pixels" else config.autoencoder.channels
    patch_values = channels * config.model.patch_size**2
    square, attention = width**2, 4 * width**2 + width
    block = attention + 4 * width + 2 * MLP_RATIO * square + (MLP_RATIO + 1) * width
    ends = (num_classes + 1) * width + (context + 2) * width + (patch_values + 1) * width
    ends += (2 + config.bank.max_tokens + patches) * width + 2 * width + (width + 1) * patch_values
    ends += 9 * channels**2 + channels
    condition = (num_classes + 1) * prototypes * width + 2 * attention + 4 * width + 2 * square + width
    return (depth + 1) * block + depth // 2 * (2 * square + width) + ends + (condition if prototypes else 0)


def _flops(width: int, depth: int, tokens: int, prototypes: int) -> int:
    square = width**2
    block = 2 * tokens * (4 + 2 * MLP_RATIO) * square + 4 * tokens**2 * width
    merge = 4 * tokens * square
    looked_up = 4 * prototypes * square + 8 * tokens * prototypes * width
    condition = looked_up + 2 * tokens * 8 * square + 4 * tokens**2 * width
    return (depth + 1) * block + depth // 2 * merge + (condition if prototypes else 0)
