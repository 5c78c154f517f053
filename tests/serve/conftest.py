"""A service in this process over the small run's model."""

import pytest

from tests.serve.in_process import InProcess, Served
from vapray.sampling.sampler import Sampler


@pytest.fixture(scope="session")
def sampler(small_checkpoint):
    return Sampler.load(str(small_checkpoint))


@pytest.fixture
def backend(sampler):
    return InProcess(sampler)


@pytest.fixture
def served(backend):
    """Without keys, asked from this machine."""
    with Served(backend) as made:
        yield made
