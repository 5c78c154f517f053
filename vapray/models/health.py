"""Whether a PCM's prototypes do their work."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vapray.models.prototypes import PrototypeCondition

__all__ = ["attention_health", "prototype_health"]


@torch.no_grad()
def prototype_health(prototypes: Tensor) -> dict[str, float]:
    """Say whether prototypes spread or cluster; each class by itself, then the mean over classes.

    Args:
        prototypes: [classes + 1, P, D].

    Returns:
        ``effective_rank``, exp of the entropy of the normalised singular values (Roy & Vetterli 2007), from 1
        to min(P, D);
        ``mean_pairwise_cosine`` over the pairs of different prototypes of a class, 0 for P = 1.
    """
    vectors = prototypes.detach().to("cpu", torch.float64)  # most GPUs are slow at float64
    share = torch.linalg.svdvals(vectors)
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
    """Say how the tokens of a batch spread their attention over prototypes, where these rebuild them.

    Args:
        condition: the PCM.
        tokens_BLD: F_e, what the PCM was given.
        row_B: each row's class.
        real_BL: False for padding; None when there is none.

    Returns:
        ``attention_entropy``, of one token in one head, over that of an even spread: near 0 a token takes a single
        prototype, at 1 it takes all alike;
        ``prototype_usage``, the perplexity of a class's attention, averaged over its tokens and heads, over P:
        the codebook perplexity of vector quantisation as a share. The mean over the classes of the batch.
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
