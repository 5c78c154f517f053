"""Progress of one image in the engine."""

import time
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch import device as Device
from torch.nn import functional as F

from vapray.diffusion.image_request import ImageRequest, Preview
from vapray.diffusion.randomness import draw_sampling_noise
from vapray.diffusion.solver import SolverPlan, SolverState
from vapray.errors import BackendError

__all__ = ["Progress", "Row"]


class Progress:
    """Request, its future and its solver state; only the stepping thread changes it."""

    def __init__(
        self,
        request: ImageRequest,
        plan: SolverPlan,
        padded_lengths: tuple[int, int],
        latent_shape: tuple[int, ...],
        device: Device,
    ) -> None:
        self.request, self.plan = request, plan
        self.padded_lengths = padded_lengths
        """Padded numbers of text tokens of the conditional and the unconditional half."""
        self.ticket: Future[Tensor] = Future()
        self.ended = False
        self._latent_shape, self._device = latent_shape, device
        self._state: SolverState | None = None
        self._answers: dict[bool, Tensor] = {}
        guided = [bool(request.guidance.at(int(step))) for step in plan.steps]
        self._halves = [(False, True) if both else (False,) for both in guided]
        self._rows_from = np.cumsum([0, *(len(halves) for halves in reversed(self._halves))])[::-1]

    @property
    def state(self) -> SolverState:
        """Current solver state; noise is drawn on first use, so that a waiting request needs no further memory."""
        if self._state is None:
            noise_CHW = draw_sampling_noise([self.request.seed], self._latent_shape)[0]
            self._state = SolverState.start(self.plan, noise_CHW.to(self._device))
        return self._state

    @cached_property
    def context_LD(self) -> Tensor:
        """Context as float32 on the device, padded with zeros."""
        context_LD = self.request.context_LD.detach().to(self._device, torch.float32)
        return F.pad(context_LD, (0, 0, 0, self.padded_lengths[False] - len(context_LD)))

    @property
    def taken(self) -> int:
        """Number of solver steps taken."""
        return self._state.taken if self._state else 0

    @property
    def rows_left(self) -> int:
        """Number of network rows until it is finished; thread-safe."""
        return int(self._rows_from[self.taken]) - len(self._answers)

    @property
    def excess(self) -> float:
        """Guidance excess at this step."""
        return self.request.guidance.at(self.state.step)

    def missing(self, padded_length: int | None = None) -> list["Row"]:
        """List the rows that this step still needs: those of one padded length, or all."""
        return [
            Row(self, drop)
            for drop in self._halves[self.taken]
            if drop not in self._answers and padded_length in (None, self.padded_lengths[drop])
        ]

    def hear(self, drop: bool, noise_CHW: Tensor) -> None:
        """Store the noise of one half."""
        self._answers[drop] = noise_CHW

    def answers(self) -> tuple[Tensor, Tensor]:
        """Get both halves of this step; without guidance, the conditional one twice."""
        conditional = self._answers[False]
        return conditional, self._answers.get(True, conditional)

    def move(self, state: SolverState) -> None:
        """Advance to the next solver state and call the preview."""
        self._answers = {}
        self._state = state
        if self.request.preview is not None:
            self.request.preview(Preview(state.taken, len(self.plan), state.clean_CHW))

    def result(self) -> Tensor:
        """Copy the clean latent [C, H, W].

        Raises:
            BackendError: it is not finite.
        """
        if not bool(self.state.latent_CHW.isfinite().all()):
            raise BackendError(
                f"{self.request}: the network's output is not finite. Fix: use a finite context and a smaller guidance "
                f"excess than {self.request.guidance.excess:g}."
            )
        return self.state.latent_CHW.clone()

    def overdue(self) -> TimeoutError | None:
        """Create the error of a passed deadline, or None."""
        deadline = self.request.deadline
        if deadline is None or time.monotonic() < deadline:
            return None
        return TimeoutError(f"{self.request}: its deadline passed after {self.taken} of {len(self.plan)} steps")


@dataclass(frozen=True, eq=False)
class Row:
    """One half of one image at one step."""

    image: Progress
    drop: bool
    """True for the unconditional half."""

    @property
    def context_LD(self) -> Tensor:
        """Caption's context, cut to the padded length of the call."""
        return self.image.context_LD[: self.image.padded_lengths[self.drop]]
