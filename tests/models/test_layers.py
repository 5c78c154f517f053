"""Laws of layers in the dtype of their input, and of copies of their weights."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.training.tiny import SPACE, tiny_config, tiny_rows, tiny_state
from vapray.models.attention import attend, attention_bias
from vapray.models.layers import LayerNorm, Linear, weights_in
from vapray.models.precision import matrix_products
from vapray.models.text_tokens import TextShape
from vapray.training.batches import Batches

CPU = torch.device("cpu")


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(Linear(12, 20), LayerNorm(20), nn.GELU(), Linear(20, 7, bias=False))


def outcome(model: nn.Sequential, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
    output = model(inputs)
    output.float().square().sum().backward()
    gradients = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()
    return output, gradients


def test_copies_made_together_are_those_made_one_by_one() -> None:
    model, inputs = layers(), torch.randn(3, 5, 12).bfloat16()
    wanted, wanted_gradients = outcome(model, inputs)
    for parts in ([[model]], [[model[0]], [model[1], model[3]]]):
        with weights_in(torch.bfloat16, parts):
            found, gradients = outcome(model, inputs)
        assert torch.equal(found, wanted)
        assert all(torch.equal(*pair) for pair in zip(gradients, wanted_gradients, strict=True))
        assert {gradient.dtype for gradient in gradients} == {torch.float32}


def test_copies_end_with_their_context() -> None:
    model = layers()
    with weights_in(torch.bfloat16, [[model]]):
        assert model[0].cast is not None
        with pytest.raises(RuntimeError, match="shape"):
            model(torch.zeros(2, 11).bfloat16())
    assert all(layer.cast is None for layer in (model[0], model[1], model[3]))


def test_a_second_user_of_the_layers_changes_no_result_of_the_first() -> None:
    model, inputs = layers(), torch.randn(3, 5, 12).bfloat16()
    wanted = model(inputs)
    with weights_in(torch.bfloat16, [[model]]):
        with weights_in(torch.bfloat16, [[model]]):
            assert torch.equal(model(inputs), wanted)
        assert model[0].cast is None  # as after the end of another thread's call
        assert torch.equal(model(inputs), wanted)


def test_a_weight_that_is_not_used_gets_no_gradient() -> None:
    model = layers()
    with weights_in(torch.bfloat16, [[model]]):
        model[0](torch.randn(2, 12).bfloat16()).float().sum().backward()
    assert model[0].weight.grad is not None
    assert model[3].weight.grad is None


@pytest.mark.parametrize("length", [1, 7, 8, 9, 24])
def test_a_bias_hides_padding_as_a_mask_does(length: int) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(3, length, 8) for _ in range(3))
    real = torch.arange(length) < torch.tensor([1, length, -(-length // 2)])[:, None]
    bias = attention_bias(real, torch.float32)
    q, k, v = (x.unflatten(2, (2, 4)).transpose(1, 2) for x in (query, key, value))
    masked = F.scaled_dot_product_attention(q, k, v, attn_mask=real[:, None, None]).transpose(1, 2).flatten(2)
    assert torch.equal(attend(query, key, value, 2, bias), masked)
    assert bias is not None
    assert bias.stride(0) % 8 == 0
    assert attention_bias(None, torch.float32) is None


def test_facts_of_texts_are_read_or_told() -> None:
    shape = TextShape.of(torch.tensor([3, 9, 1]), torch.tensor([False, False, True]))
    assert shape == TextShape(9, 3, True)
    assert TextShape.of(torch.tensor([4]), torch.tensor([True])) == TextShape(4, None, True)
    assert [shape.is_padded(length, 3) for length in (3, 4)] == [False, True]
    assert [TextShape(9, None, True).is_padded(length, 5) for length in (5, 6)] == [False, True]
    assert [TextShape(9, 4, False).is_padded(length, 1) for length in (4, 9)] == [False, True]


def test_tokens_are_bfloat16_from_the_first_block_to_the_last(with_bfloat16_units: None) -> None:
    """The residual stream included; the output, L_recon and gradients are float32 and near float32's."""
    config = tiny_config("model.depth=4")
    model, batch = tiny_state(config).model, Batches(config, tiny_rows(), SPACE, rank=0, world=1).at(0)
    seen: list[torch.dtype] = []
    for block in model.blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    inputs = (batch.clean_BCHW, batch.draws.step_B, *batch.to(CPU)[1:], batch.draws.drop_B)
    wanted = model(*inputs).output_BCHW
    assert set(seen) == {torch.float32}
    seen.clear()
    with matrix_products("bfloat16", CPU):
        found = model(*inputs)
    assert set(seen) == {torch.bfloat16}
    assert len(seen) == 5
    assert (found.output_BCHW.dtype, found.reconstruction_B.dtype) == (torch.float32, torch.float32)
    assert 0 < (found.output_BCHW - wanted).norm() / wanted.norm() < 0.02
    found.output_BCHW.square().mean().backward()
    assert {weight.grad.dtype for weight in model.parameters() if weight.grad is not None} == {torch.float32}
