"""The optimisation of the U-ViT."""

from typing import Annotated, Literal

from pydantic import Field

from vapray.config.section import Count, Momentum, Natural, Positive, Quantity, Section, Share

__all__ = ["Train"]


class Train(Section):
    """The optimisation."""

    steps: Count = 1250
    """Optimiser steps."""
    batch_size: Count = 64
    """Images in a step, over all workers."""
    init_from: str | None = None
    """Weights to start from, on every node: a checkpoint's .safetensors, or the released code's .pth. None: random."""
    learning_rate: Positive = 4e-3
    """Peak."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.03
    """AdamW; prototypes, positions, biases and norms are exempt."""
    decay_prototypes: bool = False
    """Whether prototypes are decayed after all, as released."""
    betas: Annotated[tuple[Momentum, Momentum], Field(strict=False)] = (0.9, 0.9)
    """AdamW."""
    warmup_steps: Natural = 75
    """Linear."""
    decay: Literal["constant", "linear"] = "linear"
    """Of the learning rate after the warm-up; linear ends at zero."""
    max_gradient_norm: Positive = 1.0
    """Gradients are clipped to it."""
    ema_decay: Share = 0.9999
    """At step k the decay is at most (1+k)/(10+k)."""
    drop_probability: Share = 0.1
    """Label and text are dropped together."""
    shuffled_captions: Share = 0.0
    """A control: this share of the training images is given the caption of another image of its class. What a network
    still gains over the class alone is then not what captions say of a picture."""
    flip: bool = True
    """Horizontal flips."""
    balance_classes: bool = False
    """Draw classes uniformly, as the released trainer does."""
    class_balancing: Annotated[float, Field(ge=0)] = 0.0
    """tau of the class-balancing loss (CBDM), a baseline for rare classes; its authors take 0.001. 0: none."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of matrix products and attention; weights, norms, loss and optimiser stay float32."""
    accumulate_steps: Count = 1
    """Micro-batches in a step, by length of caption, whose gradients add up: less memory, less padding, same result."""
    recompute: bool = False
    """Work out the blocks' activations again in the backward pass: a third more time, a fraction of the memory."""
    compile: bool = False
    """Of uvit: compile its blocks with torch.compile, which takes a minute or two at the start and a C++ compiler."""
    prefetch: Natural = 2
    """Batches that are prepared while a step runs; 0: none."""
    workers: Count = 2
    """Ray Train workers (ranks)."""
    sharding: Literal["ddp", "fsdp"] = "ddp"
    """fsdp: of several workers each holds a share of weights, gradients, moments and average instead of all, for more
    traffic between them; results are the same up to rounding, and a run may go on with the other."""
    min_workers: Natural = 0
    """Elastic: with fewer workers, but at least so many, training goes on when nodes are lost, and grows again within
    about a minute when they are back. Each loss counts for ``max_failures``. 0: it waits for all of them."""
    use_gpu: bool = False
    """One GPU a worker."""
    resources_per_worker: dict[str, Quantity] = Field(default_factory=dict)
    """Custom resources a worker reserves beside its CPU and GPU, such as {train: 1}, as those of an actor pool."""
    report_every: Count = 25
    """Steps between two points of the learning curve."""
    tracker: Literal["tensorboard", "wandb", "none"] = "tensorboard"
    """Where the learning curve goes besides the report; wandb is in the extra ``tracking``."""
    checkpoint_every: Count = 250
    """Steps; written while the next steps run."""
    keep_checkpoints: Count = 2
    """The newest ones; each also holds the averaged weights that did best in validation so far."""
    validate_every: Natural = 0
    """Steps between validations; the averaged weights nearest to the validation split are kept. 0: the last ones."""
    validation_images: Annotated[int, Field(ge=2)] = 128
    """Images made and compared in a validation."""
    max_skipped_steps: Natural = 10
    """Steps in a row whose gradient is not finite are skipped up to this many; then training stops."""
    strict_checkpoints: bool = False
    """Fail on a damaged checkpoint instead of going on from the one before."""
    max_failures: Natural = 3
    """Restarts of the worker group from the last checkpoint."""
    grace_seconds: Annotated[float, Field(ge=0)] = 20
    """How long an interrupted run waits for a last checkpoint; below what the cluster grants before it kills."""

    @property
    def bundle(self) -> dict[str, float]:
        """What a worker reserves, by Ray's names."""
        return {"CPU": 1, **({"GPU": 1} if self.use_gpu else {}), **self.resources_per_worker}
