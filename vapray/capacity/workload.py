"""The run that a plan describes: its settings, the tables it would write, and what one worker alone would need.

Rows, bytes and the work of CPUs are the rooms' own forecasts; what they say of GPUs is replaced in ``work.py``.
"""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from vapray.bank.forecast import context_width, tokens_of_a_caption
from vapray.capacity.plan import Plan
from vapray.config import Config
from vapray.config.file import load
from vapray.errors import ConfigError
from vapray.forecast import Forecast, Images, Outlook

__all__ = ["ROOMS", "Workload", "workload_of"]

ROOMS = {
    "ingest": "data",
    "caption": "captioning",
    "bank": "bank",
    "encode": "latents",
    "train": "training",
    "sample": "sampling",
    "evaluate": "evaluation",
}
PLACED = ("train.workers", "train.min_workers", "run.root", "data.source", "data.root")
ALONE = {"min_size": 1, "max_size": 1}
CAPTIONERS = ("vllm", "measured", "given")


@dataclass(frozen=True)
class Workload:
    """What is to be done.

    Attributes:
        plan: what was asked.
        config: the run's settings, with one worker in every pool.
        images: the pictures.
        alone: forecast of each stage with that one worker.
    """

    plan: Plan
    config: Config
    images: Images
    alone: Mapping[str, Forecast]

    @property
    def training_rows(self) -> int:
        """Pictures of the train split."""
        return self.images.splits["train"]

    @property
    def row_bytes(self) -> float:
        """Of a training row on a node: moments of both sides and the context, float16."""
        pixels = self.config.autoencoder.kind == "pixels"
        channels = 3 if pixels else self.config.autoencoder.channels
        moments = 2 * 2 * channels * self.config.latent_side**2
        return 2.0 * (moments + tokens_of_a_caption(self.config) * context_width(self.config))


def workload_of(plan: Plan) -> Workload:
    """Read the run's settings and forecast every stage.

    Raises:
        ConfigError: the settings are wrong, or a stage of theirs cannot be reckoned.
    """
    config = _config(plan)
    splits = _splits(plan)
    images = Images(splits, plan.classes, plan.pixels)
    rows: dict[str, int] = {}
    alone = {}
    for stage, room in ROOMS.items():
        found: Forecast = importlib.import_module(f"vapray.{room}.forecast").forecast(Outlook(config, images, rows))
        alone[stage] = found
        rows |= {TABLES_OF[stage]: found.rows} if stage in TABLES_OF else {}
    return Workload(plan, config, images, alone)


TABLES_OF = {"ingest": "images", "caption": "captions", "bank": "bank", "encode": "latents", "sample": "samples"}


def _splits(plan: Plan) -> dict[str, int]:
    train, held_out = round(plan.images * plan.train_share), round(plan.images * plan.held_out_share)
    if not train or not held_out or train + held_out > plan.images:
        raise ConfigError(
            f"train_share {plan.train_share:g} and held_out_share {plan.held_out_share:g} of {plan.images:,} images "
            f"are {train:,} and {held_out:,}: wanted at least 1 of each, and together at most all."
        )
    return {"train": train, "test": held_out, "validation": plan.images - train - held_out}


def _config(plan: Plan) -> Config:
    for setting in plan.settings:
        if setting.startswith(PLACED) or re.match(r"pools\.\w+\.(min|max)_size=", setting):
            raise ConfigError(f"settings: {setting}: places and workers follow from the plan. Leave it out.")
    named = {"train.steps": plan.steps, "train.batch_size": plan.batch_size, "sample.n_images": plan.generated}
    asked = [f"{key}={value}" for key, value in named.items() if value is not None]
    places = ["data.source=folder", "data.root=nowhere", "run.root=s3://nowhere/run"]
    config = load(plan.config, [*plan.settings, *asked, *places, "train.workers=1", "train.min_workers=0"])
    if config.caption.captioner not in CAPTIONERS:
        raise ConfigError(
            f"caption.captioner = {config.caption.captioner}: what its server takes is not known here; wanted one of "
            f"{', '.join(CAPTIONERS)}. Put settings: [caption.captioner=given] for captions that are made elsewhere."
        )
    pools = {stage: getattr(config.pools, stage).model_copy(update=ALONE) for stage in ROOMS if stage != "train"}
    return config.model_copy(update={"pools": config.pools.model_copy(update=pools)})
