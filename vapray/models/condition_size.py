"""Size of the module after a U-ViT's encoder (a PCM, a replacement block, or none), computed without torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vapray.config import Config

__all__ = ["ConditionSize", "condition_size", "hidden_width", "parameters_of_qk_norm", "swiglu_width"]

MLP_RATIO = 4
KEPT_OF_PROTOTYPES, KEPT_OF_MATCHED_BLOCK = 14, 8
"""Activations that a backward pass needs, in token widths; for the block without its MLP."""


@dataclass(frozen=True)
class ConditionSize:
    """Size of the module, for one image.

    Attributes:
        parameters: number of parameters.
        flops: floating-point operations of a forward pass without L_recon.
        kept_values: number of activations that a backward pass needs.
    """

    parameters: int = 0
    flops: int = 0
    kept_values: int = 0


def condition_size(config: "Config", *, num_classes: int, patches: int, tokens: int) -> ConditionSize:
    """Compute the size of the module of ``model.prototypes``, for a sequence of ``tokens``."""
    section, width = config.model.prototypes, config.model.width
    if not section.has_block:
        return ConditionSize()
    prototypes = section.per_class or 2 * patches
    parameters = (num_classes + 1) * prototypes * width + _parameters_of_pcm(config)
    if section.enabled:
        kept = KEPT_OF_PROTOTYPES * tokens * width + 4 * prototypes * width
        return ConditionSize(parameters, _flops_of_pcm(config, tokens, prototypes), kept)
    hidden = hidden_width(width, parameters)
    return ConditionSize(
        parameters=5 * width**2 + 7 * width + hidden * (2 * width + 1),
        flops=2 * tokens * (5 * width**2 + 2 * width * hidden) + 4 * tokens**2 * width,
        kept_values=tokens * (KEPT_OF_MATCHED_BLOCK * width + 2 * hidden),
    )


def hidden_width(width: int, parameters: int) -> int:
    """Compute the MLP width of a ``MatchedBlock`` of ``width`` with about ``parameters``: within ``width`` of them."""
    return max(1, round((parameters - 5 * width**2 - 7 * width) / (2 * width + 1)))


def swiglu_width(width: int, ratio: float) -> int:
    """Compute the hidden width of a SwiGLU with about the parameters of an MLP of ``ratio``: a multiple of 8."""
    return max(8, 8 * round(width * ratio / 12))


def parameters_of_qk_norm(config: "Config") -> int:
    """Count the gains of one attention's queries and keys."""
    return 2 * (config.model.width // config.model.num_heads) * config.model.qk_norm


def _parameters_of_pcm(config: "Config") -> int:
    """Count the parameters without the prototypes themselves."""
    pcm, width = config.model.prototypes, config.model.width
    square, attention, norm = width**2, 4 * width**2 + width, 2 * width
    normed = attention + parameters_of_qk_norm(config)
    injection = {
        "cross_attention": normed + norm + square + width,
        "self_attention": 2 * (normed + norm) + square + width,
        "released": attention + norm + 2 * square + 2 * MLP_RATIO * square + (MLP_RATIO + 1) * width,
    }[pcm.injection]
    return injection + (3 * (square + width) if pcm.target == "released" else square)


def _flops_of_pcm(config: "Config", tokens: int, prototypes: int) -> int:
    width, square = config.model.width, config.model.width**2
    looked_up = 4 * prototypes * square + 4 * tokens * prototypes * width + 4 * tokens * square
    injected = {
        "cross_attention": 2 * tokens * square,
        "self_attention": 2 * tokens * 5 * square + 4 * tokens**2 * width,
        "released": 2 * tokens * (2 + 2 * MLP_RATIO) * square,
    }[config.model.prototypes.injection]
    return looked_up + injected
