"""Laws of the counter-based randomness."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from vapray.diffusion.noise_levels import NoiseLevels
from vapray.diffusion.randomness import (
    TrainingDraws,
    draw_posterior_noise,
    draw_sampling_noise,
    draw_training,
)

SHAPE = (4, 4, 4)


def draw(indices: list[int], *, seed: int = 3, step: int = 5, shape: tuple[int, ...] = SHAPE) -> TrainingDraws:
    return draw_training(seed, step, indices, shape, levels=NoiseLevels.uniform(1000), drop_probability=0.1)


def test_same_sample_same_draws_in_any_batch() -> None:
    together = draw([4, 0, 2**40])
    for row, index in enumerate([4, 0, 2**40]):
        alone = draw([index])
        for name in ("noise", "step_B", "flip_B", "drop_B"):
            assert torch.equal(getattr(alone, name)[0], getattr(together, name)[row])


def test_seed_step_and_index_each_change_everything() -> None:
    draws = [draw([0]), draw([1]), draw([0], step=6), draw([0], seed=4), draw([5], step=0), draw([0], step=0)]
    assert len({d.noise.numpy().tobytes() for d in draws}) == len(draws)
    flat = torch.stack([d.noise.flatten() for d in draws])
    assert torch.corrcoef(flat).fill_diagonal_(0).abs().max() < 0.5


def test_purposes_do_not_share_a_stream() -> None:
    training = draw_training(3, 0, [0], SHAPE, levels=NoiseLevels.uniform(10), drop_probability=0).noise
    posterior, sampling = draw_posterior_noise(3, 0, [0], SHAPE), draw_sampling_noise([3], SHAPE)
    values = torch.cat([training, posterior, sampling]).flatten()
    assert len(values.unique()) == len(values)


def test_the_scalars_do_not_depend_on_the_latents_shape() -> None:
    small, large = draw([0, 1, 2]), draw([0, 1, 2], shape=(1, 9, 9))
    assert torch.equal(small.step_B, large.step_B) and torch.equal(small.drop_B, large.drop_B)


def test_distributions_are_as_stated() -> None:
    draws = draw_training(0, 1, range(20_000), (1, 2, 2), levels=NoiseLevels.uniform(4), drop_probability=0.1)
    assert draws.step_B.bincount().tolist()[0] == 0
    np.testing.assert_allclose(draws.step_B.bincount()[1:] / 20_000, 0.25, atol=0.015)
    assert draws.drop_B.float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert draws.flip_B.float().mean().item() == pytest.approx(0.5, abs=0.015)
    assert draws.noise.mean().item() == pytest.approx(0, abs=0.02)
    assert draws.noise.std().item() == pytest.approx(1, abs=0.02)
    assert draws.noise.dtype == torch.float32 and draws.step_B.dtype == torch.int64


def test_sampling_noise_follows_its_own_seed() -> None:
    assert torch.equal(draw_sampling_noise([9, 1], SHAPE)[1], draw_sampling_noise([1], SHAPE)[0])
    assert not torch.equal(*draw_sampling_noise([9, 2**64 - 1], SHAPE))


def test_a_stream_is_philox_with_the_stated_key_and_counter() -> None:
    """The numbers themselves: changing them would change every trained model and every image."""
    stream = np.random.Generator(np.random.Philox(key=[7, 3], counter=[0, 0, 0, 0]))
    expected = stream.standard_normal((2, 2), dtype=np.float32)
    np.testing.assert_array_equal(draw_sampling_noise([7], (2, 2))[0].numpy(), expected)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: draw_sampling_noise([-1], SHAPE),
        lambda: draw_sampling_noise([2**64], SHAPE),
        lambda: draw([0], step=-1),
        lambda: draw_training(0, 0, [0], SHAPE, levels=NoiseLevels.uniform(0), drop_probability=0.1),
        lambda: draw_training(0, 0, [0], SHAPE, levels=NoiseLevels.uniform(9), drop_probability=1.5),
    ],
)
def test_numbers_out_of_range_are_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        wrong()
