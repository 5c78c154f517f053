"""Settings of sampling."""

from typing import Annotated, Literal

from pydantic import Field

from vapray.config.section import ConfigSection, NonNegativeInt, PathText, PositiveInt

__all__ = ["Sample"]


class Sample(ConfigSection):
    """Settings of sampling: images from the trained model."""

    n_images: Annotated[int, Field(ge=2)] = 600
    """Number of images to generate, at least 2."""
    class_distribution: Literal["training_prior", "uniform"] = "training_prior"
    """Distribution of the generated classes: that of the training images, or uniform."""
    caption_split: Literal["training", "held_out"] = "training"
    """Source of the captions. training: training images; held_out: images outside the training split, to measure
    captions that the network has never read. The distribution of classes is still set by ``class_distribution``."""
    caption_run: PathText | None = None
    """``run.root`` of another run, whose captions replace this run's, class by class; None: this run's captions."""
    caption_class_map: dict[str, str] = Field(default_factory=dict)
    """Class of this run -> class of ``caption_run`` that provides its captions, such as {AKIEC: AK}, where the names
    differ."""
    captions_per_class: PositiveInt | None = None
    """Number of captions per class to draw from; None: all. A smaller selection is a subset of every larger one."""
    solver: Literal["dpm_solver_2m", "ddim", "heun"] = "dpm_solver_2m"
    """ODE solver; heun evaluates the network twice a step."""
    num_inference_steps: PositiveInt = 20
    """Number of solver steps; with guidance, each evaluates the network with and without the condition."""
    guidance_scale: Annotated[float, Field(ge=0)] = 2.5
    """Guidance scale s, at least 0; its meaning depends on ``guidance_convention``."""
    guidance_convention: Literal["excess", "classifier_free"] = "excess"
    """Guidance formula. excess (the paper): c + s (c - u), 0 is none; classifier_free: u + s (c - u), 1 is none."""
    guidance_interval: Annotated[tuple[NonNegativeInt, NonNegativeInt] | None, Field(strict=False)] = None
    """First and last diffusion step with guidance; outside it the unconditional evaluation is skipped. None: all
    steps."""
    batch_sizes: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1)] = (16,)
    """Numbers of rows of a network call, which is padded to the smallest that fits; an image with guidance takes two
    rows. With one size an image is the same bytes in any batch; with several sizes, small loads are faster."""
    split_unconditional: bool = False
    """Evaluate unconditional rows, which have no caption, in shorter calls of their own: two calls per image and step,
    which is faster on CPUs and with many concurrent images. false: in the same calls as rows with captions."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of matrix products and attention. bfloat16 is float32 on CPUs without units for it."""
    weights: Literal["ema", "raw"] = "ema"
    """Weights to sample from: their exponential moving average (ema), or the last ones (raw)."""

    @property
    def network_evaluations(self) -> int:
        """Number of network evaluations of an image, without the unconditional ones of guidance."""
        return 2 * self.num_inference_steps - 1 if self.solver == "heun" else self.num_inference_steps
