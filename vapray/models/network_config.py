"""Sizes and options of the denoising networks."""

from dataclasses import dataclass

from vapray.models.attention import MlpKind
from vapray.models.prototypes import PrototypeOptions
from vapray.models.text_tokens import NullText

__all__ = ["NetworkSizes", "UViTConfig"]


@dataclass(frozen=True)
class NetworkSizes:
    """Sizes that every network has."""

    latent_side: int
    """H and W of the latent."""
    latent_channels: int
    """Number of channels C."""
    width: int
    """Token width D; for a U-Net the number of channels of its first resolution."""
    depth: int
    """Number of transformer blocks; for a U-Net the number of residual blocks per resolution."""
    num_heads: int
    """Number of attention heads; divides ``width``."""
    num_classes: int
    """Number of classes without the null class."""


@dataclass(frozen=True)
class UViTConfig(NetworkSizes):
    """Architecture of a U-ViT: ``depth`` is even, counts in-blocks and out-blocks, and excludes the middle block.

    Raises:
        ValueError: sizes that do not fit together.
    """

    patch_size: int
    """Side of a patch in latent pixels; divides ``latent_side``."""
    context_width: int | None
    """Width of the text encoder's tokens; None for a network conditioned on the class alone."""
    max_context: int = 256
    """Number of text positions in the table; a patch's position never depends on the text's length."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLPs divided by ``width``."""
    label_token: bool = True
    """Add a class token; False: only the prototypes carry the class, as in one release."""
    label_tokens: int = 1
    """Number of class tokens, if there are any."""
    qk_norm: bool = False
    """Normalize queries and keys of each head."""
    rope: bool = False
    """Rotate queries and keys of patches by row and column, in the blocks only."""
    time_mlp: bool = False
    """Pass the sinusoid of the diffusion step through an MLP."""
    mlp: MlpKind = "gelu"
    """MLP of the blocks."""
    null_text: NullText = "learned"
    """Text of a row without condition, see ``TextTokens``."""
    prototypes: PrototypeOptions | None = None
    """Options of the PCM; None for a network without it."""
    matched_block: bool = False
    """Replace the PCM by a block with as many parameters, without prototypes."""

    def __post_init__(self) -> None:
        """Validate the sizes."""
        sizes = {name: getattr(self, name) for name in ("latent_side", "patch_size", "width", "num_heads", "depth")}
        side, patch, width, heads, depth = sizes.values()
        if side % patch or width % heads or width % 2 or depth % 2 or depth < 2:
            raise ValueError(
                "U-ViT: expected latent_side divisible by patch_size, width even and divisible by num_heads, "
                f"depth even and at least 2; got {sizes}"
            )

    @property
    def patches(self) -> int:
        """Number of patches of a latent."""
        return (self.latent_side // self.patch_size) ** 2
