"""evaluate: generated pictures beside real ones become numbers and a report.

in    images, captions, samples; the autoencoder and the checkpoint
out   the table ``measurements`` (what each actor found in each picture), files/classifier.safetensors,
      files/report/{metrics.json,memorisation.json,index.html}; besides, ``suspects`` and ``nearest``

Fan-out: one task trains the classifier on real training frames and plants copies; actors measure pictures; actors look
up the nearest training pictures of those that might be copies; the driver reduces.
"""

import contextlib
import hashlib
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vapray.captioning.prompt_set import load_prompt_set
from vapray.cluster import run_remote
from vapray.config import Config
from vapray.data.decode import decode
from vapray.data.frames import read_frames
from vapray.errors import DataError
from vapray.evaluation.baselines import class_mean_images
from vapray.evaluation.classifier import LABEL, Classifier, read_classifier, train_classifier
from vapray.evaluation.extractors.extractor import FeatureSpace
from vapray.evaluation.features import extractor_of
from vapray.evaluation.frechet import FeatureStatistics
from vapray.evaluation.measuring import CLASSIFIER, Examiner, features_of
from vapray.evaluation.memorisation.audit import Memorisation, audit
from vapray.evaluation.memorisation.planting import PLANTED, plant
from vapray.evaluation.memorisation.search import NeighbourSearch
from vapray.evaluation.memorisation.suspects import suspects_of, unrelated
from vapray.evaluation.metrics import Provenance, StageTime
from vapray.evaluation.report.assembly import assemble
from vapray.evaluation.report.render import render_report
from vapray.evaluation.summary import metrics_of, summarise
from vapray.latents.autoencoder import Autoencoder
from vapray.latents.description import describe_autoencoder
from vapray.latents.latent_space import split_moments
from vapray.latents.opening import open_autoencoder
from vapray.row_map import map_rows, plan_rows
from vapray.stage_run import StageRun
from vapray.store import Version
from vapray.tables import TABLES, held_out_split, part_of

__all__ = ["run"]

COMPARED = ["key", "set", "pixels", "features"]
"""Columns that the search for copies reads."""


def run(run: StageRun) -> None:
    """Run the stage."""
    config, inputs = run.config, run.inputs
    held_out = _held_out_split(inputs["images"])
    counts = Counter(
        inputs["samples"].read(["label", "arm"]).filter(pc.field("arm") == "generated")["label"].to_pylist()
    )
    pool = config.pools.evaluate
    run.progress.say("training the classifier that judges labels on real images")
    classifier, space = run_remote(
        run.name, _prepare, config, inputs["images"], run.output, counts, pool=pool, say=run.progress.say
    )
    run.notes["classifier_sha256"] = hashlib.sha256(classifier.to_safetensors()).hexdigest()
    map_rows(
        run,
        inputs["images"],
        partial(_MeasureImages, config, inputs["autoencoder"], classifier),
        pool=pool,
        columns=["image_id", "label", "split", "path"],
        only={"split": ["train", held_out]},
        key="image/{}",
    )
    map_rows(
        run,
        inputs["samples"],
        partial(_MeasureSamples, config, classifier),
        pool=pool,
        columns=["sample_id", "arm", "label", "png"],
        key="sample/{}",
    )
    _write_report(run, held_out, space, _look_for_copies(run, held_out))


def _held_out_split(images: Version) -> str:
    if split := held_out_split(images.read(["split"]).column(0).unique().to_pylist()):
        return split
    raise DataError(
        f"{images.uri}: every image is in the train split, so nothing real is held out to compare with. "
        "Give the dataset a test split, or set data.test_share."
    )


def _prepare(
    config: Config, images: Version, output: Version, label_counts: dict[int, int]
) -> tuple[Classifier, FeatureSpace]:
    """Train the classifier, and measure the class means: both need all training frames at once.

    The classifier is kept for who measures further pictures against this run's real ones.
    """
    rows = [row for row in images.read(["image_id", "label", "split", "path"]).to_pylist() if row["split"] == "train"]
    frames, kept, _ = read_frames([row["path"] for row in rows], config.data.image_size)
    labels = np.array([rows[position]["label"] for position in kept], dtype=np.int64)
    ids = [rows[position]["image_id"] for position in kept]
    classes = len(images.sealed().notes["class_names"])
    seed = config.run.seed
    classifier = _kept(output, classes, config.data.image_size)
    if classifier is None:
        classifier = train_classifier(frames, labels, classes, seed=seed, steps=config.evaluate.classifier_steps)
        output.files.write(f"{output.folder}/files/{CLASSIFIER}", classifier.to_safetensors())
    means, owners = class_mean_images(frames, labels, label_counts, np.random.default_rng(seed))
    examiner = _examiner(config, classifier)
    measured = examiner.rows("class_mean", [f"{number:06d}" for number in range(len(means))], owners.tolist(), means)
    output.write_part(part_of(TABLES["measurements"], measured))
    output.write_part(part_of(TABLES["measurements"], _planted(frames, ids, labels, examiner, seed)))
    return classifier, examiner.space


