"""Plan of a capacity estimate: a YAML file and ``key=value`` overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from vapray.config.loader import COMMAND_LINE, apply_override, read_tree
from vapray.config.section import ConfigSection, PathText, PositiveFloat, PositiveInt, UnitInterval
from vapray.config.validation_errors import validate

__all__ = ["Plan", "load_plan"]


class Plan(ConfigSection):
    """Run and hardware of the estimate; the defaults of the hardware are assumed."""

    config: PathText | None = None
    """YAML file of the run, such as jobs/configs/isic2018.yaml; None: the defaults of all settings."""
    settings: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Overrides of the run's settings, as section.key=value; the plan decides pool sizes and ``train.workers``."""
    images: PositiveInt = 10_000
    """Number of labelled images over all splits."""
    pixels: PositiveInt = 270_000
    """Pixels of a stored image."""
    classes: PositiveInt = 7
    """Number of classes."""
    train_share: UnitInterval = 0.85
    """Share of the images in the train split."""
    held_out_share: UnitInterval = 0.1
    """Share of the images in the test split, which evaluation compares with."""
    gpus: PositiveInt = 8
    """Number of GPUs of each stage; a stage without GPUs uses the cores of as many."""
    gpus_per_stage: dict[Literal["caption", "bank", "encode", "train", "sample"], PositiveInt] = Field(
        default_factory=dict
    )
    """Number of GPUs of single stages, in place of ``gpus``."""
    gpus_per_node: PositiveInt = 8
    cores_per_gpu: PositiveInt = 12
    node_gigabits: PositiveFloat = 100.0
    """Network bandwidth of a node, in gigabits per second."""
    driver_memory_gb: PositiveFloat = 64.0
    """Memory of the pod that runs the job, in GB."""
    node_memory_gb: PositiveFloat = 1000.0
    """Memory of a node, in GB."""
    node_disk_gb: PositiveFloat = 28000.0
    """Local disk of a node, in GB; it holds the training rows."""
    constants: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Values by name that replace those of constants.yaml."""

    def gpus_of_stage(self, stage: str) -> int:
        """Return the number of GPUs of a stage."""
        return {str(name): gpus for name, gpus in self.gpus_per_stage.items()}.get(stage, self.gpus)


def load_plan(file: str | None, overrides: Sequence[str]) -> Plan:
    """Read and validate a plan.

    Raises:
        ConfigError: with all invalid keys, the values received and the values accepted.
    """
    tree: dict[str, Any] = read_tree(Path(file))[0] if file else {}
    for override in overrides:
        apply_override(tree, {}, override, COMMAND_LINE)
    return validate(Plan, tree, source="plan")
