"""Laws of the Prototype Condition Mechanism by itself."""

import pytest
import torch
from scipy.optimize import linprog

from vapray.models.attention import CrossAttention
from vapray.models.health import prototype_health
from vapray.models.prototypes import OURS, PrototypeCondition, PrototypeOptions
from vapray.models.reconstruction import mix_prototypes


def small_prototypes(options: PrototypeOptions = OURS, **changes: object) -> PrototypeCondition:
    torch.manual_seed(0)
    arguments = {"num_classes": 2, "prototypes_per_class": 6, "width": 8, "num_heads": 2, **changes}
    return PrototypeCondition(**arguments, options=options)  # type: ignore[arg-type]


def in_convex_hull(point: torch.Tensor, corners: torch.Tensor) -> bool:
    """Whether weights >= 0 with sum 1 rebuild the point to 1e-6."""
    count = len(corners)
    rows = torch.cat([corners.T, -corners.T]).double().numpy()
    bounds = torch.cat([point, -point]).double().numpy() + 1e-6
    return linprog([0] * count, A_ub=rows, b_ub=bounds, A_eq=[[1] * count], b_eq=[1]).status == 0


def test_each_heads_slice_of_a_mixture_lies_in_the_convex_hull() -> None:
    torch.manual_seed(1)
    tokens, prototypes = 5 * torch.randn(2, 4, 6), torch.randn(2, 5, 6)
    mixed = mix_prototypes(tokens, prototypes, 2)
    for row in range(2):
        for head in (slice(0, 3), slice(3, 6)):
            corners = prototypes[row, :, head]
            assert all(in_convex_hull(token[head], corners) for token in mixed[row])
            assert not in_convex_hull(3 * corners.norm(dim=1).max() * torch.ones(3), corners)


def test_widths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 6 in 4 equal heads, got 6"):
        mix_prototypes(torch.zeros(1, 2, 6), torch.zeros(1, 2, 6), 4)
    with pytest.raises(ValueError, match="expected 6 in 2 equal heads, got 8"):
        mix_prototypes(torch.zeros(1, 2, 6), torch.zeros(1, 2, 8), 2)


def test_only_z_starts_at_zero_and_prototypes_start_small() -> None:
    condition = small_prototypes(width=64, prototypes_per_class=50)
    weights = {name: p for name, p in condition.named_parameters() if p.ndim > 1}
    assert [name for name, weight in weights.items() if not weight.any()] == ["injection.inject.weight"]
    assert condition.prototypes.shape == (3, 50, 64)
    assert condition.prototypes.std().item() == pytest.approx(0.02, rel=0.05)


def test_the_loss_sends_no_gradient_into_the_encoder_unless_as_released() -> None:
    tokens = torch.randn(2, 5, 8, requires_grad=True)
    row = torch.tensor([0, 2])
    for target, reaches in (("stop_gradient", False), ("released", True)):
        condition = small_prototypes(PrototypeOptions(target=target))
        loss = condition.reconstruction_loss(tokens, row, None).mean()
        (gradient,) = torch.autograd.grad(loss, tokens, allow_unused=True, retain_graph=True)
        assert (gradient is not None) == reaches
        (on_prototypes,) = torch.autograd.grad(loss, condition.prototypes)
        assert on_prototypes[[0, 2]].abs().amax(dim=(1, 2)).min() > 0
        assert not on_prototypes[1].any()


def test_the_loss_does_not_grow_with_the_residual_stream() -> None:
    tokens, row = torch.randn(2, 5, 8), torch.tensor([0, 1])
    condition = small_prototypes()
    small, large = (condition.reconstruction_loss(scale * tokens, row, None) for scale in (1, 1000))
    assert torch.allclose(small, large, rtol=1e-3)
    assert torch.allclose(small, torch.ones(2), atol=0.05)


def test_padding_is_not_reconstructed() -> None:
    tokens, row = torch.randn(1, 5, 8), torch.tensor([1])
    condition = small_prototypes()
    real = torch.tensor([[True, True, False, True, False]])
    padded = condition.reconstruction_loss(tokens, row, real)
    assert torch.allclose(padded, condition.reconstruction_loss(tokens[:, real[0]], row, None))
    assert not torch.allclose(padded, condition.reconstruction_loss(tokens, row, None), rtol=1e-6)


def test_prototypes_learn_to_rebuild_features_of_their_class() -> None:
    condition = small_prototypes()
    torch.manual_seed(2)
    kinds = torch.randn(3, 4, 8)
    row = torch.arange(3).repeat(8)
    tokens = kinds[row].repeat(1, 2, 1)
    optimizer = torch.optim.Adam(condition.parameters(), lr=0.03)
    for _ in range(150):
        optimizer.zero_grad()
        condition.reconstruction_loss(tokens, row, None).mean().backward()
        optimizer.step()
    own = condition.reconstruction_loss(tokens, row, None).mean()
    other = condition.reconstruction_loss(tokens, (row + 1) % 3, None).mean()
    assert own < 0.05 < 0.5 < other


def test_conditioning_is_the_same_whether_rows_or_prototypes_are_projected_first() -> None:
    condition = small_prototypes()
    for parameter in condition.parameters():
        torch.nn.init.normal_(parameter)
    tokens, row = torch.randn(5, 4, 8), torch.tensor([0, 1, 2, 1, 0])
    together = condition(tokens, row, None).tokens_BLD
    alone = torch.cat([condition(tokens[[i]], row[[i]], None).tokens_BLD for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together, tokens, atol=1e-2)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_the_weights_of_an_attention_are_those_of_its_forward_pass(qk_norm: bool) -> None:
    torch.manual_seed(3)
    attention = CrossAttention(8, 2, qk_norm=qk_norm)
    tokens, memory, row = torch.randn(2, 5, 8), torch.randn(3, 6, 8), torch.tensor([2, 0])
    weights = attention.weights(tokens, memory, row)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 2, 5))
    value = attention.key_value(memory[row]).chunk(2, dim=-1)[1].unflatten(2, (2, 4)).transpose(1, 2)
    mixed = attention.out((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(mixed, attention(tokens, memory, row))


def test_health_knows_a_spread_from_a_cluster() -> None:
    spread = prototype_health(torch.eye(4).expand(2, 4, 4))
    cluster = prototype_health(torch.ones(2, 4, 4))
    assert spread == pytest.approx({"effective_rank": 4.0, "mean_pairwise_cosine": 0.0}, abs=1e-6)
    assert cluster == pytest.approx({"effective_rank": 1.0, "mean_pairwise_cosine": 1.0}, abs=1e-6)


@pytest.mark.parametrize("wrong", [{"num_heads": 3}, {"num_classes": 0}])
def test_impossible_prototypes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expected .* got"):
        small_prototypes(**wrong)
