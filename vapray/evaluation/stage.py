"""Stage evaluate: compare generated images with real ones, and write metrics and a report.

in    images, captions, samples; the autoencoder and the checkpoint
out   the table ``measurements`` (features and attributes of each generated image),
      files/report/{metrics.json,memorisation.json,index.html}; also the tables ``reference_measurements``,
      ``copy_candidates`` and ``nearest_training``

Fan-out: the reference set is loaded or built (:mod:`vapray.evaluation.reference_set`); actors measure generated images
and look up the training images nearest to them; the driver reduces.
"""

import time
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vapray.captioning.prompt_selection import configured_prompt_set
from vapray.config import Config
from vapray.data.dataset import true_attributes
from vapray.data.decode import decode
from vapray.evaluation.attribute_judge import AttributeJudge
from vapray.evaluation.classifier import LABEL, Classifier
from vapray.evaluation.extractors.extractor import FeatureSpace
from vapray.evaluation.group_report import report_groups
from vapray.evaluation.group_scores import MeasuredImages
from vapray.evaluation.measurement import KEY_PREFIX, preparation
from vapray.evaluation.metrics import Provenance, StageTime
from vapray.evaluation.metrics_file import basis_of, to_metrics
from vapray.evaluation.reference_measurement import build_measurer
from vapray.evaluation.reference_set import ReferenceSet, load_or_build_reference
from vapray.evaluation.report.render import render_report
from vapray.evaluation.report.report_data import build_report_data
from vapray.evaluation.summary import summarize
from vapray.latents.description import describe_autoencoder
from vapray.memorisation.audit import Copied, Memorisation, audit, copied_images
from vapray.memorisation.candidates import COLUMNS
from vapray.memorisation.search import search_training_set
from vapray.runtime.row_map import map_rows
from vapray.runtime.stage_context import StageContext
from vapray.store.tables import TABLES, build_part
from vapray.store.version import Version

__all__ = ["run"]


def run(run: StageContext) -> None:
    """Run the stage."""
    config, references = run.config, load_or_build_reference(run)
    run.notes["references"] = references.version.fingerprint
    map_rows(
        run,
        run.inputs["samples"],
        partial(_MeasureSamples, config, references.classifier, references.judge),
        pool=config.pools.evaluate,
        columns=["sample_id", "arm", "label", "png"],
    )
    _write_report(run, references, *_look_for_copies(run, references))


class _MeasureSamples:
    def __init__(self, config: Config, classifier: Classifier, judge: AttributeJudge | None) -> None:
        self._measurer = build_measurer(config, classifier, judge)

    def __call__(self, rows: pa.Table) -> pa.Table:
        done: list[dict[str, Any]] = []
        for arm in ("generated", "untrained"):
            asked = [row for row in rows.to_pylist() if row["arm"] == arm]
            images = np.stack([decode(row["png"]) for row in asked]) if asked else np.zeros((0, 1, 1, 3), np.uint8)
            ids = [row["sample_id"] for row in asked]
            done += self._measurer.rows(arm, ids, [row["label"] for row in asked], images)
        return build_part(TABLES["measurements"], done)


def _look_for_copies(run: StageContext, references: ReferenceSet) -> tuple[Memorisation, Copied]:
    """Search all training images for those nearest to generated images; audit, and keys of the copied images."""
    run.progress.log("searching for copies of training images among the generated images")
    made = run.output.read(COLUMNS).filter(pc.field("set") == "generated")
    nearest = Version(run.output.files, "nearest_training", run.output.fingerprint)
    search_training_set(run, references.version, references.statistics, made.sort_by("key").select(COLUMNS), nearest)
    rows = nearest.read().to_pylist()
    found = audit(
        [*references.nearest.read().to_pylist(), *rows],
        related_left_out=references.related_left_out,
        n_training=references.samples.reference.of,
    )
    return found, copied_images(rows, found)


