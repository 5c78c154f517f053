"""Error of bfloat16 network calls on the weights that come with vapray."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import vapray
from vapray.models import precision
from vapray.models.precision import matrix_products
from vapray.models.text_tokens import TextShape
from vapray.sampling.sampler import Sampler
from vapray.training.network import build_parameterization

WEIGHTS = Path(vapray.__file__).parent / "pretrained" / "phantoms" / "final"
LABELS = [0, 1, 2, 3, 4, 0, 1, 2]


@cache
def opened() -> tuple[Sampler, list[str], Tensor]:
    """The sampler, a caption of each label, and clean latents of images for them."""
    sampler = Sampler.load(str(WEIGHTS))
    captions = [sampler.bank.captions(label)[number] for number, label in enumerate(LABELS)]
    images = [sampler.generate(label, caption)[0].pixels for label, caption in zip(LABELS, captions, strict=True)]
    moments = sampler.autoencoder.encode_moments(np.stack(images)).float()
    return sampler, captions, sampler.space.normalize(moments[:, : sampler.space.channels])


@torch.no_grad()
@pytest.mark.parametrize("step", [50, 300, 600, 950])
def test_a_network_call_in_bfloat16_is_near_that_in_float32(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    sampler, captions, clean = opened()
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: True)
    contexts = [torch.from_numpy(context).float() for context in sampler.encoder.encode(captions)]
    lengths, steps = torch.tensor([len(context) for context in contexts]), torch.full((len(LABELS),), step)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(step))
    noisy = build_parameterization(sampler.config).schedule.add_noise(clean, noise, steps)

    def call(dtype: precision.Precision) -> Tensor:
        with matrix_products(dtype, torch.device("cpu")):
            return sampler.network(
                noisy,
                steps,
                torch.tensor(LABELS),
                torch.nn.utils.rnn.pad_sequence(contexts, batch_first=True),
                lengths,
                text_shape=TextShape.of(lengths, torch.zeros(len(LABELS))),
                reconstruct=False,
            ).output_BCHW

    exact, rounded = call("float32"), call("bfloat16")
    assert 1e-3 < ((rounded - exact).norm() / exact.norm()).item() < 0.03
