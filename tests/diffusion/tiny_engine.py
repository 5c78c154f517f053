"""The step-level batching engine over a real tiny U-ViT with prototypes, and the plain loop beside it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from vapray.diffusion.engine import SamplingEngine
from vapray.diffusion.guidance import guided_output
from vapray.diffusion.image_request import ConditioningSpec, ImageRequest
from vapray.diffusion.noise_schedule import NoiseSchedule
from vapray.diffusion.parameterization import Parameterization
from vapray.diffusion.randomness import draw_sampling_noise
from vapray.diffusion.solver import SolverName, solve, solver_plan
from vapray.models.network_config import UViTConfig
from vapray.models.prototypes import PrototypeOptions
from vapray.models.uvit import UViT, build_uvit

SCHEDULE, SHAPE, WIDTH, LONGEST = NoiseSchedule.scaled_linear(), (4, 8, 8), 12, 40
SOLVERS: tuple[SolverName, ...] = ("dpm_solver_2m", "ddim")


@cache
def network() -> UViT:
    """Untrained, but with every path alive: the prototypes' zero is not."""
    model = build_uvit(
        UViTConfig(
            prototypes=PrototypeOptions(),
            latent_side=8,
            latent_channels=4,
            patch_size=2,
            width=32,
            depth=2,
            num_heads=2,
            num_classes=3,
            context_width=WIDTH,
            max_context=LONGEST,
        ),
        seed=0,
    )
    assert model.prototypes is not None
    torch.nn.init.normal_(model.prototypes.injection.inject.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    return model.eval().requires_grad_(False)


def engine_of(model: Any = None, *, batch_sizes: Sequence[int] = (6,), **options: Any) -> SamplingEngine:
    conditions = ConditioningSpec(num_classes=3, context_width=WIDTH, max_context=LONGEST)
    return SamplingEngine(
        model or network(),
        Parameterization(SCHEDULE),
        conditions,
        latent_shape=SHAPE,
        batch_sizes=batch_sizes,
        **options,
    )


def image(number: int = 0, length: int = 5, steps: int = 4, **changes: Any) -> ImageRequest:
    context = torch.randn(length, WIDTH, generator=torch.Generator().manual_seed(1000 + number))
    return replace(ImageRequest(number, number % 3, context, steps), **changes)


def results(engine: SamplingEngine, requests: Iterable[ImageRequest]) -> list[Tensor]:
    tickets = [engine.submit(request) for request in requests]
    engine.run_until_idle()
    return [ticket.result(timeout=0) for ticket in tickets]


@torch.no_grad()
def by_the_loop(request: ImageRequest) -> Tensor:
    """The plain way: one image, one call for both halves, no padding."""

    def predict(noisy: Tensor, step_B: Tensor) -> Tensor:
        length = torch.tensor([len(request.context_LD)])
        rows = (noisy, step_B, torch.tensor([request.label]), request.context_LD[None], length)
        return guided_output(network(), *rows, request.guidance.at(int(step_B[0])))

    plan = solver_plan(SCHEDULE, request.solver, request.num_inference_steps)
    return solve(predict, draw_sampling_noise([request.seed], SHAPE), plan, Parameterization(SCHEDULE))[0]


class Watched:
    """The network, which notes what it is asked and may do something about it."""

    def __init__(self, then: Callable[[Tensor], None] = lambda step_B: None) -> None:
        self.then = then
        self.shapes: list[tuple[int, int]] = []
        self.steps: list[list[int]] = []
        self.drops: list[int] = []

    def __call__(self, noisy: Tensor, step_B: Tensor, label_B: Tensor, *rest: Tensor, **options: Any) -> Any:
        context, _, drop_B = rest
        self.shapes.append((len(noisy), context.shape[1]))
        self.steps.append(step_B.tolist())
        self.drops.append(int(drop_B.sum()))
        self.then(step_B)
        return network()(noisy, step_B, label_B, *rest, **options)
