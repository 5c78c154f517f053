"""Laws of the public Python API, on a real checkpoint."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from vapray.sampling.provenance import read_provenance
from vapray.sampling.sampler import Sampler, SamplingSettings

SETTINGS = SamplingSettings(num_inference_steps=3)


@pytest.fixture(scope="module")
def sampler(small_checkpoint):
    return Sampler.load(str(small_checkpoint))


def test_the_same_seed_gives_the_same_image(sampler):
    one, again, other = (sampler.generate("MEL", seed=seed, settings=SETTINGS)[0].pixels for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_an_image_does_not_depend_on_its_neighbours_in_the_batch(sampler):
    alone = sampler.generate("NV", seed=9, settings=SETTINGS)[0]
    among = sampler.generate("NV", seed=7, n=6, settings=SETTINGS)[2]
    assert among.caption == alone.caption
    difference = np.abs(alone.pixels.astype(int) - among.pixels.astype(int))
    assert difference.max() <= 1  # other shapes, other summation order


def test_a_loaded_checkpoint_gives_the_same_pixels_again(sampler, small_checkpoint):
    again = Sampler.load(str(small_checkpoint))
    for label in sampler.bank.labels:
        first, second = (one.generate(label, seed=1, settings=SETTINGS)[0] for one in (sampler, again))
        np.testing.assert_array_equal(first.pixels, second.pixels)


def test_the_caption_is_drawn_from_the_class_and_its_image_is_named(sampler):
    drawn = sampler.generate("BCC", seed=3, settings=SETTINGS)[0]
    label = sampler.class_names.index("BCC")
    assert drawn.caption in sampler.bank.captions(label)
    assert drawn.source_image_id in {entry.image_id for entry in sampler.bank.entries(label)}


def test_a_caption_of_the_callers_changes_the_image(sampler):
    texts = ("a small red round lesion", "a large black elongated lesion")
    one, other = (sampler.generate("NV", text, seed=3, settings=SETTINGS)[0] for text in texts)
    assert one.source_image_id == ""
    assert not np.array_equal(one.pixels, other.pixels)


def test_both_guidance_conventions_name_the_same_guidance(sampler):
    excess = dataclasses.replace(SETTINGS, guidance_scale=0.5, guidance_convention="excess")
    usual = dataclasses.replace(SETTINGS, guidance_scale=1.5, guidance_convention="classifier_free")
    images = [sampler.generate("NV", seed=3, settings=settings)[0].pixels for settings in (excess, usual)]
    np.testing.assert_array_equal(*images)


def test_averaged_raw_and_untrained_weights_differ(small_checkpoint):
    images = [
        Sampler.load(str(small_checkpoint), weights=weights).generate("NV", seed=3, settings=SETTINGS)[0].pixels
        for weights in ("ema", "raw", "untrained")
    ]
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(images[1], images[2])


def test_a_png_says_how_it_was_made(sampler):
    made = sampler.generate("VASC", seed=4, settings=SETTINGS)[0]
    chunks = read_provenance(made.to_png())
    assert chunks["Class"] == "VASC"
    assert chunks["Caption"] == made.caption
    assert chunks["Seed"] == "4"
    assert chunks["Model-SHA256"] == sampler.model_sha256
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(made.to_png()))), made.pixels)
