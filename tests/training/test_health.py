"""What is measured of prototypes says what it claims, and disturbs nothing."""

import pytest
import torch

from tests.training.tiny import SPACE, run, tiny_config, tiny_rows, tiny_state
from vapray.models.health import attention_health
from vapray.models.prototypes import PrototypeCondition
from vapray.training.batches import Batches
from vapray.training.health import measure_prototypes
from vapray.training.network import build_parameterization


def condition(prototypes: torch.Tensor, scale: float) -> PrototypeCondition:
    """Tokens ask with ``scale`` times themselves."""
    classes, count, width = prototypes.shape
    pcm = PrototypeCondition(num_classes=classes - 1, prototypes_per_class=count, width=width, num_heads=1)
    with torch.no_grad():
        pcm.prototypes.copy_(prototypes)
        pcm.reconstruction.query.weight.copy_(scale * torch.eye(width))
    return pcm


def test_prototypes_that_are_alike_are_used_alike():
    pcm = condition(torch.ones(2, 4, 8), 1.0)
    health = attention_health(pcm, torch.randn(3, 5, 8), torch.tensor([0, 1, 0]), None)
    assert health == pytest.approx({"attention_entropy": 1.0, "prototype_usage": 1.0})


def test_one_prototype_that_takes_all_is_a_usage_of_one_in_p():
    prototypes = torch.zeros(2, 4, 8)
    prototypes[:, 2, 0] = 1.0
    tokens = torch.zeros(3, 5, 8)
    tokens[:, :, 0] = 1.0
    health = attention_health(condition(prototypes, 1e4), tokens, torch.zeros(3, dtype=torch.int64), None)
    assert health == pytest.approx({"attention_entropy": 0.0, "prototype_usage": 0.25}, abs=1e-5)


def test_tokens_that_each_take_another_prototype_use_all_with_no_entropy():
    prototypes = torch.eye(4, 8).repeat(2, 1, 1)
    tokens = torch.eye(4, 8)[None]
    health = attention_health(condition(prototypes, 1e4), tokens, torch.zeros(1, dtype=torch.int64), None)
    assert health == pytest.approx({"attention_entropy": 0.0, "prototype_usage": 1.0}, abs=1e-5)


def test_padding_has_no_say():
    pcm = condition(torch.randn(2, 4, 8), 3.0)
    tokens, rows = torch.randn(2, 5, 8), torch.tensor([0, 1])
    padded = torch.cat([tokens, 100 * torch.randn(2, 3, 8)], dim=1)
    real = (torch.arange(8) < 5).expand(2, 8)
    assert attention_health(pcm, padded, rows, real) == pytest.approx(attention_health(pcm, tokens, rows, None))


def measured(config, state, alpha):
    batch = Batches(config, tiny_rows(), SPACE, rank=0, world=1).at(0)
    return measure_prototypes(state.model, build_parameterization(config), batch, alpha)


def test_the_ratio_of_gradients_grows_with_alpha_and_is_left_out_without_a_denoising_gradient():
    config = tiny_config("train.steps=4")
    trained = run(config, tiny_state(config))
    one, three = (measured(config, trained, alpha)["gradient_ratio"] for alpha in (1.0, 3.0))
    assert three == pytest.approx(3 * one) and one > 0
    assert "gradient_ratio" not in measured(config, tiny_state(config), 1.0)  # Z is zero: the prototypes do nothing yet


def test_measuring_changes_no_weight_gradient_or_generator():
    config = tiny_config("train.steps=2")
    state = run(config, tiny_state(config))
    before, generator = state.to_files(), torch.get_rng_state()
    gradients = {name: None if w.grad is None else w.grad.clone() for name, w in state.model.named_parameters()}
    measured(config, state, 1.0)
    assert state.to_files() == before
    assert torch.equal(torch.get_rng_state(), generator)
    for name, weight in state.model.named_parameters():
        assert (weight.grad is None) == (gradients[name] is None)
        assert weight.grad is None or torch.equal(weight.grad, gradients[name])
    assert not state.model.prototypes._forward_pre_hooks


def test_how_often_the_curve_has_a_point_changes_no_weight():
    often, seldom = tiny_config("train.log_every=1"), tiny_config("train.log_every=6")
    files = [run(config, tiny_state(config)).to_files() for config in (often, seldom)]
    assert files[0]["raw.safetensors"] == files[1]["raw.safetensors"]


def test_a_network_without_prototypes_has_no_health():
    config = tiny_config("model.prototypes.enabled=false")
    assert "effective_rank" not in run(config, tiny_state(config)).curve[0]
