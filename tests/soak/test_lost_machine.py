"""A machine of the cluster loses its power, another one its cable, while the service answers; no request is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.job import until
from tests.cluster.namespaces import why_not
from tests.cluster.rig import HEAD, Rig
from tests.serve.running import write_settings
from tests.soak.load import Load
from vapray.service.api_keys import add_key

PORT, WORKERS = 8000, (1, 2, 3)
SAMPLER, INGRESS = "ray::ServeReplica:vapray:sampler", "ray::ServeReplica:vapray:ingress"


@pytest.fixture
def rig(tmp_path) -> Iterator[Rig]:
    if reason := why_not():
        pytest.skip(reason)
    with Rig(tmp_path / "machines") as machines:
        machines.power_on()
        yield machines


@pytest.mark.soak
def test_a_lost_machine_costs_no_request(rig, small_checkpoint, tmp_path):
    keys = str(tmp_path / "keys.yaml")
    key = add_key(keys, "ward", ["images"])
    file = settings_for_all(tmp_path, small_checkpoint, keys)
    deployed = rig.submit("python", "-m", "tests.serve.deploying", "auto", str(file))
    assert deployed.wait() == 0, deployed.said()
    with Load(f"http://{rig.address(HEAD)}:{PORT}", clients=8, key=key) as load:
        load.wait_for(50)
        lost = until(lambda: working_machines(rig)[:1], "a sampler and an ingress on one machine")[0]
        assert len(rig.kill(lost)) > 3
        load.wait_for(100)
        rig.power_on()
        other = until(
            lambda: [one for one in working_machines(rig) if one != lost][:1], "a sampler and an ingress on another one"
        )[0]
        rig.cut(other)
        until(lambda: rig.address(other) in rig.counts("DEAD"), "the cut machine is given up")
        load.wait_for(100)
        rig.heal(other)
        rig.power_on()
        load.wait_for(50)
    print(f"{load.answered} requests, slowest {load.slowest:.1f} s")
    assert set(load.outcomes) == {"answered"}, load.outcomes
    assert load.answered >= 300


def settings_for_all(folder: Path, checkpoint: Path, keys: str) -> Path:
    """A service of three ingresses and three samplers, at the head's port for other machines too."""
    replicas = {"min": 3, "max": 3, "num_cpus": 0.25}
    parts = {"model": {"replicas": dict(replicas)}, "ingress": dict(replicas), "evaluator": None, "api_keys_file": keys}
    file = write_settings(folder, checkpoint, PORT, **parts)
    settings = yaml.safe_load(file.read_text())
    settings["http_options"]["host"] = "0.0.0.0"
    file.write_text(yaml.safe_dump(settings))
    return file


def working_machines(rig: Rig) -> list[int]:
    """Workers that run a sampler and an ingress."""
    return [one for one in WORKERS if rig.processes(one, SAMPLER) and rig.processes(one, INGRESS)]
