"""Samplers come and go with the network rows that wait; asking whether the service is ready wakes nobody."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serve.running import running_service


def wait_until(condition: Callable[[], bool], seconds: float = 180) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


@pytest.mark.slow
def test_samplers_scale_to_none_and_with_the_rows_that_wait(small_checkpoint, tmp_path):
    replicas = {"min": 0, "max": 2, "num_cpus": 0.5, "upscale_delay_s": 0, "downscale_delay_s": 2}
    model = {"replicas": replicas, "target_pending_rows": 500}
    with running_service(tmp_path, small_checkpoint, model=model, evaluator=None) as service:

        def running() -> int:
            return len(service.replicas("sampler-demo"))

        assert wait_until(lambda: running() == 0)
        assert all(service.is_ready() for _ in range(20))
        assert running() == 0
        assert service.make(bank="draw", label=0)["data"]
        assert running() >= 1
        with ThreadPoolExecutor(48) as clients:
            crowd = [
                clients.submit(service.make, bank="draw", label=0, n=4, num_inference_steps=250) for _ in range(48)
            ]
            assert wait_until(lambda: running() == 2)
            assert all(len(one.result()["data"]) == 4 for one in crowd)
        assert wait_until(lambda: running() == 0)
