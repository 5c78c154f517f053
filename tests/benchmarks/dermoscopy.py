"""Real dermoscopic images with captions of image analysis, and values of images generated for them."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.training_arm import Images
from vapray.captioning.attributes import Attributes, agreement
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.captioner import CaptionDraft
from vapray.captioning.measured.captioner import MeasuredCaptioner
from vapray.captioning.measured.dermoscopy import measure_dermoscopy
from vapray.captioning.prompt_set import load_prompt_set
from vapray.config import Evaluate
from vapray.data.image_loading import load_square_image
from vapray.errors import ImageDecodeError
from vapray.evaluation.adherence import CaptionedImages, measure_adherence
from vapray.evaluation.classifier import balanced_accuracy, train_classifier
from vapray.evaluation.features import build_extractor
from vapray.evaluation.set_metrics import FeatureSet, fid_of_sets

__all__ = ["SIDE", "CaptionedSet", "DermoscopyJudge", "read_splits"]

SIDE, CAPTION_SIDE, REFERENCE, HELD_OUT, CLASSIFIER_STEPS = 64, 150, 2000, 1000, 600


@dataclass(frozen=True)
class CaptionedSet:
    """Images with classes and captions."""

    images: Images
    labels: list[int]
    captions: list[str]

    def first(self, count: int) -> "CaptionedSet":
        """The first rows."""
        return CaptionedSet(self.images[:count], self.labels[:count], self.captions[:count])

    def generated(self, owners: Sequence[int], images: Images) -> "CaptionedSet":
        """Images that were generated for the captions of some rows."""
        return CaptionedSet(images, [self.labels[i] for i in owners], [self.captions[i] for i in owners])


def read_splits(folder: Path, work: Path) -> tuple[list[str], dict[str, CaptionedSet]]:
    """Read and caption the training and the test split, once for a ``work`` folder; class names and the splits."""
    kept = work / "prepared.npz"
    if not kept.is_file():
        _prepare(folder, kept)
    with np.load(kept) as found:
        columns = {name: found[name] for name in ("images", "labels", "captions", "splits")}
    names = sorted({*columns["labels"].tolist()})
    numbers = np.array([names.index(label) for label in columns["labels"]])
    splits = {}
    for split in ("train", "test"):
        chosen = columns["splits"] == split
        captions = columns["captions"][chosen].tolist()
        splits[split] = CaptionedSet(columns["images"][chosen], numbers[chosen].tolist(), captions)
    return names, splits


def _prepare(folder: Path, kept: Path) -> None:
    with (folder / "metadata.csv").open(newline="") as file:
        table = [row for row in csv.DictReader(file) if row["split"] in ("train", "test")]
    captioner, rows = MeasuredCaptioner(load_prompt_set("dermoscopy")), []
    for row in table:
        path = str(folder / row["file_name"])
        (draft,) = captioner.caption(load_square_image(path, CAPTION_SIDE)[None], [row["file_name"]])
        if isinstance(draft, CaptionDraft):
            rows.append((load_square_image(path, SIDE), row["label"], draft.caption, row["split"]))
    images, labels, captions, splits = zip(*rows, strict=True)
    np.savez(kept, images=np.stack(images), labels=labels, captions=captions, splits=splits)


class DermoscopyJudge:
    """Frechet distances, label accuracy and adherence of images, against the training split.

    Args:
        classes: Number of classes.
        splits: Training and test split; the first images of the test split are the held-out ones.
        dinov2: Folder of DINOv2-S.
        squeezenet: File of SqueezeNet 1.0 in Caffe's pixels.
    """

    def __init__(self, classes: int, splits: Mapping[str, CaptionedSet], dinov2: Path, squeezenet: Path) -> None:
        training, self.prompt_set = splits["train"], load_prompt_set("dermoscopy")
        self.extractors = {
            "dinov2": build_extractor(Evaluate(features="dinov2", weights=str(dinov2))),
            "squeezenet": build_extractor(
                Evaluate(features="squeezenet", weights=str(squeezenet), preprocessing="caffe")
            ),
        }
        chosen = np.random.default_rng(0).choice(len(training.labels), REFERENCE, replace=False)
        self.references = {name: self._features(name, training.images[chosen]) for name in self.extractors}
        labels = np.array(training.labels)
        self.classifier = train_classifier(training.images, labels, classes, steps=CLASSIFIER_STEPS)
        held_out = splits["test"].first(HELD_OUT)
        self.held_out = self._measured(held_out)
        self.held_out_values = self.judge(held_out)

    def judge(self, seen: CaptionedSet) -> dict[str, float]:
        """All values of some images."""
        found = {}
        for name, reference in self.references.items():
            found[f"fd_{name}"] = fid_of_sets(reference, self._features(name, seen.images))
        found["label_accuracy"] = balanced_accuracy(self.classifier.probabilities(seen.images), np.array(seen.labels))
        score = partial(agreement, prompt_set=self.prompt_set)
        adherence = measure_adherence(self._measured(seen), self.held_out, score, draws=100)
        found["adherence"], found["shuffled"] = adherence.adherence, adherence.shuffled
        found["gap_closed"] = (adherence.adherence - adherence.shuffled) / (adherence.ceiling - adherence.shuffled)
        return found

    def _features(self, name: str, images: Images) -> FeatureSet:
        extractor = self.extractors[name]
        features = np.asarray(extractor(images), dtype=np.float64)
        return FeatureSet(features, np.zeros(len(images), dtype=np.int64), extractor.space, "dermoscopy")

    def _measured(self, seen: CaptionedSet) -> CaptionedImages:
        wanted = [parse_caption(caption, self.prompt_set) for caption in seen.captions]
        return CaptionedImages([_attributes(image) for image in seen.images], wanted, seen.labels)


def _attributes(image: Any) -> Attributes:
    try:
        return measure_dermoscopy(image)
    except ImageDecodeError:
        return {}
