"""Table of all stages: inputs, output and the settings that decide each result.

phantoms ─► images ─┬─► captions ─┬─► audit_measurements ─► audit
                    │             └─► prompt_bank ─┐        (with caption.trust=audited from audit, too)
                    ├─► autoencoder ─► latents ────┼─► checkpoints ─► samples ─► report
                    └──────────────────────────────┴─────────────────────────────►
                    └────────────────────────────────────────────────► downstream
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from vapray.bank.content_hash import encoder_content_hash
from vapray.caption_audit.content_hash import others_content_hash, ratings_content_hash
from vapray.captioning.content_hash import captions_content_hash, model_content_hash, prompts_content_hash
from vapray.config import Caption, Config, Train
from vapray.config.dotted import values_at
from vapray.data.dataset import dataset_content_hash
from vapray.data.image_groups import groups_content_hash
from vapray.downstream.content_hash import classifier_weights_content_hash
from vapray.evaluation.extractors.weight_files import features_content_hash
from vapray.latents.content_hash import autoencoder_content_hash, perceptual_content_hash
from vapray.latents.teacher_files import teacher_content_hash
from vapray.pipeline.stage_names import STAGE_PACKAGES
from vapray.sampling.caption_source import bank_content_hash
from vapray.training.content_hash import initial_weights_content_hash

__all__ = [
    "EXTERNAL_INPUTS",
    "STAGES",
    "Stage",
    "deciding_sections",
    "select_stages",
    "sign_external_inputs",
    "tables_read",
    "with_inputs",
]


@dataclass(frozen=True)
class Stage:
    """One stage, an arrow of the drawing above.

    Attributes:
        name: Name, as in ``python -m jobs.NAME``.
        writes: Table that the stage writes.
        reads: Tables of earlier stages that it reads.
        reads_for_groups: Tables that it also reads if ``evaluate.groups`` is set and they are finished.
        config_keys: Dotted config keys that decide its result.
        schema: Version of its output format.
        uses_ray: True if it runs on Ray; False if it runs in the driver process alone.
        opt_in: True if it runs only when it is named.
    """

    name: str
    writes: str
    reads: tuple[str, ...] = ()
    reads_for_groups: tuple[str, ...] = field(default=(), kw_only=True)
    config_keys: tuple[str, ...] = ()
    schema: int = 1
    uses_ray: bool = True
    opt_in: bool = False

    @property
    def package(self) -> str:
        """Package whose ``stage.py`` holds ``run(StageContext)``."""
        return STAGE_PACKAGES[self.name]


# Reporting, saving, retrying and the number of workers do not change the training result.
_TRAIN_EXECUTION = {
    "workers", "use_gpu", "log_every", "checkpoint_every", "keep_checkpoints", "max_failures", "max_skipped_steps",
    "grace_seconds", "strict_checkpoints", "prefetch", "activation_checkpointing", "gradient_accumulation_steps",
    "compile", "min_workers", "tracker", "init_from", "sharding", "resources_per_worker",
    "cpus_per_worker", "health_every", "profile_steps",
}  # fmt: skip
_TRAIN = tuple(f"train.{name}" for name in Train.model_fields if name not in _TRAIN_EXECUTION)
# The pilot decides no caption, and trust none before the bank.
_CAPTION = tuple(f"caption.{name}" for name in Caption.model_fields if name not in {"pilot", "trust"})
_ALIGNMENT = ("alignment.kind", "alignment.weight", "alignment.block", "alignment.share")
_FRAME = ("data.modality", "data.image_size")
_MODEL = ("data.image_size", "autoencoder", "model", "diffusion", "text_encoder")

_MEASURED = (
    "caption_audit.images",
    "caption_audit.repeats",
    "caption_audit.repeated_images",
    "caption_audit.temperature",
)
_JUDGED = ("caption_audit.rated_images",)

STAGES = (
    Stage("ingest", "images", (), ("data.source",), schema=3),
    Stage("caption", "captions", ("images",), ("data.modality", *_CAPTION, "run.seed"), schema=5),
    Stage(
        "caption_audit_sample",
        "audit_measurements",
        ("images", "captions"),
        ("data.modality", *_CAPTION, *_MEASURED, "run.seed"),
        schema=2,
    ),
    Stage(
        "audit",
        "audits",
        ("captions", "audit_measurements"),
        ("caption.prompt_set", "caption.trust", "data.modality", *_JUDGED, "run.seed"),
        uses_ray=False,
    ),
    Stage("bank", "prompt_bank", ("captions",), ("text_encoder", "caption.trust"), schema=3),
    Stage("autoencoder", "autoencoder", ("images",), ("data.image_size", "autoencoder", "run.seed")),
    Stage("encode", "latents", ("images", "autoencoder"), ("data.image_size",), schema=2),
    Stage(
        "train",
        "checkpoints",
        ("images", "autoencoder", "prompt_bank", "latents"),
        (*_MODEL, *_TRAIN, *_ALIGNMENT, "run.seed"),
        schema=3,
    ),
    Stage("sample", "samples", ("prompt_bank", "checkpoints"), ("sample", "run.seed")),
    Stage(
        "evaluate",
        "measurements",
        ("images", "captions", "autoencoder", "checkpoints", "samples"),
        (*_FRAME, "caption.prompt_set", "evaluate", "run.seed"),
        schema=9,
        reads_for_groups=("downstream",),
    ),
    Stage(
        "downstream",
        "downstream",
        ("images", "samples"),
        ("data.image_size", "downstream", "run.seed"),
        opt_in=True,
    ),
)

# Inputs of each stage besides tables and config values, with the function that hashes their content.
EXTERNAL_INPUTS: Mapping[str, Mapping[str, Callable[[Config], str]]] = {
    "ingest": {"dataset": dataset_content_hash},
    "caption": {"prompts": prompts_content_hash, "captions file": captions_content_hash, "model": model_content_hash},
    "bank": {"text encoder": encoder_content_hash},
    "autoencoder": {"autoencoder model": autoencoder_content_hash, "perceptual network": perceptual_content_hash},
    "encode": {"teacher": teacher_content_hash},
    "train": {"initial weights": initial_weights_content_hash},
    "sample": {"caption run": bank_content_hash},
    "audit": {"prompts": prompts_content_hash, "other captions": others_content_hash, "ratings": ratings_content_hash},
    "evaluate": {
        "prompts": prompts_content_hash,
        "feature weights": features_content_hash,
        "groups": groups_content_hash,
    },
    "downstream": {"initial weights": classifier_weights_content_hash, "groups": groups_content_hash},
}


def sign_external_inputs(stage: Stage, config: Config) -> dict[str, str]:
    """Hash the external inputs of a stage, by name, without empty groups: they keep finished runs of earlier versions.

    Raises:
        ConfigError: an input is missing or unusable.
    """
    found = {name: sign(config) for name, sign in EXTERNAL_INPUTS.get(stage.name, {}).items()}
    return {name: content for name, content in found.items() if content or name != "groups"}


def tables_read(stage: Stage, config: Config) -> tuple[str, ...]:
    """Return the tables that a stage reads with this config; the bank reads the audit if it decides what to trust."""
    audited = stage.name == "bank" and config.caption.trust == "audited"
    return (*stage.reads, "audits") if audited else stage.reads


def deciding_sections(stage: Stage, config: Config) -> dict[str, Any]:
    """Return the config values that decide a stage's result, by dotted key, as JSON values."""
    return values_at(config.model_dump(mode="json"), stage.config_keys)


def with_inputs(names: Collection[str], config: Config) -> tuple[str, ...]:
    """Return these stages and those whose tables they need with this config, in order."""
    needed, tables = set(names), set[str]()
    for stage in reversed(STAGES):
        if stage.name in needed or stage.writes in tables:
            needed.add(stage.name)
            tables.update(tables_read(stage, config))
    return tuple(stage.name for stage in STAGES if stage.name in needed)


def select_stages(names: Collection[str] | None) -> Mapping[Stage, bool]:
    """Select the stages of a run.

    Args:
        names: Stages to run; None for all that do not run on request only.

    Returns:
        The stages to visit, in order; True for those to run.
    """
    wanted = {stage: not stage.opt_in if names is None else stage.name in names for stage in STAGES}
    return {stage: is_wanted for stage, is_wanted in wanted.items() if is_wanted or not stage.opt_in}
