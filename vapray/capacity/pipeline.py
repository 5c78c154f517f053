"""All stages of a plan, one after the other."""

from collections.abc import Iterator, Sequence

from vapray.capacity.estimate import Estimate, StageEstimate
from vapray.capacity.figures import Figures, read_figures
from vapray.capacity.mapping import Table, map_stage, plan_table
from vapray.capacity.plan import Plan
from vapray.capacity.training import train_stage, workers_of
from vapray.capacity.workload import Workload, workload_of

__all__ = ["estimate"]

BYTES_OF_A_PLANNED_ROW = 40


def estimate(plan: Plan) -> Estimate:
    """What a plan would take.

    Raises:
        ConfigError: the plan, its figures or the run's settings are wrong.
    """
    work, figures = workload_of(plan), read_figures(plan.figures)
    stages = tuple(_stages(work, figures))
    return Estimate(plan, stages, tuple(_notes(work, stages)))


def _stages(work: Workload, figures: Figures) -> Iterator[StageEstimate]:
    tables = {"records": _planned(work.images.count)}
    for stage, source, written in (
        ("ingest", "records", "images"),
        ("caption", "images", "captions"),
        ("bank", "captions", "bank"),
        ("encode", "images", "latents"),
    ):
        found, tables[written] = map_stage(stage, tables[source], work, figures)
        yield found
    yield train_stage(tables["bank"], tables["latents"], work, figures)
    found, samples = map_stage("sample", _planned(work.alone["sample"].rows), work, figures)
    yield found
    yield map_stage("evaluate", _measured(tables["images"], samples, work), work, figures)[0]


def _planned(rows: int) -> Table:
    return plan_table(rows, rows * BYTES_OF_A_PLANNED_ROW)


def _measured(images: Table, samples: Table, work: Workload) -> Table:
    """Two tables that are mapped one after the other, as one."""
    looked_at = work.training_rows + work.images.held_out
    return Table(looked_at + samples.rows, images.parts + samples.parts, images.bytes + samples.bytes)


def _notes(work: Workload, stages: Sequence[StageEstimate]) -> Iterator[str]:
    sizes = ", ".join(f"pools.{one.stage}.max_size={one.workers}" for one in stages if one.stage != "train")
    yield f"As many processes as said here take settings: {sizes}, train.workers={workers_of(work)}."
    workers, asked = workers_of(work), work.plan.gpus_for("train")
    if work.config.train.use_gpu and workers < asked:
        batch = work.config.train.batch_size
        yield f"train: {workers} of {asked} GPUs, for a batch of {batch} is shared evenly; a larger batch uses more"
