"""What an estimate keeps to, whatever the figures are worth."""

import itertools
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from vapray.capacity.estimate import ADVICE, Estimate, StageEstimate, fields_of
from vapray.capacity.figures import read_figures
from vapray.capacity.pipeline import estimate
from vapray.capacity.plan import Limits, Plan, load_plan
from vapray.capacity.requests import heartbeats
from vapray.config.file import load
from vapray.forecast import Images, Outlook
from vapray.models.size import network_size

PAPER = f"config={ROOT}/jobs/configs/isic2018.yaml"


def of(*settings: str) -> Estimate:
    return estimate(load_plan(None, [PAPER, *settings]))


def walls(found: Estimate) -> dict[str, float]:
    return {stage.stage: stage.wall_seconds for stage in found.stages}


def test_more_gpus_never_take_longer_where_the_network_is_no_limit():
    fast = "limits.node_gigabits=3200"
    sizes = [of("images=1000000", fast, f"gpus={gpus}") for gpus in (1, 2, 8, 64, 256, 1000)]
    for fewer, more in itertools.pairwise(sizes):
        for stage, seconds in walls(more).items():
            assert seconds <= walls(fewer)[stage] * 1.001, stage


def test_no_stage_is_faster_than_its_work_or_its_driver():
    figures = read_figures()
    for gpus in (1, 64, 1000):
        for stage in of("images=1000000", f"gpus={gpus}").stages:
            if stage.item_seconds:
                assert stage.wall_seconds >= stage.items * figures["driver_item_seconds"]
                assert stage.wall_seconds >= stage.item_seconds + figures["actor_start_seconds"]
                assert stage.workers <= stage.items


def test_requests_rows_and_bytes_grow_with_the_pictures_and_not_with_the_gpus():
    def written(stage: StageEstimate) -> float:
        return stage.requests.puts - heartbeats(stage.wall_seconds).puts

    few, many = of("images=100000", "gpus=8"), of("images=1000000", "gpus=8")
    for smaller, larger in zip(few.stages[:4], many.stages[:4], strict=True):
        assert larger.rows == 10 * smaller.rows
        assert written(larger) == pytest.approx(10 * written(smaller), rel=0.1)
        assert larger.bytes_stored == pytest.approx(10 * smaller.bytes_stored, rel=0.01)
    assert of("images=100000", "gpus=64").bytes_stored == few.bytes_stored


def test_rows_are_those_of_the_dry_run():
    from vapray.data.forecast import forecast

    config = load(f"{ROOT}/jobs/configs/isic2018.yaml", ["run.root=s3://nowhere/run"])
    images = Images({"train": 8500, "test": 1000, "validation": 500}, 7, 270_000)
    found = of("images=10000").stages[0]
    assert found.rows == forecast(Outlook(config, images, {})).rows == 10_000
    assert found.items == 16 + 4  # of a plan's first part of 8,192 rows, and of the rest, 512 at a time


def test_a_step_comes_out_as_by_hand():
    """8 GPUs, 32 images each: 3 passes of 46.8 GFLOP at 35 % of the peak, and what a step costs anyway."""
    config = load(f"{ROOT}/jobs/configs/isic2018.yaml", ["run.root=s3://nowhere/run"])
    flops = 3 * network_size(config, 7).flops * 32
    train = next(stage for stage in of("steps=1000").stages if stage.stage == "train")
    assert train.phases["step overhead"] == pytest.approx(1000 * (flops / (9.89e14 * 0.35) + 0.02))
    assert train.gpu_hours == pytest.approx(8 * train.wall_seconds / 3600)


def test_training_takes_as_many_gpus_as_divide_its_batch_and_says_so():
    found = of("gpus=1000")
    train = next(stage for stage in found.stages if stage.stage == "train")
    assert train.workers == train.gpus == 256
    assert any("256 of 1000 GPUs" in note for note in found.notes)
    assert not any("shared evenly" in note for note in of("gpus=8").notes)
    assert next(stage for stage in of("gpus=6").stages if stage.stage == "train").workers == 4


