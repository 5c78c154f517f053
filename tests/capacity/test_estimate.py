"""Laws of the capacity estimate, whatever its constants are worth."""

import itertools
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.conftest import ROOT, SMALL
from vapray.capacity.constants import Cost, read_constants
from vapray.capacity.estimate import StageEstimate
from vapray.capacity.pipeline import estimate_run, load_workload
from vapray.capacity.plan import Plan, load_plan
from vapray.config.loader import load_config
from vapray.models.network_cost import network_cost
from vapray.pipeline.dry_run import plan_run

PAPER = f"config={ROOT}/jobs/configs/isic2018.yaml"


def stages(*settings: str) -> dict[str, StageEstimate]:
    return {found.stage: found for found in estimate_run(load_plan(None, [PAPER, *settings]))}


def seconds(stage: StageEstimate, cause: str) -> float:
    return stage.phases[cause].value


def test_twice_the_replicas_halve_the_time_of_a_stage_that_they_limit():
    few, many = stages("images=1000000", "gpus=8")["caption"], stages("images=1000000", "gpus=16")["caption"]
    assert (few.workers, many.workers) == (8, 16)
    assert seconds(many, "GPU") == pytest.approx(seconds(few, "GPU") / 2, rel=0.01)
    assert many.phases["driver"] == few.phases["driver"]


def test_more_gpus_never_take_longer_where_the_network_is_no_limit():
    sizes = [stages("images=1000000", "node_gigabits=3200", f"gpus={gpus}") for gpus in (1, 8, 64, 1000)]
    for fewer, more in itertools.pairwise(sizes):
        for name, stage in more.items():
            scheduled = stage.phases.get("scheduling")  # more actors get fewer work items at once
            assert scheduled or stage.hours <= fewer[name].hours * 1.001, name


def test_hours_and_traffic_grow_with_the_images():
    sizes = [stages(f"images={images}") for images in (10_000, 100_000, 1_000_000)]
    for fewer, more in itertools.pairwise(sizes):
        for name in ("ingest", "caption", "bank", "encode", "evaluate"):
            assert more[name].hours > fewer[name].hours
            assert more[name].puts > 2 * fewer[name].puts
            assert more[name].bytes_read.value > 3 * fewer[name].bytes_read.value


def test_a_stage_of_its_own_gpus_leaves_the_others_as_they_are():
    common, own = stages("gpus=8"), stages("gpus=8", "gpus_per_stage.caption=32")
    assert own["caption"].workers == 32
    assert {name: own[name] for name in own if name != "caption"} == {
        name: common[name] for name in common if name != "caption"
    }


def test_the_work_is_that_of_the_dry_run(tmp_path):
    """One worker takes the seconds that the dry run of the same settings and images forecasts."""
    config = load_config(None, [f"run.root={tmp_path}", f"data.root={tmp_path / 'phantoms'}", *SMALL])
    alone = config.pools.caption.max_size
    foreseen = {found.stage: found.forecast for found in plan_run(config)}
    images = foreseen["caption"].rows
    plan = Plan(settings=(*SMALL,), images=images, pixels=config.data.phantom.width * config.data.phantom.height)
    forecasts = load_workload(plan).forecasts
    assert forecasts["caption"].rows == images
    assert forecasts["caption"].work_seconds == pytest.approx(foreseen["caption"].work_seconds * alone)
    assert forecasts["encode"].bytes_written == foreseen["encode"].bytes_written
    (caption,) = (found for found in estimate_run(plan) if found.stage == "caption")
    assert caption.bytes_written == foreseen["caption"].bytes_written
    assert seconds(caption, "startup") == foreseen["caption"].startup_seconds


def test_a_training_step_comes_out_as_by_hand():
    """8 GPUs, 32 images each: 3 passes of 46.8 GFLOP at 34.6 times 10 TFLOP/s, and the overhead of a step."""
    config = load_config(f"{ROOT}/jobs/configs/isic2018.yaml", ["run.root=s3://bucket/run"])
    arithmetic = 3 * network_cost(config, 7).flops * 32 / (34.6 * 10e12)
    train = stages("settings=[train.steps=1000,train.validate_every=0]")["train"]
    assert seconds(train, "GPU") == pytest.approx(1000 * (arithmetic + 0.02))


