"""Run of a plan: its settings, images, constants, and the forecast of each stage with one worker."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

from vapray.capacity.constants import Cost, read_constants
from vapray.capacity.plan import Plan
from vapray.config import Config, Pools
from vapray.config.file import load
from vapray.errors import ConfigError
from vapray.forecast import Forecast, Images, Outlook
from vapray.stages import itinerary

__all__ = ["Workload", "load_workload"]

PLACEMENT = (
    *("data.source=folder", "data.root=images", "run.root=s3://bucket/run", "train.workers=1", "train.min_workers=0"),
    *(f"pools.{pool}.{key}=1" for pool in Pools.model_fields for key in ("min_size", "max_size")),
)


@dataclass(frozen=True)
class Workload:
    """Plan, settings of the run, images, forecast of each stage with one worker, and constants."""

    plan: Plan
    config: Config
    images: Images
    forecasts: Mapping[str, Forecast]
    constants: Mapping[str, Cost]


def load_workload(plan: Plan) -> Workload:
    """Read the run's settings and forecast every stage.

    Raises:
        ConfigError: the settings, constants or shares of the splits are invalid.
    """
    config, images = load(plan.config, [*plan.settings, *PLACEMENT]), _images(plan)
    rows: dict[str, int] = {}
    forecasts: dict[str, Forecast] = {}
    for stage in itinerary(None):
        forecast = importlib.import_module(f"vapray.{stage.room}.forecast").forecast
        forecasts[stage.name] = forecast(Outlook(config, images, rows))
        rows[stage.writes] = forecasts[stage.name].rows
    constants = read_constants(plan.constants).items()
    costs = {name: Cost(constant.value, frozenset({name})) for name, constant in constants}
    return Workload(plan, config, images, forecasts, costs)


def _images(plan: Plan) -> Images:
    train, test = round(plan.images * plan.train_share), round(plan.images * plan.held_out_share)
    if not train or not test or train + test > plan.images:
        raise ConfigError(
            f"train_share = {plan.train_share:g}, held_out_share = {plan.held_out_share:g}: {train:,} and {test:,} of "
            f"{plan.images:,} images. Fix: choose shares of at least one image each, and together of at most all."
        )
    splits = {"train": train, "test": test, "validation": plan.images - train - test}
    return Images(splits, plan.classes, plan.pixels)