def test_money_is_machines_and_requests():
    plan = load_plan(None, [PAPER, "prices.gpu_hour=2", "prices.thousand_puts=7", "prices.thousand_gets=5"])
    caption = estimate(plan).stages[1]
    hours = 8 * caption.wall_seconds / 3600
    requests = caption.requests
    by_hand = 2 * hours + 7 * (requests.puts + requests.lists) / 1000 + 5 * requests.gets / 1000
    assert caption.cost(plan) == pytest.approx(by_hand)


def test_what_does_not_fit_is_what_limits():
    found = of("images=10000000", "limits.driver_memory_gb=4")
    broken = {stage.stage: list(stage.exceeded) for stage in found.stages if stage.exceeded}
    assert "driver memory" in broken["train"]
    assert broken["evaluate"] == ["driver memory", "node memory"]
    assert found.limits_first.exceeded
    assert all(stage.bottleneck in ADVICE for stage in found.stages)


@pytest.mark.parametrize(
    ("setting", "stage", "cause"),
    [
        ("limits.puts_per_second=1", "sample", "store PUT rate"),
        ("limits.volume_gigabytes=0.001", "ingest", "picture volume"),
        ("limits.node_gigabits=0.001", "encode", "network"),
        ("figures.actor_start_seconds=100000", "encode", "actors starting"),
        ("figures.driver_item_seconds=10", "bank", "driver: handing out"),
        ("figures.get_seconds=0.5", "bank", "driver: checking rejects"),
        ("figures.vlm_prefill_mfu=0.0001", "caption", "GPU"),
        ("figures.allreduce_node_bytes_per_second=1000000", "train", "gradient exchange"),
        ("figures.batch_row_seconds=1", "train", "loader"),
        ("limits.node_disk_gb=1", "train", "node disk"),
    ],
)
def test_the_scarcest_thing_is_named(setting, stage, cause):
    found = next(one for one in of("images=100000", setting).stages if one.stage == stage)
    assert found.bottleneck == cause


def test_a_time_that_hangs_on_an_assumption_says_so_and_your_own_figures_replace_it():
    for stage in of().stages:
        assert fields_of(stage, Plan())["basis"] == "assumed"
    names = {name: 1.0 for name, one in read_figures().all.items() if one.kind == "assumed"}
    own = of(*(f"figures.{name}={value}" for name, value in names.items()))
    for stage in own.stages:
        assert fields_of(stage, Plan())["basis"] == "extrapolated"
        assert not {figure.kind for figure in stage.figures.values()} & {"assumed"}


def test_every_figure_is_used_and_has_a_source():
    found = read_figures()
    used = {name for plan in ("gpus=8", "gpus=64") for stage in of(plan).stages for name in stage.figures}
    used |= {name for stage in of("images=100000000").stages for name in stage.figures}
    assert used == found.all.keys()
    for name, figure in found.all.items():
        assert figure.value > 0 and figure.unit and len(figure.source) > 10, name


def test_the_demo_without_gpus_is_reckoned_on_cores():
    found = estimate(Plan(images=1600, pixels=12288))
    assert found.gpu_hours == 0
    assert {stage.device for stage in found.stages} == {"core"}
    assert 60 < found.wall_seconds < 3600


def test_limits_are_all_looked_at():
    tight = dict.fromkeys(Limits.model_fields, 1e-6)
    found = estimate(Plan(images=1600, limits=Limits(**tight)))
    assert any("node disk" in stage.exceeded for stage in found.stages)
    assert all({"driver memory", "node memory"} <= stage.exceeded.keys() for stage in found.stages)


def test_it_needs_neither_torch_nor_ray():
    code = (
        "import sys; from vapray.capacity.pipeline import estimate; from vapray.capacity.plan import load_plan\n"
        f"estimate(load_plan(None, ['{PAPER}']))\n"
        "print([name for name in ('torch', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
