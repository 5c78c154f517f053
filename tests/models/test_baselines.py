"""The baselines of table 1 obey the laws of the U-ViT, and see classes alone."""

import re

import pytest
import torch
from torch import Tensor

from vapray.bank.forecast import context_width, tokens_of_a_caption
from vapray.config.loader import load_config
from vapray.diffusion.noise_levels import NoiseLevels
from vapray.diffusion.noise_schedule import NoiseSchedule
from vapray.diffusion.objective import COMMITMENT, ClassBalancing, denoising_loss
from vapray.diffusion.parameterization import Parameterization
from vapray.diffusion.randomness import draw_other_labels, draw_training
from vapray.errors import ConfigError
from vapray.models.flop_counter import count_flops
from vapray.models.network_cost import network_cost
from vapray.training.network import Network, build_network
from vapray.training.state import load_weights, save_weights

SMALL = ["data.image_size=32", "autoencoder.factor=4", "model.width=32", "model.depth=2", "model.num_heads=2"]
CLASS_ONLY = ["model.condition=class", "model.prototypes.enabled=false"]
NETWORKS = ["uvit", "dit", "unet"]
CLASSES, WIDTH, TOKENS = 3, 12, 5
NOISE = Parameterization(NoiseSchedule.scaled_linear())


def build(network: str, seed: int = 0) -> Network:
    config = load_config(None, [*SMALL, *CLASS_ONLY, f"model.network={network}", f"run.seed={seed}"])
    return build_network(config, num_classes=CLASSES, latent_channels=4, context_width=WIDTH)


