"""What a report shows, as plain values. The stage that evaluates fills it; ``render`` only lays it out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vapray.evaluation.adherence import Adherence
from vapray.evaluation.memorisation.audit import Memorisation
from vapray.evaluation.metrics import Metrics

Image = NDArray[np.uint8]
"""RGB [H, W, 3]."""


@dataclass(frozen=True)
class GeneratedPicture:
    """A generated image and the caption that conditioned it."""

    image: Image
    caption: str
    source: Image | None = None
    """The real training picture that the caption describes."""


@dataclass(frozen=True)
class ClassExamples:
    """Real held-out pictures of one class, and generated ones; six of each fill the page."""

    class_name: str
    real: Sequence[Image]
    generated: Sequence[GeneratedPicture]


@dataclass(frozen=True)
class Neighbours:
    """A generated picture beside the training picture it is nearest to."""

    generated: Image
    training: Image
    class_name: str
    """Of the generated one."""
    training_class_name: str
    distance: float
    """Over the mean distance of the 50 nearest training pictures; 0 is a copy."""


@dataclass(frozen=True)
class ClassRow:
    """One class in numbers; None is shown as a dash."""

    class_name: str
    n_reference: int
    """Training pictures."""
    n_held_out: int
    n_generated: int
    kid: float | None
    fid: float | None
    """None for a class below 300 images."""
    label_accuracy: float | None
    """Share of the generated pictures of the class that the classifier calls by it."""


@dataclass(frozen=True)
class Curve:
    """A quantity over training steps; drawn as a smoothed line over the range of the raw values."""

    name: str
    meaning: str
    """One plain sentence under the chart."""
    steps: Sequence[float]
    values: Sequence[float]
    """As many as ``steps``; values that are not finite are not drawn."""
    scale: tuple[float, float] | None = None
    """What the axis shows at least, where the quantity has bounds; else it follows from the values."""


@dataclass(frozen=True)
class CaptionExample:
    """How one training picture got its caption. Empty texts are not shown."""

    image: Image
    class_name: str
    impression: str
    """t1, what the captioner saw."""
    knowledge: str
    """t2, what is known of the modality, without the picture."""
    caption: str
    """t_mix, what the generator is trained on."""


@dataclass(frozen=True)
class Rejects:
    """Rows of one stage that were left out for one reason."""

    stage: str
    reason: str
    count: int


@dataclass(frozen=True)
class ReportData:
    """Everything on the page; empty sequences leave their sections out."""

    title: str
    dataset: str
    """Name and size of the images in words, for example ``phantom dermoscopy, 32 pixels``."""
    created: str
    """Date and time as text."""
    metrics: Metrics
    adherence: Adherence | None
    splits: Mapping[str, int]
    """Split -> real pictures."""
    classes: Sequence[ClassRow]
    examples: Sequence[ClassExamples]
    memorisation: Memorisation
    neighbours: Mapping[str, Sequence[Neighbours]]
    """By what was compared, ``pixels`` or ``features``; nearest first."""
    curves: Sequence[Curve]
    health: Sequence[Curve]
    """Of the class prototypes over training; empty for a network without them."""
    caption_examples: Sequence[CaptionExample]
    audited: bool
    """Whether the audit of these captions lies beside the report."""
    rejects: Sequence[Rejects]
    versions: Mapping[str, str]
    """Software -> version."""
    configuration: str
    """The resolved configuration as YAML or JSON text."""
