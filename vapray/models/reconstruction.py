"""Reconstruction loss L_recon of encoder features from prototypes, with ours or the released gradient."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from vapray.models.attention import attend
from vapray.models.layers import Linear

__all__ = ["Reconstruction", "ReconstructionTarget", "ReleasedReconstruction", "mix_prototypes"]

ReconstructionTarget = Literal["stop_gradient", "released"]


def mix_prototypes(tokens_BLD: Tensor, prototypes_BPD: Tensor, num_heads: int) -> Tensor:
    """Rebuild every token as a mixture of its class's prototypes.

    Args:
        tokens_BLD: queries, at any scale.
        prototypes_BPD: for each row, the P prototypes of its own class; both keys and values.
        num_heads: number of attention heads; divides D.

    Returns:
        [B, L, D]. Each head's slice is in the convex hull of the prototypes' slices.

    Raises:
        ValueError: D differs between the two, or is not divisible by ``num_heads``.
    """
    wanted, got = tokens_BLD.shape[-1], prototypes_BPD.shape[-1]
    if wanted != got or wanted % num_heads:
        raise ValueError(f"prototype width: expected {wanted} in {num_heads} equal heads, got {got}")
    return attend(tokens_BLD, prototypes_BPD, prototypes_BPD, num_heads, None)


class Reconstruction(nn.Module):
    """Our reconstruction of ``LN(stop_gradient(F_e))``, a LayerNorm without parameters, as a mixture of prototypes.

    Keys and values are the prototypes themselves, so that the loss updates them and not a projection of them.

    Args:
        width: token width D.
        num_heads: number of heads of the attention.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = Linear(width, width, bias=False)

    def forward(self, tokens_BLD: Tensor, prototypes_RPD: Tensor, row_B: Tensor) -> Tensor:
        """Compute the squared error of each token [B, L], float32, mean over width."""
        query, prototypes = self.queries_and_keys(tokens_BLD, prototypes_RPD[row_B])
        return _squared_error(mix_prototypes(query, prototypes, self.num_heads), _normalize(tokens_BLD))

    def queries_and_keys(self, tokens_BLD: Tensor, prototypes_BPD: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the queries and keys of the attention."""
        return self.query(_normalize(tokens_BLD)), prototypes_BPD


class ReleasedReconstruction(nn.Module):
    """Reconstruction of the authors' code: ``1/2 ||attn(q(x), k(p), v(p)) - q(x)||^2``, gradients on both sides.

    For comparison: the loss can fall to zero by shrinking q, while prototypes barely change.

    Args:
        width: token width D.
        num_heads: number of heads of the attention.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value = (Linear(width, width) for _ in range(3))

    def forward(self, tokens_BLD: Tensor, prototypes_RPD: Tensor, row_B: Tensor) -> Tensor:
        """Compute half the squared error of each token [B, L], float32, mean over width."""
        prototypes = prototypes_RPD[row_B]
        query, key = self.queries_and_keys(tokens_BLD, prototypes)
        rebuilt = attend(query, key, self.value(prototypes), self.num_heads, None)
        return 0.5 * _squared_error(rebuilt, query)

    def queries_and_keys(self, tokens_BLD: Tensor, prototypes_BPD: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the queries and keys of the attention."""
        return self.query(tokens_BLD), self.key(prototypes_BPD)


def _normalize(tokens_BLD: Tensor) -> Tensor:
    """Normalize the features to rebuild; without the LayerNorm the loss would grow with the residual stream."""
    return F.layer_norm(tokens_BLD.detach(), tokens_BLD.shape[-1:])


def _squared_error(rebuilt_BLD: Tensor, target_BLD: Tensor) -> Tensor:
    return F.mse_loss(rebuilt_BLD.float(), target_BLD.float(), reduction="none").mean(dim=-1)
