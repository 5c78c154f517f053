"""Laws of the assembled U-ViT, with and without its PCM."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from vapray.diffusion.noise_levels import NoiseLevels
from vapray.diffusion.noise_schedule import NoiseSchedule
from vapray.diffusion.objective import denoising_loss
from vapray.diffusion.parameterization import Parameterization
from vapray.diffusion.randomness import draw_training
from vapray.models.network_config import UViTConfig
from vapray.models.prediction import Prediction
from vapray.models.prototypes import PrototypeOptions
from vapray.models.tokens import patchify, unpatchify
from vapray.models.uvit import UViT, build_uvit

NUM_CLASSES, MAX_CONTEXT, CONTEXT_WIDTH = 3, 9, 12
NOISE = Parameterization(NoiseSchedule.scaled_linear())


def small_uvit(*, pcm: bool, seed: int = 0, max_context: int = MAX_CONTEXT) -> UViT:
    return build_uvit(
        UViTConfig(
            prototypes=PrototypeOptions() if pcm else None,
            latent_side=8,
            latent_channels=4,
            patch_size=2,
            width=32,
            depth=4,
            num_heads=4,
            num_classes=NUM_CLASSES,
            context_width=CONTEXT_WIDTH,
            max_context=max_context,
        ),
        seed=seed,
    )


def awaken(model: UViT) -> UViT:
    """Weights far from their init, so that every path shows in the output."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


@dataclass(frozen=True)
class Batch:
    noisy: Tensor
    step: Tensor
    label: Tensor
    context: Tensor
    length: Tensor

    @torch.no_grad()
    def __call__(self, model: UViT, drop: Tensor | None = None) -> Prediction:
        return model(self.noisy, self.step, self.label, self.context, self.length, drop)

    def rows(self, index: Tensor) -> "Batch":
        return Batch(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(2)
    return Batch(
        noisy=torch.randn(5, 4, 8, 8, generator=generator),
        step=torch.tensor([1, 10, 500, 900, 1000]),
        label=torch.tensor([0, 1, 2, 0, 1]),
        context=torch.randn(5, 6, CONTEXT_WIDTH, generator=generator),
        length=torch.tensor([6, 3, 1, 0, 5]),
    )


@torch.no_grad()
def difference(first: Prediction, second: Prediction) -> float:
    noise = (first.output_BCHW - second.output_BCHW).abs().max()
    loss = (first.reconstruction_B - second.reconstruction_B).abs().max()
    return float(torch.maximum(noise, loss))


def test_an_untrained_pcm_changes_nothing(batch: Batch) -> None:
    drop = torch.tensor([False, True, False, False, True])
    plain, conditioned = (batch(small_uvit(pcm=pcm), drop) for pcm in (False, True))
    assert torch.equal(plain.output_BCHW, conditioned.output_BCHW)
    assert plain.output_BCHW.abs().max() > 0
    assert not plain.reconstruction_B.any()
    assert (conditioned.reconstruction_B > 0).all()


def test_a_trained_pcm_changes_the_noise(batch: Batch) -> None:
    model = awaken(small_uvit(pcm=True))
    conditioned = batch(model)
    model.prototypes = None
    assert difference(conditioned, replace(batch(model), reconstruction_B=conditioned.reconstruction_B)) > 1e-2


@pytest.mark.parametrize("pcm", [False, True])
def test_padding_changes_nothing(batch: Batch, pcm: bool) -> None:
    model = awaken(small_uvit(pcm=pcm))
    longer = torch.full((5, MAX_CONTEXT, CONTEXT_WIDTH), float("nan"))
    for row, length in enumerate(batch.length):
        longer[row, :length] = batch.context[row, :length]
    assert difference(batch(model), replace(batch, context=longer)(model)) < 1e-5


@pytest.mark.parametrize("pcm", [False, True])
def test_a_row_does_not_depend_on_its_neighbours(batch: Batch, pcm: bool) -> None:
    model = awaken(small_uvit(pcm=pcm))
    together = batch(model)
    for row, length in enumerate(batch.length):
        alone = batch.rows(torch.tensor([row]))
        answer = replace(alone, context=alone.context[:, :length])(model)
        # Without its neighbours the row has no padding, and so takes the path without a mask.
        assert (answer.output_BCHW[0] - together.output_BCHW[row]).abs().max() < 1e-5
        assert abs(answer.reconstruction_B[0] - together.reconstruction_B[row]) < 1e-5


def test_context_is_read_and_label_is_read(batch: Batch) -> None:
    model = awaken(small_uvit(pcm=True))
    usual = batch(model)
    other_text = replace(batch, context=batch.context.flip(0).roll(1, dims=1))(model).output_BCHW - usual.output_BCHW
    other_label = replace(batch, label=(batch.label + 1) % NUM_CLASSES)(model).output_BCHW - usual.output_BCHW
    has_text = batch.length > 0
    assert (other_text.abs().amax(dim=(1, 2, 3))[has_text] > 1e-3).all()
    assert other_text[~has_text].abs().max() < 1e-5
    assert (other_label.abs().amax(dim=(1, 2, 3)) > 1e-3).all()


@pytest.mark.parametrize("pcm", [False, True])
def test_dropped_rows_ignore_label_and_text(batch: Batch, pcm: bool) -> None:
    model = awaken(small_uvit(pcm=pcm))
    drop = torch.ones(5, dtype=torch.bool)
    usual = batch(model, drop)
    other = replace(batch, label=batch.label.flip(0), context=-batch.context, length=batch.length.flip(0))
    textless = replace(batch, context=batch.context[:, :0], length=torch.zeros_like(batch.length))
    assert difference(usual, other(model, drop)) < 1e-5
    assert difference(usual, textless(model, drop)) < 1e-5
    assert difference(usual, batch(model)) > 1e-3


def test_patch_positions_do_not_depend_on_text_length(batch: Batch) -> None:
    short, long = (small_uvit(pcm=False, max_context=6), small_uvit(pcm=False, max_context=9))
    awaken(short)
    long.load_state_dict({**short.state_dict(), "position": long.position.data})
    with torch.no_grad():
        long.position[:8] = short.position[:8]
        long.position[8:11] = 1e3
        long.position[11:] = short.position[8:]
    for length in (0, 2, 6):
        cut = replace(batch, context=batch.context[:, :length], length=batch.length.clamp(max=length))
        assert difference(cut(short), cut(long)) < 1e-5


@pytest.mark.parametrize("dropped", [(), (1, 3), (0, 1, 2, 3, 4)])
@pytest.mark.parametrize("text_tokens", [6, 0])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_every_parameter_gets_a_gradient(
    batch: Batch, dropped: tuple[int, ...], text_tokens: int, alpha: float
) -> None:
    model = small_uvit(pcm=True)
    draws = draw_training(0, 0, range(5), (4, 8, 8), levels=NoiseLevels.uniform(1000), drop_probability=0.0)
    draws.drop_B[list(dropped)] = True
    context, length = batch.context[:, :text_tokens], batch.length.clamp(max=text_tokens)
    losses = denoising_loss(model, NOISE, batch.noisy, batch.label, context, length, draws, alpha)
    losses.total.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_bfloat16_is_near_float32_and_trains(batch: Batch) -> None:
    model = small_uvit(pcm=True)
    draws = draw_training(0, 0, range(5), (4, 8, 8), levels=NoiseLevels.uniform(1000), drop_probability=0.5)
    arguments = (NOISE, batch.noisy, batch.label, batch.context, batch.length, draws, 0.1)
    full = denoising_loss(model, *arguments)
    with torch.autocast("cpu", torch.bfloat16):
        half = denoising_loss(model, *arguments)
    half.total.backward()
    assert half.total.dtype == torch.float32 and half.total != full.total
    assert abs(half.total.item() - full.total.item()) < 0.01
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_same_seed_same_weights_and_torchs_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second, other = (small_uvit(pcm=True, seed=seed).state_dict() for seed in (7, 7, 8))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["position"], other["position"])


