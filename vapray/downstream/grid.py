"""The grid of classifiers: one point is one training."""

from dataclasses import dataclass
from itertools import product

from vapray.config import Downstream
from vapray.config.downstream import Arm, Classifier

__all__ = ["Point", "is_kept", "points_of"]


@dataclass(frozen=True)
class Point:
    """What tells one classifier from the others.

    Attributes:
        network: as in ``downstream.networks``.
        share: of the real groups of each class.
        arm: as in ``downstream.arms``.
        seed: of initial weights, draws and flips; the same seed starts every arm from the same weights.
    """

    network: Classifier
    share: float
    arm: Arm
    seed: int

    @property
    def key(self) -> str:
        """As the tables ``grid`` and ``downstream`` name it."""
        return f"{self.network}/{self.share:g}/{self.arm}/{self.seed}"


def points_of(settings: Downstream) -> list[Point]:
    """Every network with every share, arm and seed."""
    return [Point(*values) for values in product(settings.networks, settings.shares, settings.arms, settings.seeds)]


def is_kept(point: Point, settings: Downstream) -> bool:
    """Whether its weights become a file: all real images and no others, from the first seed."""
    return (point.share, point.arm, point.seed) == (1.0, "real", settings.seeds[0])
