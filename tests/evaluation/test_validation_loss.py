"""The loss of held-out images: a law, and a run that memorizes."""

from dataclasses import replace

import pytest
import torch

from tests.training.tiny import SPACE, tiny_config, tiny_rows, tiny_state
from vapray.evaluation.validation_loss import losses_by_class, validation_losses
from vapray.models.prediction import Prediction
from vapray.training.batches import Batches
from vapray.training.network import build_parameterization
from vapray.training.step import OptimizerStep

CONTEXTS = [torch.randn(length, 8) for length in (3, 1, 7, 5)]


class Zero(torch.nn.Module):
    """Predicts zero, and keeps its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.asked: list[tuple[torch.Tensor, ...]] = []

    def forward(self, noisy, *arguments, **options):
        self.asked.append((noisy, *arguments))
        return Prediction(torch.zeros_like(noisy), torch.zeros(len(noisy)))


@pytest.mark.parametrize(
    "kind", [(), ("diffusion.path=flow", "diffusion.prediction=x", "diffusion.loss=v", "diffusion.steps=100")]
)
def test_the_loss_is_that_of_the_objective_at_fixed_levels_with_fixed_noise(kind):
    config, network = tiny_config(*kind), Zero()
    clean = torch.randn(4, 2, 4, 4)
    losses = validation_losses(network, config, clean, [0, 1, 1, 2], CONTEXTS)
    steps = [int(step[0]) for _, step, *_ in network.asked]
    assert steps == [round(config.diffusion.steps * share) for share in (0.125, 0.375, 0.625, 0.875)]
    parameterization = build_parameterization(config)
    expected = torch.zeros(4)
    for noisy, step, *_ in network.asked:
        signal, sigma, _ = parameterization.schedule.at(step, clean)
        noise = (noisy - signal * clean) / sigma
        factor = parameterization.loss_factor(config.diffusion.loss, step)
        expected += factor * parameterization.target(clean, noise, step).square().flatten(1).mean(dim=1) / 4
    torch.testing.assert_close(losses, expected, rtol=1e-3, atol=1e-5)
    assert torch.equal(validation_losses(Zero(), config, clean, [0, 1, 1, 2], CONTEXTS), losses)
    alone = torch.cat([validation_losses(Zero(), config, clean[:1], [0], CONTEXTS[:1])])
    assert torch.equal(alone, losses[:1])


def test_losses_are_averaged_over_the_images_of_each_class():
    values = losses_by_class(torch.tensor([1.0, 2.0, 4.0]), [2, 0, 0], ["a", "b", "c"])
    assert values == pytest.approx({"validation_loss": 7 / 3, "validation_loss_a": 3.0, "validation_loss_c": 1.0})


def test_the_loss_of_images_that_are_learned_by_heart_falls_below_that_of_others():
    config = tiny_config("train.steps=1000", "train.learning_rate=0.004", "train.condition_dropout=0")
    state, batches = tiny_state(config), Batches(config, tiny_rows(), SPACE, rank=0, world=1)
    seen, step = batches.at(0), OptimizerStep(config, state, torch.device("cpu"))
    others = seen.clean_BCHW.flip(0).roll(1, dims=0) * -1.0
    contexts = [seen.context_BLD[row, :length].float() for row, length in enumerate(seen.context_length_B.tolist())]
    before = validation_losses(state.model, config, seen.clean_BCHW, seen.label_B.tolist(), contexts).mean()
    for number in range(700):
        step.step([replace(seen, draws=batches.at(number).draws)])
        state.step += 1
    learned, held_out = (
        validation_losses(state.model, config, clean, seen.label_B.tolist(), contexts).mean()
        for clean in (seen.clean_BCHW, others)
    )
    assert learned < 0.8 * before
    assert learned < 0.9 * held_out
