"""One image on its way through the engine."""

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
    """A request, its ticket, and how far it has come; changed by the thread that steps, and by no other."""

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
        """Text tokens of the calls that the conditional and the unconditional half may share."""
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
        """Where it stands; noise is drawn at the first call, so what waits holds no more than was submitted."""
        if self._state is None:
            noise_CHW = draw_sampling_noise([self.request.seed], self._latent_shape)[0]
            self._state = SolverState.start(self.plan, noise_CHW.to(self._device))
        return self._state

    @cached_property
    def context_LD(self) -> Tensor:
        """Float32 on the device, padded with zeros."""
        context_LD = self.request.context_LD.detach().to(self._device, torch.float32)
        return F.pad(context_LD, (0, 0, 0, self.padded_lengths[False] - len(context_LD)))

    @property
    def taken(self) -> int:
        """Solver steps behind it."""
        return self._state.taken if self._state else 0

    @property
    def rows_left(self) -> int:
        """Network rows until it is finished; may be asked from any thread."""
        return int(self._rows_from[self.taken]) - len(self._answers)

    @property
    def excess(self) -> float:
        """Of guidance at this step."""
        return self.request.guidance.at(self.state.step)

    def missing(self, padded_length: int | None = None) -> list["Row"]:
        """Rows that this step still waits for; those of one padded length, or all."""
        return [
            Row(self, drop)
            for drop in self._halves[self.taken]
            if drop not in self._answers and padded_length in (None, self.padded_lengths[drop])
        ]

    def hear(self, drop: bool, noise_CHW: Tensor) -> None:
        """Take one half's answer."""
        self._answers[drop] = noise_CHW

    def answers(self) -> tuple[Tensor, Tensor]:
        """Both halves of this step; twice the conditional one where there is no guidance."""
        conditional = self._answers[False]
        return conditional, self._answers.get(True, conditional)

    def move(self, state: SolverState) -> None:
        """Stand behind one more step, and show it."""
        self._answers = {}
        self._state = state
        if self.request.preview is not None:
            self.request.preview(Preview(state.taken, len(self.plan), state.clean_CHW))

    def result(self) -> Tensor:
        """The clean latent [C, H, W], in memory of its own.

        Raises:
            BackendError: it is not finite.
        """
        if not bool(self.state.latent_CHW.isfinite().all()):
            raise BackendError(
                f"{self.request}: the network's answers are not finite. Its context has to be, and its guidance "
                f"({self.request.guidance.excess:g}) should be moderate."
            )
        return self.state.latent_CHW.clone()

    def overdue(self) -> TimeoutError | None:
        """What to end with when the deadline has passed."""
        deadline = self.request.deadline
        if deadline is None or time.monotonic() < deadline:
            return None
        return TimeoutError(f"{self.request}: its deadline passed after {self.taken} of {len(self.plan)} steps")


@dataclass(frozen=True, eq=False)
class Row:
    """One half of one image at one step."""

    image: Progress
    drop: bool
    """Whether it is the unconditional half."""

    @property
    def context_LD(self) -> Tensor:
        """The caption's context, as far as the call has room for it."""
        return self.image.context_LD[: self.image.padded_lengths[self.drop]]
