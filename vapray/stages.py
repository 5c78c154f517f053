"""Table of all stages: inputs, output and the settings that decide each result.

phantoms ─► images ─┬─► captions ─┬─► examinations ─► audit
                    │             └─► bank ────────┐
                    ├─► autoencoder ─► latents ────┼─► checkpoints ─► samples ─► report
                    └──────────────────────────────┴─────────────────────────────►
                    └────────────────────────────────────────────────► downstream
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from vapray.bank.signature import encoder_signature
from vapray.captioning.signature import captions_signature, model_signature, prompts_signature
from vapray.config import Config, Train
from vapray.data.dataset import dataset_signature
from vapray.downstream.signature import classifier_weights_signature
from vapray.evaluation.audit.signature import others_signature, ratings_signature
from vapray.evaluation.extractors.weight_files import features_signature
from vapray.latents.signature import autoencoder_signature, perceptual_signature
from vapray.sampling.texts import bank_signature
from vapray.training.signature import initial_weights_signature

__all__ = ["OUTSIDE", "STAGES", "Stage", "itinerary"]


@dataclass(frozen=True)
class Stage:
    """One stage, an arrow of the drawing above.

    Attributes:
        name: Name, as in ``python -m jobs.NAME``.
        room: Package whose ``stage.py`` holds ``run(StageRun)``.
        writes: Table that the stage writes.
        reads: Tables of earlier stages that it reads.
        sections: Dotted config keys that decide its result.
        schema: Version of its output format.
        uses_ray: True if it runs on Ray; False if it runs in the driver process alone.
        on_request: True if it runs only when it is named.
    """

    name: str
    room: str
    writes: str
    reads: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    schema: int = 1
    uses_ray: bool = True
    on_request: bool = False


# Reporting, saving, retrying and the number of workers do not change the training result.
_TRAIN_EXECUTION = {
    "workers", "use_gpu", "report_every", "checkpoint_every", "keep_checkpoints", "max_failures", "max_skipped_steps",
    "grace_seconds", "strict_checkpoints", "prefetch", "recompute", "accumulate_steps", "compile",
    "min_workers", "tracker", "init_from", "sharding", "resources_per_worker",
}  # fmt: skip
_TRAIN = tuple(f"train.{name}" for name in Train.model_fields if name not in _TRAIN_EXECUTION)
_FRAME = ("data.modality", "data.image_size")
_MODEL = ("data.image_size", "autoencoder", "model", "diffusion", "bank")

_EXAMINED = ("audit.images", "audit.repeats", "audit.repeated_images", "audit.temperature")
_JUDGED = ("audit.rated_images",)

STAGES = (
    Stage("ingest", "data", "images", (), ("data.source",), schema=2),
    Stage("caption", "captioning", "captions", ("images",), ("data.modality", "caption", "run.seed"), schema=3),
    Stage(
        "examine",
        "evaluation.audit.examination",
        "examinations",
        ("images", "captions"),
        ("data.modality", "caption", *_EXAMINED, "run.seed"),
    ),
    Stage(
        "audit",
        "evaluation.audit",
        "audits",
        ("captions", "examinations"),
        ("caption.prompt_set", "data.modality", *_JUDGED, "run.seed"),
        uses_ray=False,
    ),
    Stage("bank", "bank", "bank", ("captions",), ("bank",)),
    Stage(
        "autoencoder",
        "latents.fitting",
        "autoencoder",
        ("images",),
        ("data.image_size", "autoencoder", "run.seed"),
    ),
    Stage("encode", "latents", "latents", ("images", "autoencoder"), ("data.image_size",)),
    Stage(
        "train",
        "training",
        "checkpoints",
        ("images", "autoencoder", "bank", "latents"),
        (*_MODEL, *_TRAIN, "run.seed"),
        schema=3,
    ),
    Stage("sample", "sampling", "samples", ("bank", "checkpoints"), ("sample", "run.seed")),
    Stage(
        "evaluate",
        "evaluation",
        "measurements",
        ("images", "captions", "autoencoder", "checkpoints", "samples"),
        (*_FRAME, "caption.prompt_set", "evaluate", "run.seed"),
        schema=6,
    ),
    Stage(
        "downstream",
        "downstream",
        "downstream",
        ("images", "samples"),
        ("data.image_size", "downstream", "run.seed"),
        on_request=True,
    ),
)


# Inputs of each stage besides tables and config values, with the function that hashes their content.
OUTSIDE: Mapping[str, Mapping[str, Callable[[Config], str]]] = {
    "ingest": {"dataset": dataset_signature},
    "caption": {"prompts": prompts_signature, "given captions": captions_signature, "model": model_signature},
    "bank": {"text encoder": encoder_signature},
    "autoencoder": {"autoencoder model": autoencoder_signature, "perceptual network": perceptual_signature},
    "train": {"initial weights": initial_weights_signature},
    "sample": {"another run's bank": bank_signature},
    "audit": {"prompts": prompts_signature, "other captions": others_signature, "ratings": ratings_signature},
    "evaluate": {"prompts": prompts_signature, "feature weights": features_signature},
    "downstream": {"initial weights": classifier_weights_signature},
}


def itinerary(names: Collection[str] | None) -> Mapping[Stage, bool]:
    """Select the stages of a run.

    Args:
        names: Stages to run; None for all that do not run on request only.

    Returns:
        The stages to visit, in order; True for those to run.
    """
    wanted = {stage: not stage.on_request if names is None else stage.name in names for stage in STAGES}
    return {stage: is_wanted for stage, is_wanted in wanted.items() if is_wanted or not stage.on_request}