@pytest.mark.parametrize(("gpus", "workers"), [(6, 4), (8, 8), (1000, 256)])
def test_training_takes_as_many_gpus_as_divide_its_batch(gpus, workers):
    train = stages(f"gpus={gpus}")["train"]
    assert train.workers == train.gpus == workers


@pytest.mark.parametrize(
    ("setting", "stage", "cause"),
    [
        ("constants.driver_item_seconds=10", "bank", "scheduling"),
        ("constants.driver_row_seconds=1", "bank", "driver"),
        ("constants.get_seconds=5", "bank", "store latency"),
        ("constants.caption_gpu_speed=0.01", "caption", "GPU"),
        ("settings=[pools.encode.max_concurrency=1,pools.encode.num_cpus=1]", "encode", "CPU of a GPU actor"),
        ("constants.put_seconds=10", "sample", "store latency"),
        ("constants.allreduce_bytes_per_second=1000000", "train", "gradient exchange"),
        ("constants.batch_row_seconds=1", "train", "data loader"),
        ("constants.cache_bytes_per_second=100", "train", "row cache"),
        ("driver_memory_gb=0.1", "train", "driver memory"),
        ("node_memory_gb=0.01", "train", "node memory"),
        ("node_disk_gb=1", "train", "node disk"),
    ],
)
def test_the_scarcest_resource_is_named(setting, stage, cause):
    plan = load_plan(None, [PAPER, "images=100000", "gpus=8", setting])
    found = next(one for one in estimate_run(plan) if one.stage == stage)
    assert found.limited_by(plan) == cause


def _values(stage: StageEstimate) -> list[float]:
    costs = (*stage.phases.values(), stage.bytes_read, stage.driver_bytes, stage.process_bytes)
    return [cost.value for cost in costs]


@pytest.mark.parametrize("gpus", ["gpus=8", "gpus=64"])
def test_the_constants_named_are_those_that_change_the_estimate(gpus):
    before = stages(gpus)
    for name, constant in read_constants({}).items():
        after = stages(gpus, f"constants.{name}={constant.value * 1.0001}")
        changed = {stage for stage in before if _values(before[stage]) != _values(after[stage])}
        assert changed == {stage for stage in before if name in before[stage].constants}, name


def test_a_cost_keeps_the_constants_of_all_its_terms():
    one, other = Cost(2, frozenset({"a"})), Cost(4, frozenset({"b"}))
    assert 3 * one + 1 == Cost(7, frozenset({"a"}))
    assert one + 8 / other == Cost(4, frozenset({"a", "b"}))


def test_every_constant_is_used_and_has_a_source():
    found = read_constants({})
    used = {name for plan in ("gpus=8", "gpus=64") for stage in stages(plan).values() for name in stage.constants}
    for slow in ("batch_row_seconds=1", "driver_item_seconds=10", "allreduce_bytes_per_second=1000000"):
        used |= {name for stage in stages(f"constants.{slow}").values() for name in stage.constants}
    assert used == found.keys()
    assert all(constant.unit and len(constant.source) > 10 for constant in found.values())
    assert all(constant.value > 0 for constant in found.values())


def test_a_stage_over_a_limit_is_limited_by_it_however_short_it_is():
    plan = Plan(driver_memory_gb=1)
    stage = estimate_run(plan)[0]
    assert stage.limited_by(plan) != "driver memory"
    assert replace(stage, driver_bytes=Cost(2e9)).limited_by(plan) == "driver memory"


def test_the_demo_needs_no_gpus():
    found = estimate_run(Plan(images=1600, pixels=12288))
    assert {stage.gpus for stage in found} == {0}
    assert 60 < 3600 * sum(stage.hours for stage in found) < 3600


def test_it_needs_neither_torch_nor_ray():
    code = (
        "import sys; from vapray.capacity.pipeline import estimate_run; from vapray.capacity.plan import load_plan\n"
        f"estimate_run(load_plan(None, ['{PAPER}']))\n"
        "print([name for name in ('torch', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
