"""A sampler with threads of its own: pictures do not depend on who else is served."""

import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest

from vapray.errors import ConfigError
from vapray.sampling.sampler import Sampler, SamplingSettings
from vapray.sampling.threaded_sampler import PreviewImage, ThreadedSampler


@pytest.fixture(scope="module")
def sampler(small_checkpoint):
    return Sampler.load(str(small_checkpoint))


@pytest.fixture
def live(sampler, small_checkpoint):
    live = ThreadedSampler(Sampler.load(str(small_checkpoint)))
    yield live
    live.close()


def request_of(sampler, seed, settings, label=0, caption="a dark lesion"):
    return sampler.requests([label], [caption], [seed], settings)[0]


def test_a_picture_is_the_same_alone_and_in_a_crowd(sampler, live):
    settings = SamplingSettings(num_inference_steps=4)
    alone = sampler.generate(0, "a dark lesion", seed=5, settings=settings)[0].pixels
    crowd = [
        live.submit(request_of(sampler, seed, SamplingSettings(num_inference_steps=2 + seed % 5)))
        for seed in range(20, 50)
    ]
    asked = live.submit(request_of(sampler, 5, settings))
    assert np.array_equal(asked.result(), alone)
    assert all(one.result().shape == alone.shape for one in crowd)


def test_bypassed_prototypes_are_another_picture_from_the_same_weights(sampler, live):
    settings = SamplingSettings(num_inference_steps=4, prototypes="bypassed")
    on = live.submit(request_of(sampler, 5, settings)).result()
    bypassed = live.submit(request_of(sampler, 5, settings), "bypassed").result()
    assert np.array_equal(bypassed, sampler.generate(0, "a dark lesion", seed=5, settings=settings)[0].pixels)
    assert not np.array_equal(on, bypassed)
    assert set(live.stats()) == {"on", "bypassed"}


def test_sketches_come_after_the_steps_asked_for(sampler, live):
    seen: list[PreviewImage] = []
    request = request_of(sampler, 5, SamplingSettings(num_inference_steps=6))
    picture = live.submit(request, preview_steps=(2, 4), on_preview=seen.append).result()
    assert [(sketch.taken, sketch.steps) for sketch in seen] == [(2, 6), (4, 6)]
    assert all(sketch.pixels.shape == picture.shape for sketch in seen)


def test_steps_go_on_while_a_picture_is_decoded_and_end_when_it_is_cancelled(sampler, live):
    begun, go_on = threading.Event(), threading.Event()

    def wait(sketch: PreviewImage) -> None:
        begun.set()
        go_on.wait()

    steps = 900
    request = request_of(sampler, 5, SamplingSettings(num_inference_steps=steps))
    ticket = live.submit(request, preview_steps=(1,), on_preview=wait)
    assert begun.wait(60)
    deadline = time.monotonic() + 60
    while live.stats()["on"].steps < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ticket.cancel()
    go_on.set()
    with pytest.raises(CancelledError):
        ticket.result()
    live.submit(request_of(sampler, 6, SamplingSettings(num_inference_steps=2))).result()
    stats = live.stats()["on"]
    assert stats.cancelled == 1
    assert 4 + 2 <= stats.steps < steps


def test_a_model_without_prototypes_has_none_to_bypass(sampler):
    bare = Sampler(
        sampler._bypassed_engine._network, sampler.autoencoder, sampler.encoder, sampler.bank, sampler.space,
        sampler.config, sampler.class_names, sampler.model_sha256,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="trained without prototypes"):
        bare.generate(0, "a dark lesion", settings=SamplingSettings(prototypes="bypassed"))


def test_nothing_is_taken_after_the_end(sampler, live):
    live.submit(request_of(sampler, 5, SamplingSettings(num_inference_steps=2))).result()
    live.close()
    with pytest.raises(RuntimeError, match="closed"):
        live.submit(request_of(sampler, 5, SamplingSettings(num_inference_steps=2)))
