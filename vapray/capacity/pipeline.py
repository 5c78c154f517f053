"""Estimate of all stages of a plan."""

import math

from vapray.capacity.estimate import StageEstimate, TableSize
from vapray.capacity.map_stages import MappedStage
from vapray.capacity.plan import Plan
from vapray.capacity.training import train_stage
from vapray.capacity.workload import Workload, load_workload
from vapray.row_map import ROWS_OF_A_PLAN_PART
from vapray.stages import itinerary

__all__ = ["estimate_run"]

BYTES_OF_A_PLANNED_ROW = 40
SOURCES = {"caption": "images", "bank": "captions", "encode": "images"}
OF_FIXED_SIZE = ("examine", "audit", "autoencoder")
"""Stages whose work does not grow with the images; they are not estimated."""


def estimate_run(plan: Plan) -> list[StageEstimate]:
    """Estimate the stages of a plan whose work grows with the images, in order.

    Raises:
        ConfigError: the plan's constants or the run's settings are invalid.
    """
    work, found = load_workload(plan), []
    tables: dict[str, TableSize] = {}
    for stage in itinerary(None):
        if stage.name == "train":
            found.append(train_stage(tables["bank"], tables["latents"], work))
        elif stage.name not in OF_FIXED_SIZE:
            mapped = MappedStage(stage.name, _source(stage.name, tables, work), work)
            tables[stage.writes] = mapped.written
            found.append(mapped.estimate())
    return found


def _source(stage: str, tables: dict[str, TableSize], work: Workload) -> TableSize:
    """Return the table whose rows a stage maps: another stage's, or its own list of work."""
    if stage in SOURCES:
        return tables[SOURCES[stage]]
    if stage == "evaluate":
        images, samples = tables["images"], tables["samples"]
        rows = work.images.splits["train"] + work.images.held_out + samples.rows
        return TableSize(rows, images.parts + samples.parts, images.bytes + samples.bytes)
    rows = work.forecasts[stage].rows
    return TableSize(rows, math.ceil(rows / ROWS_OF_A_PLAN_PART), rows * BYTES_OF_A_PLANNED_ROW)
