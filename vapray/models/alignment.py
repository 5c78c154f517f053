"""Losses that shape the U-ViT's patch tokens: towards a frozen teacher's features, or apart from one another."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["AlignmentHead", "AlignmentTarget", "dispersive_loss", "without_alignment"]

TAU = 0.5
"""Temperature of the dispersive loss, its authors' value."""
PREFIX = "alignment."


@dataclass(frozen=True)
class AlignmentTarget:
    """Target of one batch.

    Attributes:
        weight: weight of the loss at this step; 0 after the first part of training.
        teacher_BFHW: the teacher's features of each row on the grid of patches, normalized; None for dispersive.
    """

    weight: float
    teacher_BFHW: Tensor | None


class AlignmentHead(nn.Module):
    """Loss on the patch tokens after one block; a part of the network in training only.

    With a teacher, a 3 x 3 convolution predicts its features of every patch, and the loss is one minus the cosine of
    both (iREPA, arXiv 2512.10794, after REPA, arXiv 2410.06940). Without one it is the dispersive loss (arXiv
    2506.09027), which has no parameters.

    Args:
        width: token width D.
        after: number of the block before the middle whose output is used, from 1.
        features: number F of the teacher's features; None: dispersive.
    """

    def __init__(self, width: int, after: int, features: int | None) -> None:
        super().__init__()
        self.after = after
        self.projector = nn.Conv2d(width, features, 3, padding=1) if features is not None else None

    def forward(self, patches_BLD: Tensor, target: AlignmentTarget) -> Tensor:
        """Compute the loss, a float32 scalar.

        Args:
            patches_BLD: patch tokens, row by row of the grid.
            target: target of the batch; with weight 0 the result is a zero that depends on all parameters of the head,
                because DDP requires a gradient of each.
        """
        if not target.weight:
            return patches_BLD.new_zeros(()).float() + sum(0.0 * weight.sum() for weight in self.parameters())
        if self.projector is None:
            return dispersive_loss(patches_BLD)
        assert target.teacher_BFHW is not None
        grid = target.teacher_BFHW.shape[2:]
        predicted = self.projector(patches_BLD.transpose(1, 2).unflatten(2, grid))
        return 1 - functional.cosine_similarity(predicted.float(), target.teacher_BFHW.float(), dim=1).mean()


def dispersive_loss(patches_BLD: Tensor) -> Tensor:
    """Compute log mean_ij exp(-|z_i - z_j|^2 / (tau n)) over the rows z of n values each, i = j included."""
    with torch.autocast(patches_BLD.device.type, enabled=False):
        rows = patches_BLD.flatten(1).float()
        products = rows @ rows.T
        squares = products.diagonal()
        distances = (squares[:, None] + squares[None] - 2 * products) / (TAU * rows.shape[1])
        return torch.logsumexp(-distances.flatten(), dim=0) - torch.tensor(float(distances.numel())).log()


def without_alignment(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the head's weights, which nothing reads after training."""
    return {name: weight for name, weight in weights.items() if not name.startswith(PREFIX)}
