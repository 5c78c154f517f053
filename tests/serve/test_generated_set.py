"""A set asked from a sampler: in order, bounded, patient with a busy sampler, and finished with what it refuses."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from ray.exceptions import ActorDiedError

from serve.backend import EvaluationJob, ImageJob
from serve.deployments.batch_generation import MAX_IN_FLIGHT, generate_images
from serve.deployments.retrying_handle import RetryingHandle
from serve.errors import ApiError, overloaded, unavailable
from tests.serve.handles import Handle
from vapray.sampling.generated import SamplingSettings
from vapray.sampling.sampler import Sampler

FAST = SamplingSettings(num_inference_steps=1, guidance_scale=0.0)
PRIOR = {0: 30, 1: 10, 2: 0}
JOB = EvaluationJob("small", n=8, seed=5)


@pytest.fixture(scope="module")
def sampler(small_checkpoint) -> Sampler:
    return Sampler.load(str(small_checkpoint))


async def _taken(handle: Handle, job: EvaluationJob) -> list:
    return [made async for made in generate_images(RetryingHandle(handle, "demo"), job, FAST, PRIOR)]


def test_seeds_run_on_and_classes_are_in_proportion(sampler):
    made = asyncio.run(_taken(Handle(sampler), JOB))
    assert [one.seed for one in made] == list(range(5, 13))
    assert Counter(one.label for one in made) == {0: 6, 1: 2}
    assert made[3].png == sampler.generate(0, seed=8, settings=FAST)[0].to_png()


def test_an_order_decides_over_the_defaults(sampler):
    handle = Handle(sampler)
    settings = replace(FAST, guidance_scale=0.5)
    made = asyncio.run(_taken(handle, replace(JOB, label=2, settings=settings)))
    assert {one.label for one in made} == {2}
    assert {one.settings for one in handle.jobs} == {settings}


def test_no_more_are_under_way_than_allowed(sampler):
    handle = Handle(sampler)
    asyncio.run(_taken(handle, replace(JOB, n=MAX_IN_FLIGHT + 20)))
    assert handle.most_in_flight == MAX_IN_FLIGHT
    assert handle.in_flight == 0


@pytest.mark.parametrize("error", [overloaded(0.001), unavailable("Gone.", 0.001), ActorDiedError()])
def test_a_picture_that_was_not_made_is_asked_for_again(sampler, error):
    failures: list[ImageJob] = []

    def fail_twice(job: ImageJob) -> None:
        if job.seed == 7 and len(failures) < 2:
            failures.append(job)
            raise error

    handle = Handle(sampler, fail_twice)
    made = asyncio.run(_taken(handle, JOB))
    assert len(failures) == 2 and len(handle.jobs) == JOB.n + 2
    assert [one.seed for one in made] == list(range(5, 13))


def test_a_sampler_that_stays_busy_is_waited_for_some_minutes(sampler, monkeypatch):
    pauses: list[float] = []

    async def count(seconds: float) -> None:
        pauses.append(seconds)

    def busy(job: ImageJob) -> None:
        raise overloaded(2.0)

    monkeypatch.setattr("serve.deployments.batch_generation.asyncio.sleep", count)
    with pytest.raises(ApiError, match="queue is full"):
        asyncio.run(_taken(Handle(sampler, busy), replace(JOB, n=2)))
    assert sum(pauses) > 300


def test_what_is_refused_ends_the_set_and_the_rest_is_cancelled(sampler):
    def refuse(job: ImageJob) -> None:
        if job.seed == 5:
            raise ApiError(400, "no", "invalid")

    handle = Handle(sampler, refuse)

    async def ended() -> None:
        with pytest.raises(ApiError, match="no"):
            await _taken(handle, replace(JOB, n=50))
        await asyncio.sleep(0)

    asyncio.run(ended())
    assert len(handle.jobs) == MAX_IN_FLIGHT and handle.in_flight == 0
    assert handle.cancelled