def test_patchify_and_back_is_the_identity_and_a_patch_is_a_square() -> None:
    image = torch.arange(2 * 3 * 8 * 8.0).view(2, 3, 8, 8)
    patches = patchify(image, 4)
    assert torch.equal(unpatchify(patches, 4, 3), image)
    assert torch.equal(patches[0, 1], image[0, :, :4, 4:].flatten())


def test_released_configuration_has_the_published_parameters() -> None:
    """58.4M without PCM: the 58M of U-ViT-S/2 (Deep) in its paper. With ours 63.2M; the release has 65.0M."""
    count = {}
    for pcm in (False, True):
        with torch.device("meta"):
            model = build_uvit(
                UViTConfig(
                    prototypes=PrototypeOptions() if pcm else None,
                    latent_side=32,
                    latent_channels=4,
                    patch_size=2,
                    width=512,
                    depth=16,
                    num_heads=8,
                    num_classes=7,
                    context_width=768,
                ),
                seed=0,
            )
        count[pcm] = sum(parameter.numel() for parameter in model.parameters())
    assert count[False] == pytest.approx(58.4e6, rel=0.01)
    assert count[True] == pytest.approx(63.2e6, rel=0.01)
    assert count[True] < 65.0e6


@pytest.mark.parametrize(
    ("length", "width", "claimed", "told"),
    [
        (MAX_CONTEXT + 1, CONTEXT_WIDTH, 1, "expected at most 9, got 10"),
        (4, CONTEXT_WIDTH + 1, 1, "expected 12, got 13"),
        (4, CONTEXT_WIDTH, 5, "the 4 tokens given, got a row of 5"),
    ],
)
def test_a_context_that_does_not_fit_is_refused(length: int, width: int, claimed: int, told: str) -> None:
    one = torch.ones(1, dtype=torch.int64)
    with pytest.raises(ValueError, match=told):
        small_uvit(pcm=False)(torch.zeros(1, 4, 8, 8), one, one, torch.zeros(1, length, width), claimed * one)


@pytest.mark.parametrize("wrong", [{"patch_size": 3}, {"depth": 3}, {"depth": 0}, {"num_heads": 5}])
def test_sizes_that_do_not_divide_are_refused(wrong: dict[str, Any]) -> None:
    sizes: dict[str, Any] = {"latent_side": 8, "patch_size": 2, "width": 32, "depth": 4, "num_heads": 4}
    with pytest.raises(ValueError, match="expected latent_side divisible"):
        UViTConfig(**{**sizes, **wrong}, latent_channels=4, num_classes=2, context_width=4)
