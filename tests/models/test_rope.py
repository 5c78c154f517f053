"""Laws of the rotation of patches by row and column, alone and in the assembled U-ViT."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from vapray.models import attention
from vapray.models.network_config import UViTConfig
from vapray.models.prototypes import PrototypeOptions
from vapray.models.rope import axial_rotation, rotate
from vapray.models.uvit import UViT, build_uvit

SIDE, OTHERS, CPU = 4, 5, torch.device("cpu")
SIZES: dict[str, Any] = {
    "latent_side": 8, "latent_channels": 2, "patch_size": 2, "width": 24, "depth": 2, "num_classes": 3,
    "context_width": 6, "max_context": 9,
}  # fmt: skip
CONDITIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "pcm": {"prototypes": PrototypeOptions()},
    "matched": {"prototypes": PrototypeOptions(), "matched_block": True},
}
HEADS = [2, 3, 4]  # heads of 12, 8 and 6 values; of the last ones two do not turn


def uvit(*, rope: bool = True, num_heads: int = 2, **options: Any) -> UViT:
    return build_uvit(UViTConfig(**SIZES, num_heads=num_heads, rope=rope, **options), seed=0)


def awaken(model: UViT) -> UViT:
    """Weights far from their init, so that every path shows in the output."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    return model


def inputs(text_tokens: int = 6) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    noisy, context = torch.randn(3, 2, 8, 8, generator=generator), torch.randn(3, 9, 6, generator=generator)
    length = torch.tensor([4, 1, 3]).clamp(max=text_tokens)
    return noisy, torch.tensor([1, 500, 1000]), torch.tensor([0, 1, 2]), context[:, :text_tokens], length


def randn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def rotated(monkeypatch) -> list[tuple[int, ...]]:
    """Shapes of the queries and keys that a network rotates."""
    shapes: list[tuple[int, ...]] = []

    def count(x: Tensor, rotation_2LF: Tensor) -> Tensor:
        shapes.append(tuple(x.shape))
        return rotate(x, rotation_2LF)

    monkeypatch.setattr(attention, "rotate", count)
    return shapes


@pytest.mark.parametrize("head_width", [4, 8, 22])
def test_scores_of_equal_patches_depend_on_their_offset_alone(head_width: int) -> None:
    rotation = axial_rotation(SIDE**2, OTHERS, head_width, CPU)
    query, key = (x.expand(1, 2, OTHERS + SIDE**2, -1) for x in randn(2, 1, 2, 1, head_width))
    score_HPP = (rotate(query, rotation) @ rotate(key, rotation).mT)[0, :, OTHERS:, OTHERS:]
    by_offset: dict[tuple[int, int], list[Tensor]] = {}
    for one in range(SIDE**2):
        for other in range(SIDE**2):
            offset = (other // SIDE - one // SIDE, other % SIDE - one % SIDE)
            by_offset.setdefault(offset, []).append(score_HPP[:, one, other])
    assert len(by_offset) == (2 * SIDE - 1) ** 2
    for scores in by_offset.values():
        torch.testing.assert_close(torch.stack(scores), scores[0].expand(len(scores), -1), rtol=1e-5, atol=1e-5)
    means = torch.stack([scores[0] for scores in by_offset.values()])
    assert all(torch.pdist(means[:, [head]]).min() > 1e-4 for head in range(2))


@pytest.mark.parametrize("others", [0, 1, OTHERS])
def test_tokens_before_the_patches_and_values_that_are_left_over_do_not_turn(others: int) -> None:
    x = randn(2, 3, others + SIDE**2, 22)
    turned = rotate(x, axial_rotation(SIDE**2, others, 22, CPU))
    assert torch.equal(turned[:, :, : others + 1], x[:, :, : others + 1])  # the first patch is at row 0, column 0
    assert torch.equal(turned[..., 20:], x[..., 20:])
    assert (turned[:, :, others + 1 :] != x[:, :, others + 1 :])[..., :20].any(dim=-1).all()
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    without = rotate(x[:, :, others:], axial_rotation(SIDE**2, 0, 22, CPU))
    assert torch.equal(turned[:, :, others:], without)


def test_bfloat16_is_rotated_in_float32() -> None:
    x, rotation = randn(2, 3, SIDE**2, 8).bfloat16(), axial_rotation(SIDE**2, 0, 8, CPU)
    with torch.autocast("cpu", torch.bfloat16):
        turned = rotate(x, rotation)
    assert turned.dtype == torch.bfloat16 and rotation.dtype == torch.float32
    assert torch.equal(turned, rotate(x.float(), rotation).bfloat16())


@pytest.mark.parametrize("condition", CONDITIONS)
def test_weights_are_the_same_with_it_and_without(condition: str) -> None:
    on, off = (uvit(rope=rope, **CONDITIONS[condition]) for rope in (True, False))
    assert on.state_dict().keys() == off.state_dict().keys() and not [*on.buffers()]
    assert all(torch.equal(weight, off.state_dict()[name]) for name, weight in on.state_dict().items())


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("qk_norm", [False, True])
@torch.no_grad()
def test_it_turns_queries_and_keys_of_the_blocks_and_of_nothing_else(condition: str, qk_norm: bool, rotated) -> None:
    options = {**CONDITIONS[condition], "qk_norm": qk_norm}
    on, off = (awaken(uvit(rope=rope, **options)) for rope in (True, False))
    with_it = on(*inputs()).output_BCHW
    assert rotated == [(3, 2, 1 + 1 + 6 + 16, 12)] * 2 * (SIZES["depth"] + 1)
    without = off(*inputs()).output_BCHW
    assert len(rotated) == 2 * (SIZES["depth"] + 1)
    assert ((with_it - without).abs().amax(dim=(1, 2, 3)) > 1e-3).all()


@torch.no_grad()
def test_an_untrained_pcm_changes_nothing() -> None:
    plain, conditioned, matched = (uvit(**options)(*inputs()).output_BCHW for options in CONDITIONS.values())
    assert torch.equal(plain, conditioned) and torch.equal(plain, matched)


@pytest.mark.parametrize("num_heads", HEADS)
@torch.no_grad()
def test_padding_changes_nothing(num_heads: int) -> None:
    model = awaken(uvit(num_heads=num_heads, prototypes=PrototypeOptions()))
    torch.testing.assert_close(model(*inputs(9)).output_BCHW, model(*inputs(4)).output_BCHW, rtol=0, atol=1e-5)


@pytest.mark.parametrize("num_heads", HEADS)
def test_gradients_are_the_same_with_recomputed_activations_and_near_in_bfloat16(num_heads: int) -> None:
    kept = awaken(uvit(num_heads=num_heads, qk_norm=True, prototypes=PrototypeOptions()))
    recomputed, half = copy.deepcopy(kept), copy.deepcopy(kept)
    recomputed.recompute_activations()
    for model in (kept, recomputed, half):
        with torch.autocast("cpu", torch.bfloat16, enabled=model is half):
            model(*inputs()).output_BCHW.square().mean().backward()
    for (name, one), two, three in zip(
        kept.named_parameters(), recomputed.parameters(), half.parameters(), strict=True
    ):
        if one.grad is None:  # the class-free text, and L_recon
            assert two.grad is None and three.grad is None, name
            continue
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-5, atol=1e-6, msg=name)
        assert (three.grad - one.grad).norm() <= 0.1 * one.grad.norm() + 1e-3, name
