"""Lineage of an image: the versions of tables behind it, and what of them rests on its subject."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from vapray.compare.subject_lineage import find_subject
from vapray.errors import DataError
from vapray.trace.traced_image import TracedImage
from vapray.trace.traced_run import TracedRun

__all__ = ["LineageFacts", "LineageRow", "lineage_of"]


@dataclass(frozen=True)
class LineageRow:
    """One version of a table."""

    stage: str
    version: str
    """TABLE/FINGERPRINT."""
    content_hash: str
    rows: int
    """Number of rows; 0 for a version of files."""
    finished: str
    subject: str
    """Reasons why it rests on the subject of the image; empty for none."""


@dataclass(frozen=True)
class LineageFacts:
    """Versions and identifiers behind an image."""

    rows: Sequence[LineageRow]
    subject: str
    """Subject or group that ``vapray lineage`` was asked for; empty without one."""
    facts: Sequence[tuple[str, str]]


def lineage_of(run: TracedRun, image: TracedImage, seed: int) -> LineageFacts:
    """List the versions that the trace reads, in the order in which they finished."""
    subject = (image.source["subject"] or image.source["group"] or image.source["image_id"]) if image.source else ""
    reasons = _reasons(run.root, subject)
    used = (*run.versions.values(), run.audit_measurements, run.audit, run.references)
    versions = {version.folder: version.require_manifest() for version in used if version}
    rows = [
        LineageRow(
            manifest.stage,
            folder,
            manifest.content_hash,
            manifest.rows,
            time.strftime("%Y-%m-%d %H:%M", time.localtime(manifest.finished)),
            reasons.get(folder, ""),
        )
        for folder, manifest in sorted(versions.items(), key=lambda one: one[1].finished)
    ]
    return LineageFacts(rows, subject if reasons else "", _facts(run, seed))


def _reasons(root: str, subject: str) -> dict[str, str]:
    try:
        found = find_subject(root, subject) if subject else None
    except DataError:
        return {}
    return {one.version.folder: one.reasons for one in found.dependents} if found else {}


def _facts(run: TracedRun, seed: int) -> list[tuple[str, str]]:
    sampler, config = run.sampler, run.config
    software = dict.fromkeys(
        f"{name} {version}" for one in run.lineage.manifests.values() for name, version in one.versions.items()
    )
    outside = {name: value for name, value in run.lineage.outside.items() if value}
    return [
        ("Seed of this image", str(seed)),
        ("Seed of the run", str(config.run.seed)),
        ("Weights", f"{config.sample.weights}, sha256 {sampler.model_sha256}"),
        ("Software", ", ".join(software)),
        ("Text encoder", sampler.encoder.id),
        ("Prompt set", f"{run.prompt_set.name}, version {run.prompt_set.version}"),
        ("Training images", f"licence {sampler.origins.licence_names}; source {sampler.origins.source_names}"),
        *((f"Input: {name}", value) for name, value in outside.items()),
    ]
