"""Laws of the latent space."""

import json

import numpy as np
import pytest
import torch

from vapray.errors import DataError
from vapray.latents.latent_space import (
    LatentSpace,
    LatentStatistics,
    flip_pair,
    sample_latent,
    split_moments,
)


def make_moments(count: int = 64, channels: int = 3, seed: int = 0) -> torch.Tensor:
    noise = torch.Generator().manual_seed(seed)
    level = torch.tensor([5.0, -40.0, 0.0]).view(-1, 1, 1)
    spread = torch.tensor([0.1, 3.0, 20.0]).view(-1, 1, 1)
    mean = torch.randn(count, channels, 4, 4, generator=noise) * spread + level
    return torch.cat([mean, torch.randn(count, channels, 4, 4, generator=noise) - 2], dim=1)


def test_normalized_latents_have_mean_0_and_sd_1_in_every_channel() -> None:
    statistics = LatentStatistics()
    moments = make_moments(400)
    statistics.update(moments)
    latents = sample_latent(moments, torch.randn(400, 3, 4, 4, generator=torch.Generator().manual_seed(9)))
    normalized = statistics.space(side=4).normalize(latents)
    assert torch.allclose(normalized.mean((0, 2, 3)), torch.zeros(3), atol=0.05)
    assert torch.allclose(normalized.std((0, 2, 3)), torch.ones(3), atol=0.05)


def test_merging_accumulators_equals_one_pass() -> None:
    moments = make_moments(60)
    once, merged = LatentStatistics(), LatentStatistics()
    once.update(moments)
    for part in (moments[:7], moments[7:8], moments[8:].numpy()):
        other = LatentStatistics()
        other.update(part)
        merged.merge(other)
    merged.merge(LatentStatistics())
    assert merged.count == once.count
    np.testing.assert_allclose(merged.space(4).shift, once.space(4).shift, rtol=1e-12)
    np.testing.assert_allclose(merged.space(4).scale, once.space(4).scale, rtol=1e-12)


def test_denormalize_undoes_normalize() -> None:
    space = LatentSpace(3, 4, (5.0, -40.0, 0.0), (0.1, 3.0, 20.0))
    raw, _ = split_moments(make_moments())
    assert torch.allclose(space.denormalize(space.normalize(raw)), raw, atol=1e-4)


def test_a_space_survives_json() -> None:
    space = LatentSpace(2, 8, (0.1, -1 / 3), (1 / 0.18215, 2.0))
    assert LatentSpace.from_record(json.loads(json.dumps(space.to_record()))) == space


def test_the_latent_is_the_mean_plus_noise_by_the_standard_deviation() -> None:
    moments = torch.tensor([1.0, 2 * np.log(3.0)]).view(1, 2, 1, 1)
    noise = torch.tensor([-1.0, 0.0, 2.0]).view(3, 1, 1, 1)
    assert sample_latent(moments, noise).flatten().tolist() == pytest.approx([-2.0, 1.0, 7.0])
    extreme = torch.tensor([[0.0, -1e9], [0.0, 1e9]]).view(2, 2, 1, 1)
    assert split_moments(extreme)[1].flatten().tolist() == [-30.0, 20.0]


def test_the_second_of_a_flip_pair_is_the_mirror_image() -> None:
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    straight, mirrored = flip_pair(images)
    assert np.array_equal(straight, images)
    assert np.array_equal(mirrored[:, :, 0], images[:, :, -1])
    assert np.array_equal(flip_pair(mirrored)[1], images)


def test_spaces_that_cannot_normalize_are_refused() -> None:
    for shift, scale in [((0.0,), (1.0, 1.0)), ((0.0, 0.0), (1.0, 0.0)), ((0.0, float("nan")), (1.0, 1.0))]:
        with pytest.raises(DataError, match="expected"):
            LatentSpace(2, 8, shift, scale)
    with pytest.raises(DataError, match="expected 2 channels"):
        LatentSpace(2, 8, (0.0, 0.0), (1.0, 1.0)).normalize(torch.zeros(1, 3, 8, 8))
    with pytest.raises(DataError, match="no latents"):
        LatentStatistics().space(8)
    constant, three, two = LatentStatistics(), LatentStatistics(), LatentStatistics()
    constant.update(torch.cat([torch.ones(4, 2, 2, 2), torch.full((4, 2, 2, 2), -1e9)], dim=1) * 0)
    three.update(make_moments())
    two.update(make_moments()[:, [0, 1, 3, 4]])
    with pytest.raises(DataError, match="2 channels among latents of 3"):
        three.merge(two)
