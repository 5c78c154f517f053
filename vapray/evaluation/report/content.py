"""Contents of a report, as plain values, which the evaluate stage fills and ``render`` lays out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vapray.data.inventory import Inventory
from vapray.evaluation.adherence import Adherence
from vapray.evaluation.group_report import GroupReport
from vapray.evaluation.metrics import Metrics
from vapray.evaluation.summary import JudgedAdherence
from vapray.memorisation.audit import Memorisation
from vapray.report.curves import Curve
from vapray.report.page import Image


@dataclass(frozen=True)
class GeneratedExample:
    """Generated image with the caption that conditioned it."""

    image: Image
    caption: str
    source: Image | None = None
    """Real image that the caption describes."""


@dataclass(frozen=True)
class ClassExamples:
    """Real held-out images and generated images of one class; six of each fill the page."""

    class_name: str
    real: Sequence[Image]
    generated: Sequence[GeneratedExample]


@dataclass(frozen=True)
class Neighbours:
    """Generated image with its nearest training image."""

    generated: Image
    training: Image
    class_name: str
    """Class of the generated image."""
    training_class_name: str
    distance: float
    """Distance over the mean distance of the 50 nearest training images; 0 is a copy."""


@dataclass(frozen=True)
class ClassRow:
    """Numbers of one class; None is shown as a dash."""

    class_name: str
    n_reference: int
    """Number of training images."""
    n_held_out: int
    n_generated: int
    kid: float | None
    fid: float | None
    """FID; None for a class with fewer than 300 images."""
    label_accuracy: float | None
    """Share of the generated images of the class that the classifier assigns to it."""


@dataclass(frozen=True)
class CaptionExample:
    """Steps of captioning one training image. Empty texts are not shown."""

    image: Image
    class_name: str
    impression: str
    """t1, the captioner's description of the image."""
    knowledge: str
    """t2, knowledge about the modality, independent of the image."""
    caption: str
    """t_mix, the caption that the generator is trained on."""


@dataclass(frozen=True)
class Rejects:
    """Rejected rows of one stage with the same reason."""

    stage: str
    reason: str
    count: int


@dataclass(frozen=True)
class ReportData:
    """Contents of the page; sections of empty sequences are omitted."""

    title: str
    dataset: str
    """Name and size of the images, for example ``phantom dermoscopy, 32 pixels``."""
    created: str
    """Date and time, as text."""
    metrics: Metrics
    adherence: Adherence | None
    judge: JudgedAdherence | None
    splits: Mapping[str, int]
    """Number of real images, by split."""
    inventory: Inventory | None
    """Contents of the dataset's folder; None in runs of an earlier version."""
    dataset_notes: Sequence[str]
    """Caveats of the dataset, one or two sentences each."""
    classes: Sequence[ClassRow]
    examples: Sequence[ClassExamples]
    memorisation: Memorisation
    neighbours: Mapping[str, Sequence[Neighbours]]
    """Nearest pairs by search, ``pixels`` or ``features``; nearest first."""
    curves: Sequence[Curve]
    health: Sequence[Curve]
    """Diagnostics of the class prototypes over training; empty for a network without prototypes."""
    caption_examples: Sequence[CaptionExample]
    audited: bool
    """True if the audit page of these captions exists."""
    untrusted: Mapping[str, str]
    """Attributes that the texts for training do not state, each with the reason and its numbers."""
    rejects: Sequence[Rejects]
    versions: Mapping[str, str]
    """Software versions, by name."""
    configuration: str
    """Resolved configuration, as YAML or JSON text."""
    groups: GroupReport | None = None
    """Numbers by group; None without ``evaluate.groups``."""