def _kept(output: Version, classes: int, side: int) -> Classifier | None:
    """Of an earlier attempt at this version: its rows may already rest on it."""
    data = output.files.read(f"{output.folder}/files/{CLASSIFIER}")
    if data is None:
        return None
    with contextlib.suppress(DataError):
        return read_classifier(data, classes, (side, side))
    return None


def _planted(
    frames: NDArray[np.uint8], ids: list[str], labels: NDArray[np.int64], examiner: Examiner, seed: int
) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(frames))[:PLANTED]
    copies = {(row, kind): copy for row in drawn for kind, copy in plant(frames[row], rng).items()}
    names = [f"{ids[row]}/{kind}" for row, kind in copies]
    return examiner.rows("planted", names, [int(labels[row]) for row, _ in copies], np.stack(list(copies.values())))


class _MeasureImages:
    def __init__(self, config: Config, autoencoder: Version, classifier: Classifier) -> None:
        self._side = config.data.image_size
        self._autoencoder, self._examiner = (
            open_autoencoder(autoencoder, config.pools.evaluate.device),
            _examiner(config, classifier),
        )

    def __call__(self, rows: pa.Table) -> pa.Table:
        asked = rows.to_pylist()
        frames, kept, reasons = read_frames([row["path"] for row in asked], self._side)
        train = np.array([asked[position]["split"] == "train" for position in kept], dtype=bool)
        ids = np.array([asked[position]["image_id"] for position in kept], dtype=object)
        labels = np.array([asked[position]["label"] for position in kept], dtype=np.int64)
        done: list[dict[str, Any]] = []
        for name, chosen in (("reference", train), ("held_out", ~train), ("reconstructed", ~train)):
            pictures = frames[chosen]
            if name == "reconstructed" and len(pictures):
                pictures = _reconstruct(self._autoencoder, pictures)
            done += self._examiner.rows(name, ids[chosen].tolist(), labels[chosen].tolist(), pictures)
        rejects = {f"image/{asked[position]['image_id']}": reason for position, reason in reasons.items()}
        return part_of(TABLES["measurements"], done, rejects)


class _MeasureSamples:
    def __init__(self, config: Config, classifier: Classifier) -> None:
        self._examiner = _examiner(config, classifier)

    def __call__(self, rows: pa.Table) -> pa.Table:
        done: list[dict[str, Any]] = []
        for arm in ("generated", "untrained"):
            asked = [row for row in rows.to_pylist() if row["arm"] == arm]
            images = np.stack([decode(row["png"]) for row in asked]) if asked else np.zeros((0, 1, 1, 3), np.uint8)
            ids = [row["sample_id"] for row in asked]
            done += self._examiner.rows(arm, ids, [row["label"] for row in asked], images)
        return part_of(TABLES["measurements"], done)


def _examiner(config: Config, classifier: Classifier) -> Examiner:
    extractor = extractor_of(config.evaluate, config.pools.evaluate.device, classifier)
    return Examiner(extractor, classifier, config.data.modality)


