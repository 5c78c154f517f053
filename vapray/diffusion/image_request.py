"""Requests of the engine: one image with individual settings."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from vapray.diffusion.guidance import UNGUIDED, Guidance
from vapray.diffusion.solver import SolverName

__all__ = ["ConditioningSpec", "ImageRequest", "IntermediateLatent"]


@dataclass(frozen=True, eq=False)
class IntermediateLatent:
    """Preview of an image: the prediction at an intermediate solver step."""

    taken: int
    """Number of solver steps taken."""
    steps: int
    """Total number of solver steps."""
    clean_CHW: Tensor
    """x0 as predicted at the last step; read-only."""


@dataclass(frozen=True, eq=False)
class ImageRequest:
    """Request for one image."""

    seed: int
    """Seed of the initial noise, 0..2**64-1."""
    label: int
    """Class index."""
    context_LD: Tensor
    """Tokens of the caption without padding, float [L, D]; L may be 0."""
    num_inference_steps: int
    """Number of solver steps."""
    solver: SolverName = "dpm_solver_2m"
    """ODE solver."""
    guidance: Guidance = UNGUIDED
    """Guidance; none by default."""
    deadline: float | None = None
    """Deadline on the clock of ``time.monotonic``, in seconds; after it the image ends with TimeoutError before its
    next step."""
    owner: str = ""
    """Client; images of different clients take turns."""
    preview: Callable[[IntermediateLatent], None] | None = None
    """Callback after every step, in the engine's thread; its exception ends this image only."""

    def __str__(self) -> str:
        """Describe the request for errors."""
        return f"image of class {self.label} with seed {self.seed}"


@dataclass(frozen=True)
class ConditioningSpec:
    """Conditions that a network accepts."""

    num_classes: int
    """Number of classes without the null class."""
    context_width: int
    """Width D of a text token."""
    max_context: int
    """Maximum number of text tokens."""

    def validate(self, request: ImageRequest) -> None:
        """Check a request.

        Raises:
            ValueError: a class, seed or context that the network does not accept.
        """
        if not 0 <= request.label < self.num_classes:
            raise ValueError(f"{request}: expected a class in 0..{self.num_classes - 1}")
        if not 0 <= request.seed < 2**64:
            raise ValueError(f"{request}: expected a seed in 0..2**64-1")
        shape = tuple(request.context_LD.shape)
        if len(shape) != 2 or shape[1] != self.context_width or shape[0] > self.max_context:
            raise ValueError(
                f"{request}: expected a context of up to {self.max_context} tokens x {self.context_width}, got {shape}"
            )
        if not request.context_LD.is_floating_point():
            raise ValueError(f"{request}: expected a context of floats, got {request.context_LD.dtype}")
