"""Images from the trained model."""

from typing import Annotated, Literal

from pydantic import Field

from vapray.config.section import Count, Natural, Section

__all__ = ["Sample"]


class Sample(Section):
    """Images from the trained model."""

    n_images: Annotated[int, Field(ge=2)] = 600
    """Generated images."""
    labels: Literal["training_prior", "uniform"] = "training_prior"
    """How often each class is asked for."""
    texts: Literal["training", "held_out"] = "training"
    """Whose captions condition them. held_out: those of pictures that were not trained on, to see what texts do that
    the network has never read; how often each class is asked for stays as ``labels`` says."""
    bank: str | None = None
    """``run.root`` of another run, whose captions condition them in place of this run's, class by class."""
    bank_classes: dict[str, str] = Field(default_factory=dict)
    """Class of this run -> class of ``bank`` with its captions, such as {AKIEC: AK}, where they do not share a name."""
    captions_per_class: Count | None = None
    """Captions of each class that are drawn from; None: all. Fewer ones are among every larger number."""
    solver: Literal["dpm_solver_2m", "ddim"] = "dpm_solver_2m"
    """ODE solver."""
    num_inference_steps: Count = 20
    """Network evaluations, each with and without the condition where guidance is on."""
    guidance_scale: Annotated[float, Field(ge=0)] = 2.5
    """Read by ``guidance_convention``."""
    guidance_convention: Literal["excess", "classifier_free"] = "excess"
    """excess (the paper): c + s (c - u), 0 is none; classifier_free: u + s (c - u), 1 is none."""
    guidance_interval: Annotated[tuple[Natural, Natural] | None, Field(strict=False)] = None
    """First and last diffusion step with guidance; outside of it the unconditional half is spared. None: all."""
    batch_sizes: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)] = (16,)
    """Rows of one network call, which is padded to the smallest that fits; an image with guidance takes two. With one
    size an image is the same bytes whatever is made beside it; with several, small loads are quicker."""
    null_rows: Literal["together", "apart"] = "together"
    """Whether unconditional rows, which have no caption, share calls with captions. apart: their calls are shorter, but
    an image takes two calls for each step; pays on CPUs, and where many images are under way."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of matrix products and attention."""
    weights: Literal["ema", "raw"] = "ema"
    """Which weights make the images."""
