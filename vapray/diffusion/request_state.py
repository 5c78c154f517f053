"""State of one image in the engine."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch import device as Device
from torch.nn import functional as F

from vapray.diffusion.host_copies import Readback, to_device
from vapray.diffusion.image_request import ImageRequest, IntermediateLatent
from vapray.diffusion.randomness import draw_sampling_noise
from vapray.diffusion.solver import SolverPlan, SolverState
from vapray.errors import BackendError
from vapray.models.text_tokens import TextShape

__all__ = ["BatchRow", "Branch", "RequestState", "network_inputs"]


class Branch(Enum):
    """Half of a network evaluation with guidance."""

    CONDITIONAL = "conditional"
    UNCONDITIONAL = "unconditional"


class RequestState:
    """Request, its future and its solver state; only the stepping thread changes it."""

    def __init__(
        self,
        request: ImageRequest,
        plan: SolverPlan,
        padded_lengths: Mapping[Branch, int],
        latent_shape: tuple[int, ...],
        device: Device,
    ) -> None:
        self.request, self.plan = request, plan
        self.padded_lengths = padded_lengths
        """Padded number of text tokens of each half."""
        self.ticket: Future[Tensor] = Future()
        self.ended = False
        self._latent_shape, self._device = latent_shape, device
        self._state: SolverState | None = None
        self._conditional: Tensor | None = None
        self._unconditional: Tensor | None = None
        self._finite: Readback | None = None
        self._rows_from = np.cumsum([0, *(1 + bool(request.guidance.at(int(step))) for step in plan.steps[::-1])])[::-1]

    @property
    def state(self) -> SolverState:
        """Current solver state; noise is drawn on first use, so that a waiting request needs no further memory."""
        if self._state is None:
            noise_CHW = draw_sampling_noise([self.request.seed], self._latent_shape)[0]
            self._state = SolverState.start(self.plan, noise_CHW.to(self._device, non_blocking=True))
        return self._state

    @cached_property
    def context_LD(self) -> Tensor:
        """Context as float32 on the device, padded with zeros."""
        context_LD = self.request.context_LD.detach().to(self._device, torch.float32, non_blocking=True)
        return F.pad(context_LD, (0, 0, 0, self.padded_lengths[Branch.CONDITIONAL] - len(context_LD)))

    @property
    def taken(self) -> int:
        """Number of solver steps taken."""
        return self._state.taken if self._state else 0

    @property
    def rows_left(self) -> int:
        """Number of network rows until it is finished; thread-safe."""
        received = (self._conditional is not None) + (self._unconditional is not None)
        return int(self._rows_from[self.taken]) - received

    @property
    def excess(self) -> float:
        """Guidance excess at this step."""
        return self.request.guidance.at(int(self.plan.steps[self.taken]))

    def missing(self, padded_length: int | None = None) -> list["BatchRow"]:
        """List the rows that this step still needs: those of one padded length, or all."""
        missing = [Branch.CONDITIONAL] if self._conditional is None else []
        if self.excess and self._unconditional is None:
            missing.append(Branch.UNCONDITIONAL)
        return [BatchRow(self, branch) for branch in missing if padded_length in (None, self.padded_lengths[branch])]

    def receive(self, branch: Branch, output_CHW: Tensor) -> None:
        """Store the network's output of one half."""
        if branch is Branch.CONDITIONAL:
            self._conditional = output_CHW
        else:
            self._unconditional = output_CHW

    def outputs(self) -> tuple[Tensor, Tensor]:
        """Get the network's outputs of both halves of this step; without guidance, the conditional one twice."""
        assert self._conditional is not None
        return self._conditional, self._conditional if self._unconditional is None else self._unconditional

    def move(self, state: SolverState) -> None:
        """Advance to the next solver state and call the preview."""
        self._conditional = self._unconditional = None
        self._state = state
        if self.request.preview is not None:
            self.request.preview(IntermediateLatent(state.taken, len(self.plan), state.clean_CHW))

    @property
    def under_way(self) -> bool:
        """True while solver steps are left."""
        return not self.ended and self._finite is None

    def finish(self) -> None:
        """Begin to check the clean latent, after the last solver step."""
        self._finite = Readback(self.state.latent_CHW.isfinite().all())

    def result_is_ready(self) -> bool:
        """Check that ``result`` need not wait for the device; False before ``finish``."""
        return self._finite is not None and self._finite.ready()

    def result(self) -> Tensor:
        """Copy the clean latent [C, H, W]; after ``finish``.

        Raises:
            BackendError: it is not finite.
        """
        if self._finite is None or not self._finite.value():
            raise BackendError(
                f"{self.request}: the network's output is not finite. Fix: use a finite context and a smaller guidance "
                f"excess than {self.request.guidance.excess:g}."
            )
        return self.state.latent_CHW.clone()

    def end(self, outcome: Tensor | BaseException | None) -> str | None:
        """Set the result or error, unless it was cancelled; returns the kind of the end, None if it had ended."""
        if self.ended:
            return None
        self.ended = True
        if not self.ticket.set_running_or_notify_cancel():
            return "cancelled"
        if isinstance(outcome, Tensor):
            self.ticket.set_result(outcome)
            return "finished"
        self.ticket.set_exception(outcome)
        return "failed"

    def overdue(self) -> TimeoutError | None:
        """Create the error of a passed deadline, or None."""
        deadline = self.request.deadline
        if deadline is None or time.monotonic() < deadline:
            return None
        return TimeoutError(f"{self.request}: its deadline passed after {self.taken} of {len(self.plan)} steps")


@dataclass(frozen=True, eq=False)
class BatchRow:
    """One half of one image at one step."""

    image: RequestState
    branch: Branch

    @property
    def context_LD(self) -> Tensor:
        """Caption's context, cut to the padded length of the call."""
        return self.image.context_LD[: self.image.padded_lengths[self.branch]]

    @property
    def scalars(self) -> tuple[int, int, int, bool]:
        """Diffusion step, class, number of the caption's tokens, and whether label and text are dropped."""
        request = self.image.request
        return self.image.state.step, request.label, len(request.context_LD), self.branch is Branch.UNCONDITIONAL


def network_inputs(rows: Sequence[BatchRow], padding: int, device: Device) -> tuple[tuple[Tensor, ...], TextShape]:
    """Build the inputs of a network call: ``rows``, then ``padding`` null rows.

    Returns:
        Noisy latents, steps, labels, contexts, their lengths and drops; and facts about the last two.
    """
    # Padding has neither label nor caption, so none of its values can be out of range.
    scalars = np.array([*(row.scalars for row in rows), *[(1, 0, 0, True)] * padding])
    noisy_BCHW = F.pad(torch.stack([row.image.state.latent_CHW for row in rows]), (0, 0) * 3 + (0, padding))
    context_BLD = F.pad(torch.stack([row.context_LD for row in rows]), (0, 0) * 2 + (0, padding))
    scalars[:, 2] = scalars[:, 2].clip(max=context_BLD.shape[1])
    step_B, label_B, length_B, drop_B = to_device(scalars.T, torch.int64, device)
    inputs = (noisy_BCHW, step_B, label_B, context_BLD, length_B, drop_B.bool())
    return inputs, TextShape.of(scalars[:, 2], scalars[:, 3])
