"""L_recon: how well prototypes rebuild the encoder's features, and whom that teaches."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from vapray.models.attention import attend

__all__ = ["Reconstruction", "ReconstructionTarget", "ReleasedReconstruction", "mix_prototypes"]

ReconstructionTarget = Literal["stop_gradient", "released"]


def mix_prototypes(tokens_BLD: Tensor, prototypes_BPD: Tensor, num_heads: int) -> Tensor:
    """Rebuild every token as a mixture of its class's prototypes.

    Args:
        tokens_BLD: queries, at any scale.
        prototypes_BPD: for each row, the P prototypes of its own class; keys and values alike.
        num_heads: attention heads; divides D.

    Returns:
        [B, L, D]. Each head's slice lies in the convex hull of the prototypes' slices.

    Raises:
        ValueError: D differs between the two, or is not divisible by ``num_heads``.
    """
    wanted, got = tokens_BLD.shape[-1], prototypes_BPD.shape[-1]
    if wanted != got or wanted % num_heads:
        raise ValueError(f"prototype width: wanted {wanted} in {num_heads} equal heads, got {got}")
    return attend(tokens_BLD, prototypes_BPD, prototypes_BPD, num_heads, None)


class Reconstruction(nn.Module):
    """Ours: ``LN(stop_gradient(F_e))``, a LayerNorm without parameters, is rebuilt as a mixture of prototypes.

    Keys and values are the prototypes themselves, so that the loss moves them and not a projection of them.

    Args:
        width: D.
        num_heads: of the attention.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width, bias=False)

    def forward(self, tokens_BLD: Tensor, prototypes_RPD: Tensor, row_B: Tensor) -> Tensor:
        """Squared error of each token [B, L], float32, mean over width."""
        query, prototypes = self.queries_and_keys(tokens_BLD, prototypes_RPD[row_B])
        return _squared_error(mix_prototypes(query, prototypes, self.num_heads), _normalised(tokens_BLD))

    def queries_and_keys(self, tokens_BLD: Tensor, prototypes_BPD: Tensor) -> tuple[Tensor, Tensor]:
        """Between which attention is worked out."""
        return self.query(_normalised(tokens_BLD)), prototypes_BPD


class ReleasedReconstruction(nn.Module):
    """The authors' code: ``1/2 ||attn(q(x), k(p), v(p)) - q(x)||^2`` with gradients on both sides.

    For comparison: the loss can fall to zero by shrinking q, while prototypes barely move.

    Args:
        width: D.
        num_heads: of the attention.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, tokens_BLD: Tensor, prototypes_RPD: Tensor, row_B: Tensor) -> Tensor:
        """Half the squared error of each token [B, L], float32, mean over width."""
        prototypes = prototypes_RPD[row_B]
        query, key = self.queries_and_keys(tokens_BLD, prototypes)
        rebuilt = attend(query, key, self.value(prototypes), self.num_heads, None)
        return 0.5 * _squared_error(rebuilt, query)

    def queries_and_keys(self, tokens_BLD: Tensor, prototypes_BPD: Tensor) -> tuple[Tensor, Tensor]:
        """Between which attention is worked out."""
        return self.query(tokens_BLD), self.key(prototypes_BPD)


def _normalised(tokens_BLD: Tensor) -> Tensor:
    """Features to rebuild; without the LayerNorm the loss would grow with the residual stream."""
    return F.layer_norm(tokens_BLD.detach(), tokens_BLD.shape[-1:])


def _squared_error(rebuilt_BLD: Tensor, target_BLD: Tensor) -> Tensor:
    return F.mse_loss(rebuilt_BLD.float(), target_BLD.float(), reduction="none").mean(dim=-1)
