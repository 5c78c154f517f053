"""Laws of the public Python API, on a real checkpoint."""

import dataclasses
import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from vapray.config import Sample
from vapray.diffusion.guidance import guided_output
from vapray.diffusion.randomness import draw_sampling_noise
from vapray.diffusion.solver import solve, solver_plan
from vapray.sampling.provenance import read_provenance
from vapray.sampling.sampler import Sampler, SamplingSettings
from vapray.training.network import build_parameterization

SETTINGS = SamplingSettings(num_inference_steps=3)


@pytest.fixture(scope="module")
def sampler(small_checkpoint):
    return Sampler.load(str(small_checkpoint))


def test_the_same_seed_gives_the_same_image(sampler):
    one, again, other = (sampler.generate("MEL", seed=seed, settings=SETTINGS)[0].pixels for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_an_image_is_the_same_bytes_alone_and_among_any_neighbours(sampler):
    alone = sampler.generate("NV", seed=9, settings=SETTINGS)[0]
    among = sampler.generate("NV", seed=1, n=20, settings=SETTINGS)[8]
    assert among.caption == alone.caption
    np.testing.assert_array_equal(alone.pixels, among.pixels)


def test_threads_that_ask_side_by_side_get_the_same_bytes(sampler):
    asked = [
        dataclasses.replace(SETTINGS, num_inference_steps=steps, guidance_scale=steps - 2.0) for steps in (2, 3, 5)
    ]
    expected = [sampler.generate("NV", seed=9, n=3, settings=settings) for settings in asked]
    with ThreadPoolExecutor(3) as threads:
        made = list(threads.map(lambda settings: sampler.generate("NV", seed=9, n=3, settings=settings), asked))
    for ones, others in zip(made, expected, strict=True):
        assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(ones, others, strict=True))


def test_other_batch_sizes_change_a_pixel_by_one_at_most(sampler, small_checkpoint):
    growing = Sampler.load(str(small_checkpoint), sample=Sample(batch_sizes=(2, 4, 8)))
    ones, others = (one.generate("NV", seed=9, n=5, settings=SETTINGS) for one in (sampler, growing))
    assert growing.engine.batch_sizes == (2, 4, 8) and sampler.engine.batch_sizes == (16,)
    for one, other in zip(ones, others, strict=True):
        assert np.abs(one.pixels.astype(int) - other.pixels).max() <= 1


def test_a_picture_is_that_of_the_plain_solver_loop(sampler):
    made = sampler.generate("NV", seed=9, settings=SETTINGS)[0]
    request = sampler.requests([made.label], [made.caption], [9], SETTINGS)[0]
    length = torch.tensor([len(request.context_LD)])

    def predict(noisy, step_B):
        rows = (noisy, step_B, torch.tensor([made.label]), request.context_LD[None], length)
        return guided_output(sampler.network, *rows, SETTINGS.guidance_scale)

    parameterization = build_parameterization(sampler.config)
    plan = solver_plan(parameterization.schedule, "dpm_solver_2m", 3)
    latent = solve(predict, draw_sampling_noise([9], (sampler.space.channels, 8, 8)), plan, parameterization)
    pixels = sampler.autoencoder.decode(sampler.space.denormalize(latent))[0]
    assert np.abs(made.pixels.astype(int) - pixels).max() <= 1


def test_guidance_in_an_interval_costs_less_makes_another_picture_and_is_recorded(sampler):
    within = dataclasses.replace(SETTINGS, guidance_interval=(1, 500))
    before = sampler.engine.stats().rows
    limited = sampler.generate("NV", seed=3, settings=within)[0]
    assert sampler.engine.stats().rows - before == 3 + 1  # steps 1000, 667 and 334
    assert not np.array_equal(limited.pixels, sampler.generate("NV", seed=3, settings=SETTINGS)[0].pixels)
    assert json.loads(read_provenance(limited.to_png())["Settings"])["guidance_interval"] == [1, 500]


def test_settings_that_no_solver_can_follow_leave_nothing_behind(sampler):
    with pytest.raises(ValueError, match=r"inference steps: expected 1\.\.999, got 1000"):
        sampler.generate("NV", n=3, settings=dataclasses.replace(SETTINGS, num_inference_steps=1000))
    assert sampler.engine.stats().waiting == 0


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
