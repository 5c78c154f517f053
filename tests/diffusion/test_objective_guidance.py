"""Laws of the objective and of guidance, on a small U-ViT."""

from typing import Any

import pytest
import torch

from vapray.diffusion.guidance import Guidance, convert_guidance, guidance_excess, guided_output
from vapray.diffusion.noise_levels import NoiseLevels
from vapray.diffusion.noise_schedule import NoiseSchedule
from vapray.diffusion.objective import Losses, denoising_loss
from vapray.diffusion.parameterization import Parameterization
from vapray.diffusion.randomness import draw_training
from vapray.models.network_config import UViTConfig
from vapray.models.prediction import Prediction
from vapray.models.prototypes import PrototypeOptions
from vapray.models.uvit import UViT, build_uvit

ROWS = 16


@pytest.fixture
def model() -> UViT:
    return build_uvit(
        UViTConfig(
            prototypes=PrototypeOptions(),
            latent_side=8,
            latent_channels=4,
            patch_size=2,
            width=32,
            depth=2,
            num_heads=4,
            num_classes=3,
            context_width=12,
            max_context=6,
        ),
        seed=0,
    )


def conditions() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(ROWS, 6, 12, generator=generator)
    return torch.arange(ROWS) % 3, context, 1 + torch.arange(ROWS) % 6


def loss(model: UViT, alpha: float, step: int = 0) -> Losses:
    clean = torch.randn(ROWS, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    draws = draw_training(0, step, range(ROWS), (4, 8, 8), levels=NoiseLevels.uniform(1000), drop_probability=0.1)
    return denoising_loss(model, Parameterization(NoiseSchedule.scaled_linear()), clean, *conditions(), draws, alpha)


def test_the_untrained_loss_is_near_one(model: UViT) -> None:
    losses = loss(model, alpha=0.5)
    assert losses.denoising.item() == pytest.approx(1, abs=0.08)
    assert losses.reconstruction.item() == pytest.approx(1, abs=0.08)
    assert losses.total.item() == pytest.approx(losses.denoising.item() + 0.5 * losses.reconstruction.item())


def test_training_lowers_both_terms(model: UViT) -> None:
    before = loss(model, alpha=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(80):
        optimizer.zero_grad()
        loss(model, 0.1, step).total.backward()
        optimizer.step()
    after = loss(model, alpha=0.1)
    assert after.denoising < 0.9 * before.denoising
    assert after.reconstruction < 0.995 * before.reconstruction


def test_the_two_conventions_name_the_same_guidance() -> None:
    assert guidance_excess(1.0, "excess") == guidance_excess(2.0, "classifier_free") == 1.0
    assert convert_guidance(1.0, "excess", "classifier_free") == 2.0
    assert convert_guidance(2.0, "classifier_free", "excess") == 1.0
    assert convert_guidance(2.0, "classifier_free", "classifier_free") == 2.0


@pytest.mark.parametrize(("scale", "convention"), [(float("nan"), "excess"), (float("inf"), "excess"), (1.0, "cfg")])
def test_guidance_that_is_no_guidance_is_refused(scale: float, convention: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        guidance_excess(scale, convention)


def test_guidance_holds_from_the_first_to_the_last_step_of_its_interval() -> None:
    limited = Guidance.from_scale(3.5, "classifier_free", (200, 400))
    assert [limited.at(step) for step in (1, 199, 200, 400, 401, 1000)] == [0, 0, 2.5, 2.5, 0, 0]
    assert Guidance.from_scale(2.5, "excess").at(1) == Guidance(2.5).at(1000) == 2.5


@pytest.mark.parametrize(("excess", "interval"), [(float("nan"), None), (float("inf"), None), (1.0, (400, 200))])
def test_guidance_that_cannot_be_followed_is_refused(excess: float, interval: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        Guidance(excess, interval)


def call_sizes(model: UViT) -> list[int]:
    sizes: list[int] = []
    model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    return sizes


@torch.no_grad()
def test_guided_output_is_the_paper_s_formula_in_one_call(model: UViT) -> None:
    noisy = torch.randn(ROWS, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    rows = (noisy, torch.full((ROWS,), 700), *conditions())
    drop = torch.ones(ROWS, dtype=torch.bool)
    conditional, unconditional = (answer.output_BCHW for answer in (model(*rows), model(*rows, drop)))
    sizes = call_sizes(model)
    excess = torch.linspace(-1, 3, ROWS)
    guided = guided_output(model, *rows, excess)
    formula = conditional + excess.view(-1, 1, 1, 1) * (conditional - unconditional)
    torch.testing.assert_close(guided, formula, rtol=0, atol=1e-5)
    torch.testing.assert_close(guided_output(model, *rows, -1.0), unconditional, rtol=0, atol=1e-5)
    assert sizes == [2 * ROWS, 2 * ROWS]


@torch.no_grad()
def test_no_excess_spares_the_unconditional_half(model: UViT) -> None:
    rows = (torch.randn(ROWS, 4, 8, 8), torch.full((ROWS,), 700), *conditions())
    expected: Prediction = model(*rows)
    sizes = call_sizes(model)
    assert torch.equal(guided_output(model, *rows, 0.0), expected.output_BCHW)
    assert sizes == [ROWS]
