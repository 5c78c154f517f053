"""Speed in the learning curve, and traces of steps."""

import gzip
import json

import pytest
import torch

from tests.training.tiny import SPACE, run, tiny_config, tiny_rows, tiny_state
from vapray.config import Train
from vapray.errors import ConfigError
from vapray.training.loop import train
from vapray.training.rank_context import RankContext
from vapray.training.speed import SpeedMeter, peak_flops_of

CPU = torch.device("cpu")


def test_speed_is_that_of_the_steps_since_the_last_point() -> None:
    times = iter([10.0, 20.0, 22.0, 22.0])
    meter = SpeedMeter(images=32, device=CPU, step_flops=1e12, peak_flops=4e13, clock=lambda: next(times))
    assert meter.measure(100, 1.0, 0.0) == {}
    slow = {
        "images_per_second": 160.0, "step_milliseconds": 200.0, "data_wait_share": 0.1, "device_wait_share": 0.5,
        "mfu": 0.125,
    }  # fmt: skip
    assert meter.measure(150, 2.0, 5.0) == pytest.approx(slow)
    fast = meter.measure(170, 2.0, 5.0)
    assert (fast["step_milliseconds"], fast["data_wait_share"], fast["mfu"]) == pytest.approx((100.0, 0.0, 0.25))
    assert meter.measure(170, 2.0, 5.0) == {}


def test_a_share_of_the_peak_is_told_of_known_gpus_alone(monkeypatch) -> None:
    assert peak_flops_of(CPU) is None
    rates = {"NVIDIA H200": 9.89e14, "NVIDIA A100-SXM4-80GB": 3.12e14, "NVIDIA H100 PCIe": None, "Some GPU": None}
    for name, rate in rates.items():
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert peak_flops_of(torch.device("cuda")) == rate
    assert "mfu" not in SpeedMeter(1, CPU, step_flops=1.0).measure(0, 0.0, 0.0)


def test_every_point_of_a_run_has_its_speed() -> None:
    curve: list[dict[str, float]] = []
    config = tiny_config()
    run(config, tiny_state(config), report=lambda step, point: curve.append(dict(point)))
    assert len(curve) == 6
    for point in curve:
        assert point["images_per_second"] * point["step_milliseconds"] == pytest.approx(8000)
        assert 0 <= point["device_wait_share"] < 0.5


@pytest.mark.parametrize(("every", "steps"), [(1, [1, 2, 3, 4, 5, 6]), (2, [2, 4, 6]), (4, [4, 6]), (25, [6])])
def test_prototypes_are_measured_as_often_as_asked_for(every: int, steps: list[int]) -> None:
    curve: list[dict[str, float]] = []
    config = tiny_config(f"train.health_every={every}")
    run(config, tiny_state(config), report=lambda step, point: curve.append(dict(point)))
    assert [point["step"] for point in curve if "effective_rank" in point] == steps


def test_steps_are_traced() -> None:
    config, traces = tiny_config("train.profile_steps=2", "train.steps=10"), []
    context = RankContext(0, 1, CPU, None)
    context.save_trace = traces.append  # type: ignore[method-assign]
    state = tiny_state(config)
    train(context, config, tiny_rows(), SPACE, state)
    events = json.loads(gzip.decompress(traces[0]))["traceEvents"]
    names = [event.get("name", "") for event in events]
    assert len(traces) == 1
    assert {name for name in names if name.startswith("ProfilerStep")} == {"ProfilerStep#5", "ProfilerStep#6"}
    assert names.count("aten::_fused_adamw_") > 1


def test_a_worker_reserves_its_cpus() -> None:
    assert Train(cpus_per_worker=6, use_gpu=True).bundle == {"CPU": 6, "GPU": 1}
    with pytest.raises(ConfigError, match=r"train\.cpus_per_worker or train\.use_gpu"):
        tiny_config("train.resources_per_worker.CPU=2")
