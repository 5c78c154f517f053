"""Plan of a capacity estimate: a YAML file and ``key=value`` overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from vapray.config.file import COMMAND_LINE, apply_override, read_tree
from vapray.config.section import Count, Positive, Section, Share
from vapray.errors import ConfigError

__all__ = ["Plan", "load_plan"]


class Plan(Section):
    """Run and hardware of the estimate; the defaults of the hardware are assumed."""

    config: str | None = None
    """YAML file of the run, such as jobs/configs/isic2018.yaml; None: the demo's settings."""
    settings: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Overrides of the run's settings, as section.key=value; the plan decides pool sizes and ``train.workers``."""
    images: Count = 10_000
    """Number of labelled images over all splits."""
    pixels: Count = 270_000
    """Pixels of a stored image."""
    classes: Count = 7
    """Number of classes."""
    train_share: Share = 0.85
    """Share of the images in the train split."""
    held_out_share: Share = 0.1
    """Share of the images in the test split, which evaluation compares with."""
    gpus: Count = 8
    """Number of GPUs of each stage; a stage without GPUs uses the cores of as many."""
    gpus_per_stage: dict[Literal["caption", "bank", "encode", "train", "sample"], Count] = Field(default_factory=dict)
    """Number of GPUs of single stages, in place of ``gpus``."""
    gpus_per_node: Count = 8
    cores_per_gpu: Count = 12
    node_gigabits: Positive = 100.0
    """Network bandwidth of a node, in gigabits per second."""
    driver_memory_gb: Positive = 64.0
    """Memory of the pod that runs the job, in GB."""
    node_memory_gb: Positive = 1000.0
    """Memory of a node, in GB."""
    node_disk_gb: Positive = 28000.0
    """Local disk of a node, in GB; it holds the training rows."""
    constants: dict[str, Positive] = Field(default_factory=dict)
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
    try:
        return Plan.model_validate(tree)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc']))} = {one['input']!r}: {one['msg']}." for one in error.errors()]
        raise ConfigError("\n  ".join([f"invalid plan. Keys: {', '.join(Plan.model_fields)}.", *problems])) from None
