"""Laws of precision, recall, density and coverage."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch_fidelity.metric_prc import prc_features_to_metric

from vapray.errors import DataError
from vapray.metrics.prdc import prdc_scores


def two_sets(n: int = 130, m: int = 130) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 6)) + 50, 0.8 * rng.standard_normal((m, 6)) + 50.4


def test_precision_and_recall_are_those_of_torch_fidelity() -> None:
    real, generated = two_sets()
    reference = prc_features_to_metric(
        torch.from_numpy(generated),
        torch.from_numpy(real),
        prc_neighborhood=3,
        prc_batch_size=40,
        save_cpu_ram=False,
        verbose=False,
    )
    ours = prdc_scores(real, generated)
    # torch-fidelity averages hits in float32.
    assert ours.precision == pytest.approx(reference["precision"], rel=1e-6)
    assert ours.recall == pytest.approx(reference["recall"], rel=1e-6)


def test_density_and_coverage_are_those_of_the_definition() -> None:
    real, generated = two_sets()
    radii = np.sort(cdist(real, real), axis=1)[:, 3]
    inside = cdist(real, generated) <= radii[:, None]
    ours = prdc_scores(real, generated)
    assert ours.density == pytest.approx(inside.sum() / (3 * len(generated)))
    assert ours.coverage == pytest.approx(inside.any(axis=1).mean())


def test_a_set_has_precision_and_recall_one_with_itself() -> None:
    real, _ = two_sets()
    ours = prdc_scores(real, real.copy())
    assert (ours.precision, ours.recall, ours.coverage) == (1.0, 1.0, 1.0)


def test_blocks_change_nothing() -> None:
    real, generated = two_sets()
    assert prdc_scores(real, generated, block_rows=7) == prdc_scores(real, generated)


def test_the_larger_set_is_cut_to_the_smaller_by_seed() -> None:
    real, generated = two_sets(200, 60)
    ours = prdc_scores(real, generated, seed=1)
    assert ours.count == 60
    assert ours == prdc_scores(real, generated, seed=1)
    assert ours != prdc_scores(real, generated, seed=2)


def test_a_mode_collapsed_set_has_high_precision_and_low_recall() -> None:
    rng = np.random.default_rng(0)
    modes = np.repeat(np.eye(5) * 20, 40, axis=0)
    real, full = (modes + rng.standard_normal((200, 5)) for _ in range(2))
    collapsed = modes[0] + rng.standard_normal((200, 5))
    whole, one_mode = prdc_scores(real, full), prdc_scores(real, collapsed)
    assert one_mode.precision > 0.8
    assert one_mode.recall < 0.25 < 0.8 < whole.recall


def test_copies_of_one_real_picture_are_precise_and_recall_only_it() -> None:
    real, _ = two_sets()
    ours = prdc_scores(real, np.repeat(real[:1], len(real), axis=0))
    assert ours.precision == 1.0
    assert ours.recall == 1 / len(real)


def test_too_few_images_are_refused() -> None:
    real, generated = two_sets()
    with pytest.raises(DataError, match="more than 3"):
        prdc_scores(real, generated[:3])
