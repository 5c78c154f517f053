"""Estimate of all stages of a plan."""

import importlib
import math

from vapray.capacity.constants import Cost, read_constants
from vapray.capacity.estimate import StageEstimate, TableSize, Workload
from vapray.capacity.map_stages import MappedStage
from vapray.capacity.plan import Plan
from vapray.capacity.training import train_stage
from vapray.config import Pools
from vapray.config.loader import load_config
from vapray.errors import ConfigError
from vapray.pipeline.stages import select_stages
from vapray.runtime.forecast import Forecast, ForecastInputs, Images
from vapray.runtime.row_map import ROWS_OF_A_PLAN_PART

__all__ = ["estimate_run", "load_workload"]

PLACEMENT = (
    *("data.source=folder", "data.root=images", "run.root=s3://bucket/run", "train.workers=1", "train.min_workers=0"),
    *(f"pools.{pool}.{key}=1" for pool in Pools.model_fields for key in ("min_size", "max_size")),
)
BYTES_OF_A_PLANNED_ROW = 40
SOURCES = {"caption": "images", "bank": "captions", "encode": "images"}
OF_FIXED_SIZE = ("caption_audit_sample", "audit", "autoencoder")
"""Stages whose work does not grow with the images; they are not estimated."""


def estimate_run(plan: Plan) -> list[StageEstimate]:
    """Estimate the stages of a plan whose work grows with the images, in order.

    Raises:
        ConfigError: the plan's constants or the run's settings are invalid.
    """
    work, found = load_workload(plan), []
    tables: dict[str, TableSize] = {}
    for stage in select_stages(None):
        if stage.name == "train":
            found.append(train_stage(tables["prompt_bank"], tables["latents"], work))
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


def load_workload(plan: Plan) -> Workload:
    """Read the run's settings and forecast every stage."""
    config, images = load_config(plan.config, [*plan.settings, *PLACEMENT]), _images(plan)
    rows: dict[str, int] = {}
    forecasts: dict[str, Forecast] = {}
    for stage in select_stages(None):
        forecast = importlib.import_module(f"vapray.{stage.package}.forecast").forecast
        forecasts[stage.name] = forecast(ForecastInputs(config, images, rows))
        rows[stage.writes] = forecasts[stage.name].rows
    constants = read_constants(plan.constants).items()
    costs = {name: Cost(constant.value, frozenset({name})) for name, constant in constants}
    return Workload(plan, config, images, forecasts, costs)


def _images(plan: Plan) -> Images:
    train, test = round(plan.images * plan.train_share), round(plan.images * plan.held_out_share)
    if not train or not test or train + test > plan.images:
        shares = f"train_share, held_out_share: {train:,} and {test:,} of {plan.images:,} images"
        raise ConfigError(f"{shares}. Fix: choose shares of at least one image each, and together of at most all.")
    splits = {"train": train, "test": test, "validation": plan.images - train - test}
    return Images(splits, plan.classes, plan.pixels)