def _reconstruct(autoencoder: Autoencoder, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    means, _ = split_moments(autoencoder.encode_moments(images))
    return autoencoder.decode(means)


def _look_for_copies(run: StageRun, held_out: str) -> Memorisation:
    """Search all training pictures for those nearest to generated, planted and unrelated held-out ones."""
    images = run.inputs["images"].read(["image_id", "group", "split"])
    apart = unrelated(images, held_out)
    asked = (part.filter(pc.field("set") != "reference") for part in run.output.read_parts(COMPARED))
    suspects = plan_rows(run, "suspects", suspects_of(pa.concat_tables(asked), apart, run.config.run.seed))
    nearest = Version(run.output.files, "nearest", run.output.fingerprint)
    training_rows = run.output.read(["set", "features"]).filter(pc.field("set") == "reference")
    training = FeatureStatistics.of(features_of(training_rows.to_pylist()))
    run.progress.say("looking for copies of training pictures among the generated ones")
    map_rows(
        replace(run, output=nearest),
        suspects,
        partial(NeighbourSearch, run.output, training.mean, training.scale),
        pool=run.config.pools.evaluate,
        columns=COMPARED,
    )
    return audit(
        nearest.read().to_pylist(),
        related_left_out=images.filter(pc.field("split") == held_out).num_rows - len(apart),
        n_training=training.count,
    )


def _write_report(run: StageRun, held_out: str, space: FeatureSpace, memorisation: Memorisation) -> None:
    config, inputs = run.config, run.inputs
    captions = inputs["captions"].read(["image_id", "caption"]).to_pylist()
    samples = inputs["samples"].read(["sample_id", "arm", "caption"]).to_pylist()
    by_key = {f"reconstructed/{row['image_id']}": row["caption"] for row in captions}
    by_key |= {f"sample/{row['sample_id']}": row["caption"] for row in samples if row["arm"] == "generated"}
    rows = run.output.read([name for name in run.output.kind.schema.names if name != "pixels"]).to_pylist()
    findings = summarise(rows, by_key, load_prompt_set(config.prompt_set), space, config)
    metrics = metrics_of(findings, memorisation, _stage_times(run), _provenance(run, space))
    page = render_report(assemble(run, held_out, metrics, findings, memorisation))
    folder = f"{run.output.folder}/files/report"
    origin = {"checkpoint_sha256": metrics.provenance.checkpoint_sha256, "weights": config.sample.weights}
    run.output.files.write(f"{folder}/memorisation.json", memorisation.to_json(**origin, features_of=space.name))
    run.output.files.write(f"{folder}/metrics.json", metrics.to_json().encode())
    run.output.files.write(f"{folder}/index.html", page.encode())


def _stage_times(run: StageRun) -> dict[str, StageTime]:
    times = {
        name: StageTime(done.seconds, done.rows, done.rows / done.seconds if done.seconds else 0.0)
        for name, done in run.history.items()
    }
    seconds, rows = time.monotonic() - run.began, len(run.output.keys())
    return times | {run.name: StageTime(seconds, rows, rows / seconds)}


def _provenance(run: StageRun, space: FeatureSpace) -> Provenance:
    config = run.config
    formulas = {"excess": "c + s (c - u)", "classifier_free": "u + s (c - u)"}
    captioner, trained = run.history["caption"].notes["captioner"], run.history["train"].notes
    return Provenance(
        extractor=space.name,
        extractor_sha256=space.sha256,
        extractor_width=space.width,
        resize=space.resize,
        preparation=f"centred square, {config.data.image_size} pixels",
        classifier="small convolutional classifier trained on the real training images of this run",
        guidance_scale=config.sample.guidance_scale,
        guidance_convention=formulas[config.sample.guidance_convention],
        num_inference_steps=config.sample.num_inference_steps,
        ema=config.sample.weights == "ema",
        seed=config.run.seed,
        label_prior="training" if config.sample.labels == "training_prior" else "uniform",
        captioner="measured captions" if captioner == "measured" else captioner,
        checkpoint_sha256=trained["sha256"],
        network=f"{_NETWORKS[config.model.network]}, {_sees(config)}, {trained['parameters'] / 1e6:.3g}M parameters",
        forward_flops=trained["forward_flops"],
        training_images=trained["rows"],
        inception_score_of=LABEL if space.class_weights is None else space.name,
        autoencoder=describe_autoencoder(config.autoencoder, run.history["autoencoder"].notes),
    )


_NETWORKS = {"uvit": "U-ViT", "dit": "DiT", "unet": "latent-diffusion U-Net"}


def _sees(config: Config) -> str:
    """How it is conditioned, in the words of the paper's table 1."""
    prototypes = " with PCM" if config.model.prototypes.enabled else ""
    if not prototypes and config.model.prototypes.has_block:
        prototypes = " with a block as large as PCM"
    shuffled = (
        f", {config.train.shuffled_captions:.0%} of them another image's" if config.train.shuffled_captions else ""
    )
    balanced = ", class-balancing loss" if config.train.class_balancing else ""
    return f"{'captions' if config.model.condition == 'caption' else 'class only'}{shuffled}{prototypes}{balanced}"