def _write_report(run: StageContext, references: ReferenceSet, memorisation: Memorisation, copied: Copied) -> None:
    config, inputs, space = run.config, run.inputs, references.space
    captions = _captions_of(inputs["captions"], references.samples.held_out_rows["image_id"])
    samples = inputs["samples"].read(["sample_id", "arm", "caption", "source_image_id"]).to_pylist()
    by_key = {
        f"{KEY_PREFIX[name]}/{image_id}": caption
        for image_id, caption in captions.items()
        for name in ("reconstructed", "held_out")
    }
    by_key |= {f"sample/{row['sample_id']}": row["caption"] for row in samples if row["arm"] == "generated"}
    sources = {f"sample/{row['sample_id']}": f"image/{row['source_image_id']}" for row in samples}
    without_pixels = [name for name in run.output.table_spec.schema.names if name != "pixels"]
    rows = references.samples.measured(references.version, without_pixels).to_pylist()
    rows += run.output.read(without_pixels).to_pylist()
    truths = {f"image/{image_id}": known for image_id, known in (true_attributes(config) or {}).items()}
    prompts = configured_prompt_set(config)
    untrusted = run.upstream["bank"].notes.get("untrusted", {})
    findings = summarize(rows, by_key, sources, truths, prompts, space, config, untrusted)
    groups = report_groups(run, MeasuredImages(rows, by_key, sources, copied, untrusted), prompts, space)
    basis = basis_of(references.samples, findings, config.evaluate)
    metrics = to_metrics(findings, memorisation, _stage_times(run), _provenance(run, space), groups, basis)
    page = render_report(build_report_data(run, references, metrics, findings, memorisation, groups))
    folder = f"{run.output.folder}/files/report"
    origin = {"checkpoint_sha256": metrics.provenance.checkpoint_sha256, "weights": config.sample.weights}
    run.output.files.write(f"{folder}/memorisation.json", memorisation.to_json(**origin, features_of=space.name))
    run.output.files.write(f"{folder}/metrics.json", metrics.to_json().encode())
    run.output.files.write(f"{folder}/index.html", page.encode())


def _captions_of(captions: Version, image_ids: pa.ChunkedArray) -> dict[str, str]:
    """Captions of some images, by id."""
    found = (
        part.filter(pc.is_in(part["image_id"], image_ids)) for part in captions.read_parts(["image_id", "caption"])
    )
    return {row["image_id"]: row["caption"] for part in found for row in part.to_pylist()}


def _stage_times(run: StageContext) -> dict[str, StageTime]:
    times = {
        name: StageTime(done.seconds, done.rows, done.rows / done.seconds if done.seconds else 0.0)
        for name, done in run.upstream.items()
    }
    seconds, rows = time.monotonic() - run.began, run.inputs["samples"].require_manifest().rows
    return times | {run.name: StageTime(seconds, rows, rows / seconds)}


def _provenance(run: StageContext, space: FeatureSpace) -> Provenance:
    config = run.config
    formulas = {"excess": "c + s (c - u)", "classifier_free": "u + s (c - u)"}
    captioner, trained = run.upstream["caption"].notes["captioner"], run.upstream["train"].notes
    return Provenance(
        extractor=space.name,
        extractor_sha256=space.sha256,
        extractor_width=space.width,
        resize=space.resize,
        preparation=preparation(config),
        classifier="small convolutional classifier trained on the real training images of this run",
        guidance_scale=config.sample.guidance_scale,
        guidance_convention=formulas[config.sample.guidance_convention],
        num_inference_steps=config.sample.network_evaluations,
        ema=config.sample.weights == "ema",
        seed=config.run.seed,
        label_prior="training" if config.sample.class_distribution == "training_prior" else "uniform",
        captioner="measured captions" if captioner == "measured" else captioner,
        checkpoint_sha256=trained["sha256"],
        network=f"{_NETWORKS[config.model.network]}, {_sees(config)}, {trained['parameters'] / 1e6:.3g}M parameters",
        forward_flops=trained["forward_flops"],
        training_images=trained["rows"],
        inception_score_of=LABEL if space.class_weights is None else space.name,
        autoencoder=describe_autoencoder(config.autoencoder, run.upstream["autoencoder"].notes),
    )


_NETWORKS = {"uvit": "U-ViT", "dit": "DiT", "unet": "latent-diffusion U-Net"}


def _sees(config: Config) -> str:
    """Describe the conditioning of the network, in the terms of the paper's table 1."""
    prototypes = " with PCM" if config.model.prototypes.enabled else ""
    if not prototypes and config.model.prototypes.has_block:
        prototypes = " with a block as large as PCM"
    shuffled = (
        f", {config.train.caption_shuffle_fraction:.0%} of them another image's"
        if config.train.caption_shuffle_fraction
        else ""
    )
    balanced = ", class-balancing loss" if config.train.cbdm_weight else ""
    return f"{'captions' if config.model.condition == 'caption' else 'class only'}{shuffled}{prototypes}{balanced}"
