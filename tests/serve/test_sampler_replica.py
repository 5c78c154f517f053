"""A sampler's replica without Ray: what it settles, and what becomes of failures that are not the order's."""

import asyncio
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from serve.backend import ImageJob
from serve.deployments.sampler import MAX_CONSECUTIVE_FAILURES, SamplerReplica
from serve.errors import ApiError
from serve.settings import ModelSettings
from tests.conftest import ROOT
from vapray.errors import EngineDied
from vapray.sampling.generated import SamplingSettings
from vapray.sampling.live import LiveSampler
from vapray.sampling.sampler import Sampler

JOB = ImageJob("demo", 0, "a dark lesion", 3, SamplingSettings(num_inference_steps=2))


@pytest.fixture(scope="module")
def replica(small_checkpoint):
    return SamplerReplica(ModelSettings(name="demo", checkpoint=str(small_checkpoint)))


def make(replica, **changes):
    return asyncio.run(replica.generate(replace(JOB, **changes)))


def test_a_caption_without_a_class_gets_the_one_whose_bank_is_nearest(replica):
    bank = replica._sampler.bank
    for label in bank.labels:
        assert make(replica, label=None, caption=bank.captions(label)[0]).label in bank.labels
    own = next(text for text in bank.captions(1) if text not in bank.captions(0) and text not in bank.captions(2))
    assert make(replica, label=None, caption=own).label == 1
    assert make(replica, label=None, caption="something BCC like").class_name == "BCC"


def test_an_entry_of_the_bank_brings_its_class_and_its_name(replica):
    made = make(replica, label=None, caption=None, bank_id="NV-2")
    assert (made.class_name, made.bank_id) == ("NV", "NV-2")
    assert made.caption == replica._sampler.bank.captions(made.label)[2]
    assert b"NV-2" in made.png
    assert replica._sampler.bank.entries(made.label)[2].image_id.encode() not in made.png


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"caption": "word " * 3000}, "invalid_prompt"),
        ({"caption": None, "bank_id": "NV-999999"}, "unknown_bank_id"),
        ({"caption": None, "label": 6}, "no_captions"),
        ({"deadline": time.time() - 5}, "deadline_exceeded"),
    ],
)
def test_what_cannot_be_made_is_refused_without_quoting_it(replica, changes, code):
    with pytest.raises(ApiError) as refused:
        make(replica, **changes)
    assert refused.value.code == code
    assert "word" not in refused.value.message


def test_a_network_that_fails_sends_its_orders_elsewhere_and_then_ends_its_process(small_checkpoint):
    """In a process of its own: the third failure in a row ends it, and until then each is one that is sent again."""
    code = f"""
import asyncio
from tests.serve.test_sampler_replica import JOB
from serve.deployments.sampler import SamplerReplica
from serve.settings import ModelSettings
from vapray.errors import EngineDied

replica = SamplerReplica(ModelSettings(name="demo", checkpoint={str(small_checkpoint)!r}))

def broken(*inputs, **options):
    raise RuntimeError("device-side assert")

replica._sampler.network.forward = broken
for number in range(9):
    try:
        asyncio.run(replica.generate(JOB))
    except EngineDied:
        print("sent elsewhere", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == ["sent elsewhere"] * (MAX_CONSECUTIVE_FAILURES - 1), done.stderr
    assert done.returncode == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_engine_that_stops_tells_so_and_takes_nothing_more(small_checkpoint):
    sampler, deaths = Sampler.load(str(small_checkpoint)), []
    live = LiveSampler(sampler, on_death=lambda: deaths.append(1))
    request = sampler.requests([0], ["a dark lesion"], [1], SamplingSettings(num_inference_steps=2))[0]

    def broken(images):
        raise SystemExit

    sampler.engine._call = broken
    with pytest.raises(EngineDied):
        live.submit(request).result(60)
    live._threads["on"].join(60)
    assert deaths
    with pytest.raises(RuntimeError, match="closed"):
        live.submit(request)
