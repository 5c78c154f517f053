"""Each kind of process of the service is killed under load, in turn; clients with retries lose no request."""

import time

import openai
import psutil
import pytest

from tests.faults.ray_processes import killed
from tests.serve.running import Running, running_service
from tests.soak.load import Load

TWO = {"min": 2, "max": 2, "num_cpus": 0.25}


@pytest.mark.soak
def test_a_killed_replica_of_any_kind_costs_no_request(small_checkpoint, tmp_path, caplog):
    caplog.set_level("INFO", logger="openai._base_client")
    parts = {"ingress": dict(TWO), "evaluator": {"replicas": {"min": 1, "max": 1, "num_cpus": 0.25}}}
    with (
        running_service(tmp_path, small_checkpoint, model={"replicas": dict(TWO)}, **parts) as service,
        Load(service.base, clients=8) as load,
    ):
        wait_for_replicas(service, "ingress", 2)
        wait_for_replicas(service, "sampler-demo", 2)
        load.wait_for(60)
        for kind, count in (("ingress", 2), ("sampler-demo", 2), ("evaluator", 1), ("ingress", 2), ("sampler-demo", 2)):
            victim = wait_for_replicas(service, kind, count)[0]
            if kind == "evaluator":
                evaluation = start_evaluation(service)
            victim.suspend()
            time.sleep(0.5)  # requests reach it
            assert killed(victim), kind
            load.wait_for(60)
            wait_for_replicas(service, kind, count, besides=victim)
            load.wait_for(40)
        while (found := status_of(service, evaluation))["status"] in ("queued", "running"):
            time.sleep(1)
        wait_for_gauges(service, 2)
        by_service = service.counted("replica_retries")
    by_clients = sum(record.getMessage().startswith("Retrying request") for record in caplog.records)
    print(
        f"{load.answered} requests, slowest {load.slowest:.1f} s; retries: clients {by_clients}, service {by_service}"
    )
    assert set(load.outcomes) == {"answered"}, load.outcomes
    assert load.answered >= 500
    assert found["status"] == "succeeded"
    assert by_clients and by_service, "no request was under way in a killed replica"


def wait_for_gauges(service: Running, count: int) -> None:
    """Until only replicas that live have gauges: Ray drops those of others after two reports, 20 s."""
    deadline = time.monotonic() + 60
    while len(found := service.counts("sampler_waiting")) != count:
        assert time.monotonic() < deadline, found
        time.sleep(1)


def start_evaluation(service: Running) -> str:
    """A long one, when it has begun."""
    with openai.OpenAI(base_url=f"{service.base}/v1", api_key="none") as client:
        body = {"generate": {"n": 400, "num_inference_steps": 12}}
        id = str(client.post("/evaluations", body=body, cast_to=dict)["id"])
    deadline = time.monotonic() + 120
    while not (found := status_of(service, id))["done"]:
        assert found["status"] in ("queued", "running") and time.monotonic() < deadline, found
        time.sleep(0.2)
    return id


def status_of(service: Running, evaluation: str) -> dict:
    for attempt in range(8):
        try:
            return service.get(f"/v1/evaluations/{evaluation}")
        except OSError:
            if attempt == 7:
                raise
            time.sleep(1)
    raise AssertionError


def wait_for_replicas(
    service: Running, kind: str, count: int, besides: psutil.Process | None = None
) -> list[psutil.Process]:
    """Replicas of a deployment that are there, when they are as many."""
    deadline = time.monotonic() + 120
    while len(found := [one for one in service.replicas(kind) if one != besides]) < count:
        assert time.monotonic() < deadline, (kind, found, service.log.read_text()[-2000:])
        time.sleep(0.2)
    return found
