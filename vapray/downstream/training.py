"""Training of one downstream classifier."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vapray.config import Downstream
from vapray.config.downstream import Classifier
from vapray.downstream.image_sets import LabelledImages
from vapray.downstream.networks import MEAN, STD, build_network
from vapray.errors import TrainingDivergedError
from vapray.latents.training_loop import fit

__all__ = ["Phase", "phases_of", "probabilities", "train_network"]

IMAGES_OF_A_TEST_BATCH = 128
MIRRORED_AXES = {"none": (), "horizontal": (3,), "both": (2, 3)}


@dataclass(frozen=True)
class Phase:
    """Training phase over one set of images, with a one-cycle learning rate.

    Attributes:
        rows: Positions of the images.
        steps: Number of optimizer steps.
    """

    rows: NDArray[np.int64]
    steps: int


def phases_of(
    arm: str, real: NDArray[np.int64], synthetic: NDArray[np.int64], settings: Downstream
) -> tuple[Phase, ...]:
    """Training phases of an arm; their steps add up to ``settings.steps`` in every arm.

    Args:
        arm: Training data, as in ``downstream.arms``.
        real: Positions of the real images of the share.
        synthetic: Positions of the generated images.
        settings: Config section ``downstream``.
    """
    if arm == "real":
        return (Phase(real, settings.steps),)
    if arm == "real+synthetic":
        return (Phase(np.concatenate([real, synthetic]), settings.steps),)
    first = min(max(1, round(settings.synthetic_steps * settings.steps)), settings.steps - 1)
    return Phase(synthetic, first), Phase(real, settings.steps - first)


def train_network(
    name: Classifier,
    pictures: LabelledImages,
    phases: Sequence[Phase],
    settings: Downstream,
    *,
    num_classes: int,
    seed: int,
    device: str = "cpu",
) -> nn.Module:
    """Train one classifier; deterministic by seed on a CPU, and torch's global random state is restored.

    Args:
        name: Name of the network.
        pictures: Images; phases select rows of them.
        phases: Phases, run one after another, each with a new optimizer.
        settings: Config section ``downstream``.
        num_classes: Number of classes K.
        seed: Seed of initial weights, draws and flips.
        device: Torch device name.

    Returns:
        The network on ``device``, in evaluation mode.

    Raises:
        CheckpointError: the initial weights cannot be used.
    """
    planes = torch.from_numpy(pictures.images).permute(0, 3, 1, 2)
    labels = torch.from_numpy(pictures.labels)
    with torch.random.fork_rng(devices=[torch.device(device)] if device == "cuda" else []):
        torch.manual_seed(seed)
        side = planes.shape[-1]
        network = build_network(name, num_classes, side, settings.weights.get(name)).to(device).train()
        for phase in phases:
            _run_phase(network, planes, labels, phase, settings, device)
    return network.eval()


def probabilities(network: nn.Module, images: NDArray[np.uint8], device: str = "cpu") -> NDArray[np.float64]:
    """Predict class probabilities.

    Args:
        network: Network in evaluation mode.
        images: Images, uint8 [N, S, S, 3].
        device: Torch device name of the network.

    Returns:
        float64 [N, K]; rows sum to 1.

    Raises:
        TrainingDivergedError: outputs of the network are not finite.
    """
    planes = torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = [network(_scaled(part, device)).cpu() for part in planes.split(IMAGES_OF_A_TEST_BATCH)]
    found = torch.cat(logits).double().softmax(dim=1).numpy()
    if not np.isfinite(found).all():
        raise TrainingDivergedError("answers with values that are not finite")
    return found


def _run_phase(
    network: nn.Module, planes: Tensor, labels: Tensor, phase: Phase, settings: Downstream, device: str
) -> None:
    rows = torch.from_numpy(phase.rows)
    weights = _balanced(labels[rows])
    rate = settings.learning_rate
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=phase.steps)

    def loss() -> Tensor:
        drawn = rows[torch.multinomial(weights, settings.batch_size, replacement=True)]
        logits = network(_scaled(_mirrored(planes[drawn], settings.flips), device))
        return functional.cross_entropy(logits, labels[drawn].to(device))

    fit(optimizer, schedule, (loss() for _ in range(phase.steps)))


def _balanced(labels: Tensor) -> Tensor:
    """Sampling weights [N] under which every class present is equally likely."""
    return 1.0 / torch.bincount(labels)[labels].double()


def _mirrored(planes: Tensor, flips: str) -> Tensor:
    for axis in MIRRORED_AXES[flips]:
        chosen = torch.rand(len(planes)) < 0.5
        planes = torch.where(chosen[:, None, None, None], planes.flip(axis), planes)
    return planes


def _scaled(planes: Tensor, device: str) -> Tensor:
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, STD))
    return (planes.to(device).float() / 255 - mean) / std
