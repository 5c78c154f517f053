"""Health measures of a PCM's prototypes."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vapray.models.prototypes import PrototypeCondition

__all__ = ["attention_health", "prototype_health"]


@torch.no_grad()
def prototype_health(prototypes: Tensor) -> dict[str, float]:
    """Measure the spread of prototypes per class, averaged over classes.

    Args:
        prototypes: [classes + 1, P, D].

    Returns:
        ``effective_rank``, exp of the entropy of the normalized singular values (Roy & Vetterli 2007), from 1
        to min(P, D);
        ``mean_pairwise_cosine`` over the pairs of different prototypes of a class, 0 for P = 1.
    """
    vectors = prototypes.detach().double()
    # Squares of the singular values are the eigenvalues of the smaller Gram matrix, which are faster.
    gram = vectors @ vectors.mT if vectors.shape[1] <= vectors.shape[2] else vectors.mT @ vectors
    share = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    share = share / share.sum(dim=-1, keepdim=True).clamp_min(1e-300)
    rank = torch.special.entr(share).sum(dim=-1).exp().mean()
    unit = F.normalize(vectors, dim=-1)
    count = unit.shape[1]
    pairs = unit.sum(dim=1).square().sum(dim=-1) - unit.square().sum(dim=(1, 2))
    cosine = pairs.mean() / max(count * (count - 1), 1)
    return {"effective_rank": float(rank), "mean_pairwise_cosine": float(cosine)}


@torch.no_grad()
def attention_health(
    condition: PrototypeCondition, tokens_BLD: Tensor, row_B: Tensor, real_BL: Tensor | None
) -> dict[str, float]:
    """Measure the spread of a batch's attention over prototypes in the reconstruction.

    Args:
        condition: the PCM.
        tokens_BLD: encoder features F_e, the input of the PCM.
        row_B: int64, class of each row.
        real_BL: bool, False for padding; None: no padding.

    Returns:
        ``attention_entropy``, mean entropy of a token's attention in one head, divided by that of a uniform
        distribution: near 0 a token attends to a single prototype, at 1 to all equally;
        ``prototype_usage``, the perplexity of a class's attention, averaged over its tokens and heads, divided by P:
        the codebook perplexity of vector quantization as a share. The mean over the classes of the batch.
    """
    tokens, rebuilding = tokens_BLD.float(), condition.reconstruction
    with torch.autocast(tokens.device.type, enabled=False):
        asked = rebuilding.queries_and_keys(tokens, condition.prototypes[row_B])
    query, keys = (x.unflatten(-1, (rebuilding.num_heads, -1)).transpose(1, 2) for x in asked)
    weight_BHLP = (query @ keys.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(dim=-1)
    real = tokens.new_ones(tokens.shape[:2]) if real_BL is None else real_BL.float()
    even, heads = math.log(max(2, keys.shape[2])), weight_BHLP.shape[1]
    entropy = (torch.special.entr(weight_BHLP).sum(dim=-1) * real[:, None]).sum() / (real.sum() * heads)
    summed = torch.einsum("bhlp,bl->bp", weight_BHLP, real)
    taken = summed.new_zeros(len(condition.prototypes), keys.shape[2]).index_add_(0, row_B, summed)
    taken = taken[taken.sum(dim=1) > 0]
    taken = taken / taken.sum(dim=1, keepdim=True)
    perplexity = torch.special.entr(taken).sum(dim=1).exp().mean()
    return {"attention_entropy": float(entropy) / even, "prototype_usage": float(perplexity) / keys.shape[2]}
