"""A block in the PCM's place: as many parameters, the same other weights, nothing of the class."""

import pytest
import torch

from vapray.models.network_config import UViTConfig
from vapray.models.prototypes import PrototypeOptions, PrototypePlace
from vapray.models.uvit import UViT, build_uvit

SIZES = {"latent_side": 8, "latent_channels": 4, "patch_size": 2, "depth": 2, "num_heads": 4, "num_classes": 3}


def uvit(pcm: PrototypeOptions | None, *, matched: bool = False, width: int = 32) -> UViT:
    return build_uvit(
        UViTConfig(prototypes=pcm, matched_block=matched, width=width, context_width=12, max_context=9, **SIZES), seed=0
    )


def parameters(model: UViT) -> int:
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("width", [32, 64, 128])
@pytest.mark.parametrize(
    "options", [PrototypeOptions(), PrototypeOptions(per_class=100), PrototypeOptions(per_class=1)]
)
def test_it_has_as_many_parameters_as_the_pcm(width: int, options: PrototypeOptions) -> None:
    with_pcm, with_block = (parameters(uvit(options, matched=matched, width=width)) for matched in (False, True))
    assert abs(with_block - with_pcm) <= width + 1


def test_the_other_weights_are_those_without_it_and_it_starts_as_the_identity() -> None:
    plain, matched = uvit(None), uvit(PrototypeOptions(), matched=True)
    found = matched.state_dict()
    assert all(torch.equal(found[name], weight) for name, weight in plain.state_dict().items())
    inputs = _inputs()
    assert torch.equal(plain(*inputs).output_BCHW, matched(*inputs).output_BCHW)
    assert not matched(*inputs).reconstruction_B.any()


@pytest.mark.parametrize("after", ["encoder", "middle"])
def test_it_takes_part_once_it_has_learned(after: PrototypePlace) -> None:
    matched = uvit(PrototypeOptions(after=after), matched=True)
    before = matched(*_inputs()).output_BCHW
    assert matched.matched_block is not None
    torch.nn.init.normal_(matched.matched_block.inject.weight)
    assert not torch.allclose(matched(*_inputs()).output_BCHW, before)


def _inputs() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    noisy, context = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 5, 12, generator=generator)
    return noisy, torch.tensor([1, 700]), torch.tensor([0, 2]), context, torch.tensor([5, 3])
