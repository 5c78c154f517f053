"""Conversion of the authors' released weights to the names and shapes of our U-ViT.

Both released networks are supported: with a label token and no prototypes, and with prototypes and no label token.
Weights that their forward pass never reads (two norms of the injection) are left out.
"""

import re
from collections.abc import Iterator, Mapping
from math import isqrt

from torch import Tensor, cat

from vapray.models.network_config import UViTConfig
from vapray.models.prototypes import PrototypeOptions
from vapray.models.uvit import UViT, build_uvit

__all__ = ["RELEASED_OPTIONS", "is_released", "released_uvit", "renamed"]

RELEASED_OPTIONS = PrototypeOptions(
    after="middle", injection="released", zero_init=False, init_std=1.0, target="released"
)

_NAMES = (
    (r"patch_embed\.proj", "patch_in"),
    (r"context_embed", "text.project"),
    (r"label_emb", "label_embedding"),
    (r"final_layer", "smooth"),
    (r"decoder_pred", "patch_out"),
    (r"Q_former\.attn\.ql", "prototypes.injection.cross_attention.query"),
    (r"Q_former\.attn\.proj", "prototypes.injection.cross_attention.out"),
    (r"Q_former\.z1", "prototypes.injection.inject_attention"),
    (r"Q_former\.z2", "prototypes.injection.inject_mlp"),
    (r"Q_former\.norm2", "prototypes.injection.mlp_norm"),
    (r"Q_former\.mlp\.fc1", "prototypes.injection.mlp.0"),
    (r"Q_former\.mlp\.fc2", "prototypes.injection.mlp.2"),
    (r"q", "prototypes.reconstruction.query"),
    (r"k", "prototypes.reconstruction.key"),
    (r"v", "prototypes.reconstruction.value"),
    (r"norm", "norm"),
    (r"(\w+_blocks\.\d+|mid_block)\.attn\.qkv", r"\1.attention.query_key_value"),
    (r"(\w+_blocks\.\d+|mid_block)\.attn\.proj", r"\1.attention.out"),
    (r"(\w+_blocks\.\d+|mid_block)\.norm1", r"\1.attention_norm"),
    (r"(\w+_blocks\.\d+|mid_block)\.norm2", r"\1.mlp_norm"),
    (r"(\w+_blocks\.\d+|mid_block)\.mlp\.fc1", r"\1.mlp.0"),
    (r"(\w+_blocks\.\d+|mid_block)\.mlp\.fc2", r"\1.mlp.2"),
    (r"(out_blocks\.\d+)\.skip_linear", r"\1.merge"),
)
_UNREAD = ("Q_former.norm1.", "Q_former.normp.")
_BY_HAND = ("pos_embed", "prototype.weight", "Q_former.attn.kl.weight", "Q_former.attn.vl.weight")


def is_released(weights: Mapping[str, Tensor]) -> bool:
    """Return True if the weights are the released code's, not ours."""
    return "pos_embed" in weights and "patch_embed.proj.weight" in weights


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the released code's weights to our names.

    Raises:
        ValueError: a name that neither of its networks has.
    """
    return dict(_renamed(weights))


def _renamed(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    kernel = weights["patch_embed.proj.weight"]
    channels, patch_size = kernel.shape[1:3]
    yield "position", weights["pos_embed"][0]
    if "prototype.weight" in weights:
        table = weights["prototype.weight"]
        yield "prototypes.prototypes", table.reshape(len(table), -1, len(kernel))
        halves = [weights[f"Q_former.attn.{name}.weight"] for name in ("kl", "vl")]
        yield "prototypes.injection.cross_attention.key_value.weight", cat(halves)
    for name, weight in weights.items():
        if name in _BY_HAND or name.startswith(_UNREAD):
            continue
        module, _, kind = name.rpartition(".")
        found = next((re.sub(old, new, module) for old, new in _NAMES if re.fullmatch(old, module)), None)
        if found is None:
            raise ValueError(f"{name}: not a weight of the released networks")
        if found == "patch_in" and kind == "weight":
            weight = weight.flatten(1)
        if found == "patch_out":  # its patches have channels last
            parts = weight.unflatten(0, (patch_size, patch_size, channels))
            weight = parts.movedim(2, 0).flatten(0, 2)
        yield f"{found}.{kind}", weight


def released_uvit(weights: Mapping[str, Tensor], *, num_heads: int = 8, max_context: int = 256) -> UViT:
    """Build the released network in inference mode; its outputs equal those of the released code.

    The null condition is the text encoder's empty text; the caller must fill ``text.empty_context``.

    Args:
        weights: state dict, such as ``nnet_ema.pth``.
        num_heads: number of attention heads, which the weights do not determine.
        max_context: maximum number of text tokens.

    Returns:
        The network, without gradients.

    Raises:
        ValueError: weights of another network, or of another ``max_context``.
    """
    ours, kernel = renamed(weights), weights["patch_embed.proj.weight"]
    label_token, pcm = "label_embedding.weight" in ours, "prototypes.prototypes" in ours
    patches = len(ours["position"]) - 1 - label_token - max_context
    if patches < 1 or isqrt(patches) ** 2 != patches:
        raise ValueError(f"released weights: {len(ours['position'])} positions do not fit {max_context} text tokens")
    table = ours["prototypes.prototypes" if pcm else "label_embedding.weight"]
    config = UViTConfig(
        latent_side=isqrt(patches) * kernel.shape[-1],
        latent_channels=kernel.shape[1],
        patch_size=kernel.shape[-1],
        width=len(kernel),
        depth=2 * len({name.split(".")[1] for name in ours if name.startswith("in_blocks.")}),
        num_heads=num_heads,
        num_classes=len(table) - 1,
        context_width=ours["text.project.weight"].shape[1],
        max_context=max_context,
        label_token=label_token,
        null_text="empty",
        prototypes=RELEASED_OPTIONS if pcm else None,
    )
    model = build_uvit(config, seed=0)
    model.load_state_dict({"text.empty_context": model.state_dict()["text.empty_context"], **ours})
    return model.eval().requires_grad_(False)
