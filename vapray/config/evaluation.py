"""What is measured on generated images."""

from typing import Literal

from vapray.config.section import Count, Section

__all__ = ["Evaluate"]


class Evaluate(Section):
    """The measurements."""

    features: Literal["random_convolutions"] = "random_convolutions"
    """Extractor of FID, KID, precision and recall."""
    classifier_steps: Count = 200
    """Of the small classifier that judges labels, trained on real images."""
    neighbours: Count = 3
    """k of precision and recall."""
    halves: Count = 20
    """Random halves behind the intervals of FID and KID."""
    control_rounds: Count = 20
    """Captions of its class that each image is compared with for the shuffled control."""
    resamples: Count = 1000
    """Bootstrap draws behind the intervals of caption adherence."""
