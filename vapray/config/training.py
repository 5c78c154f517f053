"""Settings of the training of the network."""

from typing import Annotated, Literal

from pydantic import Field

from vapray.config.section import (
    ConfigSection,
    Momentum,
    NonNegativeInt,
    PathText,
    PositiveFloat,
    PositiveInt,
    Quantity,
    UnitInterval,
)

__all__ = ["Train"]

EMBEDDED_FEATURES: Literal["random_convolutions"] = "random_convolutions"


class Train(ConfigSection):
    """Settings of training."""

    steps: PositiveInt = 1250
    """Number of optimizer steps."""
    batch_size: PositiveInt = 64
    """Number of images per step, over all workers."""
    init_from: PathText | None = None
    """Initial weights, a path on every node: a checkpoint's .safetensors, or the released code's .pth. None: random."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """Optimizer. adamw: AdamW for all weights (the paper); muon: for uvit, Muon for the matrices of its blocks, AdamW
    for the others."""
    learning_rate: PositiveFloat = 4e-3
    """Peak learning rate of AdamW."""
    muon_learning_rate: PositiveFloat = 0.02
    """Peak learning rate of Muon; the same for networks of any width."""
    muon_weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of Muon."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.03
    """Weight decay of AdamW; prototypes, positions, biases and norms are exempt."""
    decay_prototypes: bool = False
    """Also apply weight decay to prototypes, as in the released code."""
    betas: Annotated[tuple[Momentum, Momentum], Field(strict=False)] = (0.9, 0.9)
    """Betas of AdamW, each at least 0 and below 1."""
    warmup_steps: NonNegativeInt = 75
    """Number of steps of linear learning-rate warm-up."""
    lr_schedule: Literal["constant", "linear", "cooldown"] = "linear"
    """Learning rate after the warm-up: constant, linear decay to zero, or constant with a linear decay to zero at the
    end."""
    cooldown_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """For cooldown: share of the steps in which the learning rate decays."""
    max_grad_norm: PositiveFloat = 1.0
    """Norm to which gradients are clipped."""
    ema_decay: UnitInterval = 0.9999
    """Decay of the exponential moving average of the weights, 0 to 1; at step k it is at most (1+k)/(10+k)."""
    condition_dropout: UnitInterval = 0.1
    """Probability of dropping label and text together, 0 to 1."""
    caption_shuffle_fraction: UnitInterval = 0.0
    """Share of the training images, 0 to 1, that get the caption of another image of their class. An experimental
    control: a remaining gain over the class condition does not come from what captions say about their image."""
    flip: bool = True
    """Mirror images at random, except for images whose caption names a side (left or right)."""
    quarter_turns: bool = False
    """Turn images by a random multiple of 90 degrees, except for images whose caption names a side (left, right, upper,
    lower); with ``flip``, all eight symmetries of the square. For modalities without an upright orientation; needs
    ``autoencoder.kind`` pixels."""
    class_balanced_sampling: bool | UnitInterval = False
    """Draw classes uniformly, as the released trainer does. A number from 0 to 1 tempers it: a class of n images is
    drawn in proportion to n^(1 - number); at 0.5 a class of a hundredth of the images is drawn a tenth as often."""
    cbdm_weight: Annotated[float, Field(ge=0)] = 0.0
    """tau of the class-balancing loss (CBDM), a baseline for rare classes; its authors use 0.001. 0: off."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of matrix products and attention; weights, norms, loss and optimizer stay float32. bfloat16 is float32
    on CPUs without units for it."""
    gradient_accumulation_steps: PositiveInt = 1
    """Number of micro-batches per step, grouped by caption length, whose gradients add up: less memory and padding,
    same result."""
    activation_checkpointing: bool = False
    """Recompute the blocks' activations in the backward pass: about a third more time, a fraction of the memory."""
    compile: bool = False
    """For uvit: compile its blocks with torch.compile; needs a C++ compiler and one or two minutes at the start."""
    prefetch: NonNegativeInt = 2
    """Number of batches to prepare while a step runs; 0: none."""
    workers: PositiveInt = 2
    """Number of Ray Train workers (ranks)."""
    sharding: Literal["ddp", "fsdp"] = "ddp"
    """Parallelism. ddp: each worker holds everything; fsdp: each holds a share of weights, gradients, moments and
    moving average, at the cost of more traffic. Results are equal up to rounding, and a run may continue with the
    other."""
    min_workers: NonNegativeInt = 0
    """Minimum number of workers for elastic training: with at least so many, training continues after nodes are lost
    and grows again within about a minute of their return. Each loss counts towards ``max_failures``. 0: wait for all
    workers."""
    use_gpu: bool = False
    """Reserve one GPU per worker."""
    cpus_per_worker: PositiveFloat = 1
    """Logical CPUs per worker; on GPUs several, for the preparation of batches."""
    resources_per_worker: dict[str, Quantity] = Field(default_factory=dict)
    """Custom resources per worker in addition to its CPUs and GPU, such as {train: 1}, as for an actor pool."""
    log_every: PositiveInt = 25
    """Number of steps between two points of the learning curve."""
    health_every: PositiveInt = 25
    """Number of steps between two measurements of the prototypes' health. They are made with the first point of the
    learning curve after each multiple, and with the last one. Each costs about half a step, and eigenvalues of wide
    prototypes."""
    profile_steps: NonNegativeInt = 0
    """Number of steps to record with torch's profiler after the first five; the trace is written to
    ``files/profile`` of the run's checkpoints. 0: none."""
    tracker: Literal["tensorboard", "wandb", "none"] = "tensorboard"
    """Experiment tracker that receives the learning curve in addition to the report; wandb needs the extra
    ``tracking``."""
    checkpoint_every: PositiveInt = 250
    """Number of steps between checkpoints, which are written while training continues."""
    keep_checkpoints: PositiveInt = 2
    """Number of latest checkpoints to keep; each also holds the EMA weights with the best validation so far."""
    validate_every: NonNegativeInt = 0
    """Number of steps between validations; the EMA weights closest to the validation split are kept. 0: no validation,
    the last EMA weights are kept."""
    validation_images: Annotated[int, Field(ge=2)] = 128
    """Number of images to generate and compare per validation, at least 2."""
    # Left out of fingerprints at their defaults, so that finished runs of earlier versions are kept.
    validation_features: Annotated[
        Literal["random_convolutions", "inception_v3", "vgg16", "squeezenet", "densenet121", "dinov2", "biomedclip"],
        Field(exclude_if=lambda name: name == EMBEDDED_FEATURES),
    ] = EMBEDDED_FEATURES
    """Feature extractor of the validations; see ``evaluate.features``."""
    validation_weights: Annotated[PathText | None, Field(exclude_if=lambda path: path is None)] = None
    """Weights of that extractor; see ``evaluate.weights``."""
    max_skipped_steps: NonNegativeInt = 10
    """Maximum number of consecutive steps that are skipped because of a non-finite gradient; training stops above
    it."""
    strict_checkpoints: bool = False
    """Fail on a damaged checkpoint instead of continuing from the previous one."""
    max_failures: NonNegativeInt = 3
    """Maximum number of restarts of the worker group from the last checkpoint."""
    grace_seconds: Annotated[float, Field(ge=0)] = 20
    """Time that an interrupted run waits for a last checkpoint, in seconds; keep it below the cluster's termination
    grace."""

    @property
    def bundle(self) -> dict[str, float]:
        """Resources that a worker reserves, by Ray's names."""
        return {"CPU": self.cpus_per_worker, **({"GPU": 1} if self.use_gpu else {}), **self.resources_per_worker}
