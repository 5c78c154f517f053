"""Contents of ``metrics.json``, from the results of evaluation and memorisation."""

import math
from collections.abc import Mapping
from typing import Any

from vapray.config import Evaluate
from vapray.evaluation.adherence import Adherence
from vapray.evaluation.group_report import GroupReport
from vapray.evaluation.image_samples import RealSamples
from vapray.evaluation.metrics import Metrics, Provenance, StageTime
from vapray.evaluation.summary import EvaluationSummary, JudgedAdherence
from vapray.memorisation.audit import Memorisation
from vapray.metrics.intervals import Interval

__all__ = ["to_metrics"]


def to_metrics(
    findings: EvaluationSummary,
    memorisation: Memorisation,
    stages: Mapping[str, StageTime],
    provenance: Provenance,
    groups: GroupReport | None = None,
    basis: Mapping[str, Mapping[str, Any]] | None = None,
) -> Metrics:
    """Build the contents of ``metrics.json``."""
    scores, adherence, floors = findings.scores, findings.adherence, findings.fid_floors
    measured = (adherence.adherence, adherence.shuffled, adherence.ceiling) if adherence else (math.nan,) * 3
    return Metrics(
        fid=scores.fid,
        kid=scores.kid,
        inception_score=findings.inception_score,
        precision=scores.prdc.precision,
        recall=scores.prdc.recall,
        fid_untrained=floors["untrained"],
        fid_class_mean=floors["class_mean"],
        fid_real_split=floors["held_out"],
        label_accuracy=findings.label_accuracy,
        caption_adherence=measured[0],
        caption_adherence_shuffled=measured[1],
        caption_adherence_ceiling=measured[2],
        n_real=findings.n_real,
        n_generated=findings.n_generated,
        features=provenance.extractor,
        stages=stages,
        provenance=provenance,
        intervals=_intervals(findings, memorisation),
        further=_additional_metrics(findings, memorisation),
        warnings=findings.warnings,
        caption_adherence_real=adherence.real if adherence else math.nan,
        caption_adherence_attributes=_attributes(adherence),
        attribute_judge=_judge(findings.judge),
        groups=groups.to_dict() if groups else {},
        basis=basis or {},
    )


def basis_of(samples: RealSamples, findings: EvaluationSummary, settings: Evaluate) -> dict[str, dict[str, Any]]:
    """Tell which images numbers rest on, for ``Metrics.basis``."""
    reference, held_out, made = samples.reference, samples.held_out, findings.n_generated
    some_real, some_made = min(findings.n_real, settings.pair_images), min(made, settings.pair_images)
    is_all = some_real == reference.of and some_made == made
    classified = min(reference.of, settings.classifier_images)
    return {
        "fid": _basis([findings.n_real, made], [reference.of, made], is_whole=reference.is_whole),
        "kid": _basis([some_real, some_made], [reference.of, made], is_whole=is_all, how="drawn from those of fid"),
        "fid_real_split": _basis(
            [findings.n_real, findings.n_held_out],
            [reference.of, held_out.of],
            is_whole=reference.is_whole and held_out.is_whole,
        ),
        "label_accuracy": _basis([classified, made], [reference.of, made], is_whole=classified == reference.of),
        "copies_share_pixels": _basis([reference.of, made], [reference.of, made], is_whole=True),
    }


def _basis(
    sizes: list[int], of: list[int], *, is_whole: bool, how: str = "lowest hashes, classes in proportion"
) -> dict[str, Any]:
    return {"n": sizes, "of": of, "how": "all" if is_whole else how}


def _attributes(adherence: Adherence | None) -> dict[str, dict[str, Any]]:
    """Build the numbers of each attribute that captions mention."""
    rows = [row for row in adherence.attributes if row.mentioned] if adherence else []
    return {
        row.name: {
            "value": row.adherence,
            "shuffled": row.shuffled,
            "real": row.real,
            "excess": [row.excess.low, row.excess.high] if row.excess else None,
        }
        for row in rows
    }


def _judge(judge: JudgedAdherence | None) -> dict[str, Any]:
    if judge is None:
        return {}
    found, accuracy = judge.adherence, judge.accuracy
    return {
        "accuracy": sum(accuracy.values()) / len(accuracy),
        "adherence": found.adherence,
        "shuffled": found.shuffled,
        "real": found.real,
        "attributes": {
            name: numbers | {"accuracy": accuracy.get(name)} for name, numbers in _attributes(found).items()
        },
    }


def _intervals(findings: EvaluationSummary, memorisation: Memorisation) -> dict[str, Interval | None]:
    found: dict[str, Interval | None] = {
        **findings.scores.intervals,
        "label_accuracy": findings.label_accuracy_interval,
        "copies_share_pixels": memorisation.pixels.interval,
        "copies_share_features": memorisation.features.interval,
    }
    if adherence := findings.adherence:
        found |= {
            "caption_adherence": adherence.adherence_interval,
            "caption_adherence_relative": adherence.relative_interval,
        }
    if rank := findings.source_rank:
        found["caption_source_rank"] = rank.interval
    return found


def _additional_metrics(findings: EvaluationSummary, memorisation: Memorisation) -> dict[str, float | None]:
    """Numbers of ``Metrics.further``; a new metric is added here."""
    found: dict[str, float | None] = {
        "density": findings.scores.prdc.density,
        "coverage": findings.scores.prdc.coverage,
        "fid_real_reconstructed": findings.fid_floors["reconstructed"],
        "kid_real_split": findings.kid_floors["held_out"],
        "kid_real_reconstructed": findings.kid_floors["reconstructed"],
        "fid_at_held_out_count": findings.fid_at_held_out_count,
        "n_held_out": findings.n_held_out,
        "label_accuracy_real": findings.label_accuracy_real,
        "nearest_training_relative": findings.relative_distance,
        "copies_share_pixels": memorisation.pixels.share,
        "copies_share_features": memorisation.features.share,
        "copies_share_expected": memorisation.pixels.expected,
        "copies_certain": max(memorisation.pixels.copies, memorisation.features.copies),
        "copies_planted_found": memorisation.pixels.planted_found,
        "copies_n_held_out": memorisation.pixels.n_held_out,
    }
    if findings.distributions:
        found |= {"prd_f8": findings.distributions.f8, "prd_f1_8": findings.distributions.f1_8}
    if adherence := findings.adherence:
        found |= {
            "caption_adherence_relative": adherence.relative,
            "caption_entropy_bits": adherence.caption_entropy_bits,
            "caption_entropy_within_class_bits": adherence.caption_entropy_within_class_bits,
        }
    if rank := findings.source_rank:
        found["caption_source_rank"] = rank.mean
    return found
