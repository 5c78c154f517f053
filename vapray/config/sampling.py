"""Images from the trained model."""

from typing import Annotated, Literal

from pydantic import Field

from vapray.config.section import Count, Section

__all__ = ["Sample"]


class Sample(Section):
    """Images from the trained model."""

    n_images: Annotated[int, Field(ge=2)] = 600
    """Generated images."""
    labels: Literal["training_prior", "uniform"] = "training_prior"
    """How often each class is asked for."""
    solver: Literal["dpm_solver_2m", "ddim"] = "dpm_solver_2m"
    """ODE solver."""
    num_inference_steps: Count = 20
    """Network evaluations, each with and without the condition where guidance is on."""
    guidance_scale: Annotated[float, Field(ge=0)] = 2.5
    """Read by ``guidance_convention``."""
    guidance_convention: Literal["excess", "classifier_free"] = "excess"
    """excess (the paper): c + s (c - u), 0 is none; classifier_free: u + s (c - u), 1 is none."""
    weights: Literal["ema", "raw"] = "ema"
    """Which weights make the images."""