def awaken(model: Network) -> Network:
    """Weights far from their init, so that every path shows in the output."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model


@pytest.fixture
def batch() -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [
        torch.randn(4, 4, 8, 8, generator=generator),
        torch.tensor([1, 10, 500, 1000]),
        torch.tensor([0, 1, 2, 0]),
        torch.randn(4, TOKENS, WIDTH, generator=generator),
        torch.tensor([5, 3, 1, 0]),
    ]


@pytest.mark.parametrize("network", NETWORKS)
@torch.no_grad()
def test_the_class_matters_and_the_caption_does_not(network: str, batch: list[Tensor]) -> None:
    model = awaken(build(network)).eval()
    predicted = model(*batch).output_BCHW
    assert predicted.shape == batch[0].shape
    assert torch.equal(model(*batch[:3], torch.full_like(batch[3], 9.0), batch[4]).output_BCHW, predicted)
    other = model(*batch[:2], (batch[2] + 1) % CLASSES, *batch[3:]).output_BCHW
    assert ((other - predicted).abs().amax(dim=(1, 2, 3)) > 1e-4).all()


@pytest.mark.parametrize("network", NETWORKS)
@torch.no_grad()
def test_dropped_rows_forget_their_class_and_no_row_is_dropped_unasked(network: str, batch: list[Tensor]) -> None:
    model = awaken(build(network)).train()  # where diffusers' DiT would drop labels by a dice of its own
    drop = torch.ones(4, dtype=torch.bool)
    without = model(*batch, drop).output_BCHW
    relabelled = model(*batch[:2], (batch[2] + 1) % CLASSES, *batch[3:], drop).output_BCHW
    assert torch.equal(without, relabelled)
    assert all(torch.equal(model(*batch).output_BCHW, model(*batch).output_BCHW) for _ in range(8))


@pytest.mark.parametrize("network", NETWORKS)
def test_every_weight_has_a_gradient_as_ddp_wants(network: str, batch: list[Tensor]) -> None:
    model = awaken(build(network))
    draws = draw_training(0, 0, range(4), (4, 8, 8), levels=NoiseLevels.uniform(1000), drop_probability=0.5)
    denoising_loss(model, NOISE, batch[0], *batch[2:], draws, 0.0).total.backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("network", NETWORKS)
def test_weights_follow_from_the_seed_and_come_back_from_a_file(network: str) -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    one, same, other = build(network), build(network), build(network, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert save_weights(one) == save_weights(same) != save_weights(other)
    load_weights(other, save_weights(one))
    assert save_weights(other) == save_weights(one)


@pytest.mark.parametrize("network", ["dit", "unet"])
@pytest.mark.parametrize(("said", "missing"), [CLASS_ONLY, CLASS_ONLY[::-1]])
def test_a_baseline_is_not_taken_for_one_that_reads_captions(network: str, said: str, missing: str) -> None:
    with pytest.raises(ConfigError, match=rf"model\.network = {network}: .*{re.escape(missing)}"):
        load_config(None, [*SMALL, said, f"model.network={network}"])


def test_a_latent_that_the_unet_cannot_halve_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"halves it twice\. Nearest valid values: 32 and 48"):
        load_config(None, [*SMALL, *CLASS_ONLY, "model.network=unet", "data.image_size=40"])


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("sizes", [(), ("model.width=64", "model.depth=4", "data.image_size=64")])
def test_forecasts_know_the_parameters_and_operations_of_each_network(network: str, sizes: tuple[str, ...]) -> None:
    config = load_config(None, [*SMALL, *CLASS_ONLY, f"model.network={network}", *sizes])
    model = build_network(config, num_classes=CLASSES, latent_channels=4, context_width=WIDTH)
    size = network_cost(config, CLASSES)
    assert size.parameters == sum(weight.numel() for weight in model.parameters())
    counted = count_flops(model, (4, config.latent_side, config.latent_side), TOKENS, WIDTH)
    assert size.flops == pytest.approx(counted, rel=0.05)


RELEASED = (
    "prototypes.after=middle",
    "prototypes.injection=released",
    "prototypes.target=released",
    "label_token=false",
)


BLOCK = ("prototypes.enabled=false", "prototypes.replacement=block")
SWITCHES = ("qk_norm=true", "rope=true", "time_mlp=true", "label_tokens=3", "mlp=swiglu")


@pytest.mark.parametrize(
    "options", [(), ("prototypes.injection=cross_attention",), ("label_token=false",), RELEASED, BLOCK, SWITCHES]
)
def test_forecasts_know_the_options_of_the_prototypes(options: tuple[str, ...]) -> None:
    config = load_config(
        None, [*SMALL, "model.width=64", "data.image_size=64", *(f"model.{option}" for option in options)]
    )
    tokens = round(tokens_of_a_caption(config))
    model = build_network(config, num_classes=CLASSES, latent_channels=4, context_width=context_width(config))
    size = network_cost(config, CLASSES)
    assert size.parameters == sum(weight.numel() for weight in model.parameters())
    counted = count_flops(model, (4, config.latent_side, config.latent_side), tokens, context_width(config))
    assert size.flops == pytest.approx(counted, rel=0.05)


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        (("null_text=empty",), "text_encoder.context_length=full"),
        (("label_token=false", "prototypes.enabled=false"), "the network has no class input"),
    ],
)
def test_released_options_that_cannot_work_are_refused(said: tuple[str, ...], missing: str) -> None:
    with pytest.raises(ConfigError, match=missing):
        load_config(None, [*SMALL, *(f"model.{option}" for option in said)])


@pytest.mark.parametrize("network", ["dit", "unet"])
@pytest.mark.parametrize("switch", SWITCHES)
def test_switches_of_the_uvit_are_refused_for_a_baseline(network: str, switch: str) -> None:
    said = rf"model\.{switch.partition('=')[0]} = .*only model\.network=uvit reads it, not {network}"
    with pytest.raises(ConfigError, match=said):
        load_config(None, [*SMALL, *CLASS_ONLY, f"model.network={network}", f"model.{switch}"])


def test_heads_too_narrow_for_a_rotation_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.rope = true: needs heads of width 4 or more, got 2"):
        load_config(None, [*SMALL, "model.rope=true", "model.num_heads=16"])


@pytest.mark.parametrize("patches", [1, 2])
def test_operations_are_those_of_the_matrices(patches: int) -> None:
    linear = torch.nn.Linear(8, 16)

    class Network(torch.nn.Module):
        def forward(self, noisy: Tensor, *rest: Tensor, reconstruct: bool) -> Tensor:
            return linear(noisy.flatten(1)[:, : 8 * patches].view(patches, 8))

    assert count_flops(Network(), (4, 4, 4), 1, 1) == 2 * patches * 8 * 16


class TestClassBalancing:
    """What is predicted for a class is drawn towards what is predicted for others."""

    @staticmethod
    def losses(batch: list[Tensor], tau: float, drop: float = 0.0) -> tuple[Network, Tensor, Tensor]:
        model = awaken(build("uvit"))
        other = draw_other_labels(0, 0, range(4), CLASSES)
        draws = draw_training(0, 0, range(4), (4, 8, 8), levels=NoiseLevels.uniform(1000), drop_probability=drop)
        found = denoising_loss(model, NOISE, batch[0], *batch[2:], draws, 0.0, ClassBalancing(tau, other))
        with torch.no_grad():
            noisy = NOISE.schedule.add_noise(batch[0], draws.noise, draws.step_B)
            distance = model(noisy, draws.step_B, *batch[2:]).output_BCHW
            distance = distance - model(noisy, draws.step_B, other, *batch[3:]).output_BCHW
            wanted = tau * (draws.step_B * distance.square().mean(dim=(1, 2, 3))).mean() * (1 + COMMITMENT)
        found.total.backward()
        return model, found.balancing.detach(), wanted

    def test_it_is_the_formula(self, batch: list[Tensor]) -> None:
        _, found, wanted = self.losses(batch, tau=0.001)
        assert wanted > 0
        assert torch.allclose(found, wanted, rtol=1e-4)

    def test_rows_without_a_class_have_none_to_balance(self, batch: list[Tensor]) -> None:
        assert self.losses(batch, tau=0.001, drop=1.0)[1] == 0

    def test_at_weight_zero_the_gradient_is_that_of_the_plain_loss(self, batch: list[Tensor]) -> None:
        balanced, _, _ = self.losses(batch, tau=0.0)
        plain = awaken(build("uvit"))
        draws = draw_training(0, 0, range(4), (4, 8, 8), levels=NoiseLevels.uniform(1000), drop_probability=0.0)
        denoising_loss(plain, NOISE, batch[0], *batch[2:], draws, 0.0).total.backward()
        for one, other in zip(balanced.parameters(), plain.parameters(), strict=True):
            assert torch.allclose(one.grad, other.grad, atol=1e-6)

    def test_the_drawn_classes_are_a_function_of_seed_step_and_place(self) -> None:
        whole = draw_other_labels(7, 3, range(200), 5)
        assert torch.equal(whole[20:30], draw_other_labels(7, 3, range(20, 30), 5))
        assert set(whole.tolist()) == set(range(5))
        assert not torch.equal(whole, draw_other_labels(7, 4, range(200), 5))
