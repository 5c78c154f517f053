"""What the engine is asked for: one image, with settings of its own."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from vapray.diffusion.guidance import UNGUIDED, Guidance
from vapray.diffusion.solver import SolverName

__all__ = ["Conditions", "ImageRequest", "Preview"]


@dataclass(frozen=True, eq=False)
class Preview:
    """What an image would be if its solver stopped here."""

    taken: int
    """Solver steps behind it."""
    steps: int
    """Solver steps in all."""
    clean_CHW: Tensor
    """x0 as predicted at the last step; not to be changed."""


@dataclass(frozen=True, eq=False)
class ImageRequest:
    """One image."""

    seed: int
    """Decides the noise it starts from, 0..2**64-1."""
    label: int
    """Class."""
    context_LD: Tensor
    """float [L, D], the caption's tokens without padding; L may be 0."""
    num_inference_steps: int
    """Solver steps."""
    solver: SolverName = "dpm_solver_2m"
    """Solver."""
    guidance: Guidance = UNGUIDED
    """Guidance."""
    deadline: float | None = None
    """On ``time.monotonic``'s clock: not finished by then, it ends as TimeoutError before its next step."""
    preview: Callable[[Preview], None] | None = None
    """Called after every step, in the engine's thread; what it raises ends this image alone."""

    def __str__(self) -> str:
        """Names it in errors."""
        return f"image of class {self.label} with seed {self.seed}"


@dataclass(frozen=True)
class Conditions:
    """What a network can be conditioned on."""

    num_classes: int
    """Without the null class."""
    context_width: int
    """D."""
    max_context: int
    """Most text tokens."""

    def refuse(self, request: ImageRequest) -> None:
        """Refuse a request that the network cannot take.

        Raises:
            ValueError: its class, seed or context.
        """
        if not 0 <= request.label < self.num_classes:
            raise ValueError(f"{request}: wanted a class in 0..{self.num_classes - 1}")
        if not 0 <= request.seed < 2**64:
            raise ValueError(f"{request}: wanted a seed in 0..2**64-1")
        shape = tuple(request.context_LD.shape)
        if len(shape) != 2 or shape[1] != self.context_width or shape[0] > self.max_context:
            raise ValueError(
                f"{request}: wanted a context of at most {self.max_context} tokens x {self.context_width}, got {shape}"
            )
        if not request.context_LD.is_floating_point():
            raise ValueError(f"{request}: wanted a context of floats, got {request.context_LD.dtype}")
