"""Laws of the normalization of queries and keys."""

import pytest
import torch
from torch.nn import functional

from vapray.models.layers import HeadNorm


@pytest.mark.parametrize("heads", [1, 3])
def test_each_head_is_normalized_as_by_torch_with_its_gradients(heads: int) -> None:
    torch.manual_seed(0)
    norm = HeadNorm(12, heads)
    torch.nn.init.normal_(norm.norm.weight)
    x, gradient = torch.randn(2, 5, 12, requires_grad=True), torch.randn(2, 5, 12)
    gain = norm.norm.weight.detach().clone().requires_grad_()
    wanted = functional.rms_norm(x.unflatten(2, (heads, -1)), gain.shape, gain, 1e-6).flatten(2)
    of_x, of_gain = torch.autograd.grad(wanted, (x, gain), gradient)
    found = norm(x)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    ours = torch.autograd.grad(found, (x, norm.norm.weight), gradient)
    torch.testing.assert_close(ours, (of_x, of_gain), rtol=1e-5, atol=1e-6)


def test_it_computes_in_float32_and_its_gradient_is_the_derivative() -> None:
    torch.manual_seed(0)
    norm = HeadNorm(8, 2)
    coarse = torch.randn(1, 3, 8).bfloat16()
    assert norm(coarse).dtype == torch.bfloat16
    torch.testing.assert_close(norm(coarse), norm(coarse.float()).bfloat16(), rtol=0, atol=0)
    x, along, step = torch.randn(1, 3, 8, requires_grad=True), torch.randn(1, 3, 8), 1e-2
    (slope,) = torch.autograd.grad((norm(x) * along).sum(), x)
    moved = [((norm(x + sign * step * along) - norm(x)) * along).sum().item() / step for sign in (1, -1)]
    assert (slope * along).sum().item() == pytest.approx((moved[0] - moved[1]) / 2, rel=1e-2)
    norm(torch.zeros(1, 3, 8, requires_grad=True)).sum().backward()
    assert norm.norm.weight.grad.isfinite().all()
