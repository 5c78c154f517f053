"""Samples of images: proportional, nested, and the same in any order."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vapray.evaluation.image_samples import ImageSample

LABELS = [0] * 700 + [1] * 250 + [2] * 49 + [3]
IDS = [f"image-{number}" for number in range(len(LABELS))]


def parts(order: np.ndarray, cuts: list[int]) -> list[pa.Table]:
    table = pa.table({"image_id": IDS, "label": pa.array(LABELS, pa.int32())}).take(order)
    bounds = [0, *sorted(cuts), len(IDS)]
    return [table.slice(begin, end - begin) for begin, end in itertools.pairwise(bounds)]


def taken(sample: ImageSample) -> set[str]:
    table = pa.table({"image_id": IDS, "label": pa.array(LABELS, pa.int32())})
    return set(np.array(IDS)[sample.takes(table["image_id"], table["label"])].tolist())


WHOLE = parts(np.arange(len(IDS)), [])


@given(st.integers(0, 99), st.lists(st.integers(0, len(IDS)), max_size=5), st.sampled_from([1, 10, 100, 999, 1000]))
def test_a_sample_is_the_same_in_any_order_and_any_parts(seed, cuts, most):
    order = np.random.default_rng(seed).permutation(len(IDS))
    assert taken(ImageSample.draw(parts(order, cuts), most)) == taken(ImageSample.draw(WHOLE, most))


def test_classes_have_their_share_and_a_rare_one_its_image():
    sample = ImageSample.draw(WHOLE, 100)
    ids = taken(sample)
    counts = [sum(LABELS[int(one.removeprefix("image-"))] == label for one in ids) for label in range(4)]
    assert counts == [70, 25, 4, 1]
    assert (sample.size, sample.of) == (len(ids), 1000) == (100, 1000)


def test_a_smaller_sample_is_part_of_a_larger_one_and_the_largest_is_everything():
    samples = [taken(ImageSample.draw(WHOLE, most)) for most in (4, 10, 57, 300, 999, 1000, 5000)]
    assert all(small <= large for small, large in itertools.pairwise(samples))
    assert samples[-2] == samples[-1] == set(IDS)


def test_no_images_are_no_sample():
    empty = WHOLE[0].slice(0, 0)
    sample = ImageSample.draw([empty], 10)
    assert (sample.size, sample.of) == (0, 0)
    assert sample.takes(empty["image_id"], empty["label"]).tolist() == []


def test_a_sample_is_a_random_one():
    """Its mean of any number differs from that of all as a random sample's does."""
    values = np.random.default_rng(0).standard_normal(len(IDS))
    errors = []
    for run in range(200):
        ids = [f"{run} {one}" for one in IDS]
        table = pa.table({"image_id": ids, "label": pa.array([0] * len(ids), pa.int32())})
        sample = ImageSample.draw([table], 100)
        errors.append(values[sample.takes(table["image_id"], table["label"])].mean() - values.mean())
    assert np.std(errors) == pytest.approx(values.std() * np.sqrt(0.9 / 100), rel=0.2)
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(200)
