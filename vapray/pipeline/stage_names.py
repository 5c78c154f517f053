"""Names and packages of all stages, in order; it imports nothing, so that ``--help`` is fast."""

__all__ = ["STAGES_OF_JOB", "STAGE_PACKAGES"]

STAGE_PACKAGES = {
    "ingest": "data",
    "caption": "captioning",
    "caption_audit_sample": "caption_audit.sample",
    "audit": "caption_audit",
    "bank": "bank",
    "autoencoder": "latents.fitting",
    "encode": "latents",
    "train": "training",
    "sample": "sampling",
    "evaluate": "evaluation",
    "downstream": "downstream",
}
"""Package of each stage: its ``stage.py`` runs the stage, its ``forecast.py`` estimates it."""

STAGES_OF_JOB = {name: [name] for name in STAGE_PACKAGES if name != "caption_audit_sample"} | {
    "audit": ["caption_audit_sample", "audit"]
}
"""Stages that ``vapray run NAME`` and ``python -m jobs.NAME`` run, by name."""
