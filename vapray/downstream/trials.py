"""Grid of classifiers: each point is one training."""

from dataclasses import dataclass
from itertools import product

from vapray.config import Downstream
from vapray.config.downstream import Arm, Classifier

__all__ = ["Trial", "all_trials", "keeps_weights"]


@dataclass(frozen=True)
class Trial:
    """Settings of one classifier.

    Attributes:
        network: Name, as in ``downstream.networks``.
        share: Share of the real groups of each class, above 0 and at most 1.
        arm: Training data, as in ``downstream.arms``.
        seed: Seed of initial weights, draws and flips; the same seed starts every arm from the same weights.
    """

    network: Classifier
    share: float
    arm: Arm
    seed: int

    @property
    def key(self) -> str:
        """Key in the tables ``downstream_plan`` and ``downstream``."""
        return f"{self.network}/{self.share:g}/{self.arm}/{self.seed}"


def all_trials(settings: Downstream) -> list[Trial]:
    """All combinations of networks, shares, arms and seeds."""
    return [Trial(*values) for values in product(settings.networks, settings.shares, settings.arms, settings.seeds)]


def keeps_weights(point: Trial, settings: Downstream) -> bool:
    """True if the weights are saved: trained on all real images and no others, with the first seed."""
    return (point.share, point.arm, point.seed) == (1.0, "real", settings.seeds[0])
