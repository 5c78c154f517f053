"""Generated image with its sampling settings."""

import json
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vapray.config import Config, Sample
from vapray.data.origins import OriginSummary
from vapray.diffusion.guidance import Guidance
from vapray.diffusion.solver import SolverName
from vapray.models.precision import Precision
from vapray.sampling.provenance import encode_png

__all__ = ["GeneratedImage", "Prototypes", "SamplingSettings"]

Prototypes = Literal["on", "bypassed"]
"""Use of the prototype condition; ``bypassed`` leaves it out at inference, with weights trained with it."""


@dataclass(frozen=True)
class SamplingSettings:
    """Settings of image generation: config section ``sample`` without the counts."""

    solver: SolverName = "dpm_solver_2m"
    num_inference_steps: int = Sample.model_fields["num_inference_steps"].default
    guidance_scale: float = Sample.model_fields["guidance_scale"].default
    guidance_convention: Literal["excess", "classifier_free"] = "excess"
    guidance_interval: tuple[int, int] | None = None
    prototypes: Prototypes = "on"

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Read the settings from a config."""
        wanted = config.sample.model_dump(include=set(cls.__dataclass_fields__))
        return cls(**wanted)

    @property
    def guidance(self) -> Guidance:
        """Guidance settings for the engine."""
        return Guidance.from_scale(self.guidance_scale, self.guidance_convention, self.guidance_interval)


@dataclass(frozen=True)
class GeneratedImage:
    """One generated image, with everything needed to reproduce it."""

    pixels: NDArray[np.uint8]
    """Image, uint8 [H, W, 3]."""
    label: int
    class_name: str
    caption: str
    source_image_id: str
    """Id of the image whose caption was drawn; empty for a caption given by the caller."""
    seed: int
    model_sha256: str
    settings: SamplingSettings
    precision: Precision = "float32"
    """Precision of the network's matrix products."""
    origins: OriginSummary = field(default_factory=OriginSummary)
    """Origins of the training images."""

    @property
    def image(self) -> Image.Image:
        """Image as a Pillow object."""
        return Image.fromarray(self.pixels)

    def to_png(self) -> bytes:
        """Encode as PNG with the provenance in text chunks."""
        facts = {
            "Class": self.class_name,
            "Caption": self.caption,
            "Source-Image": self.source_image_id,
            "Seed": str(self.seed),
            "Model-SHA256": self.model_sha256,
            **self.origins.text_chunks,
            "Settings": json.dumps({**self.settings.__dict__, "precision": self.precision}, sort_keys=True),
        }
        return encode_png(self.pixels, facts)
