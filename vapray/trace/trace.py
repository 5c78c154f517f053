"""Trace of one image: every part, in the order of the page."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vapray.data.decode import decode
from vapray.report.page import Image
from vapray.trace.bank_place import BankPlace, bank_place
from vapray.trace.captioning_steps import CaptioningSteps, captioning_steps
from vapray.trace.denoising import Bypassed, Denoising, bypassed_image, denoising
from vapray.trace.lineage_rows import LineageFacts, lineage_of
from vapray.trace.missing import Missing
from vapray.trace.neighbours import Neighbours, nearest_training_images
from vapray.trace.prototype_attention import PrototypeAttention, prototype_attention
from vapray.trace.statements import CheckedCaption, checked_caption
from vapray.trace.traced_image import TracedImage, find_image, load_image
from vapray.trace.traced_run import TracedRun

__all__ = ["Trace", "trace_image"]

SEED = 0
"""Seed for a real image, for which the run states none."""
MOST_SAMPLES = 6


@dataclass(frozen=True)
class Trace:
    """Everything that a run knows about one image; a ``Missing`` says why a part is left out."""

    root: str
    created: str
    image: TracedImage
    source_pixels: Image | None
    """Real image that the caption describes, at the size of the network; None if there is none to show."""
    captioning: CaptioningSteps | Missing
    caption: CheckedCaption | Missing
    bank: BankPlace | Missing
    attention: PrototypeAttention | Missing
    denoising: Denoising | Missing
    bypassed: Bypassed | Missing
    siblings: Sequence[tuple[str, Image]]
    """Samples of the run for the same real image's caption, by id, without the traced one."""
    neighbours: Neighbours | Missing
    lineage: LineageFacts

    def missing(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each part that is left out, with the reason."""
        for name in ("captioning", "caption", "bank", "attention", "denoising", "bypassed", "neighbours"):
            part = getattr(self, name)
            if isinstance(part, Missing):
                yield name, part.why


def trace_image(root: str, image_id: str, *, seed: int | None = None) -> Trace:
    """Trace an image through a run; reads only, and needs no Ray.

    Args:
        root: Folder or URI of the run.
        image_id: ``image_id`` of a real image, or ``sample_id`` of a generated one.
        seed: Seed of the denoising; None: that of the sample, 0 for a real image.

    Raises:
        DataError: there is no trained model, or no such image.
        CheckpointError: the checkpoint cannot be opened.
    """
    run = TracedRun(root)
    image = find_image(run, image_id)
    if seed is None:
        seed = int(image.sample["seed"]) if image.sample else SEED
    made = denoising(run, image, seed)
    return Trace(
        root,
        time.strftime("%Y-%m-%d %H:%M"),
        image,
        load_image(image.source, run.config.data.image_size) if image.is_generated else image.network_pixels,
        captioning_steps(run, image),
        checked_caption(run, image),
        bank_place(run, image),
        prototype_attention(run, image, seed),
        made,
        bypassed_image(run, image, made),
        _siblings(run, image),
        nearest_training_images(run, image),
        lineage_of(run, image, seed),
    )


def _siblings(run: TracedRun, image: TracedImage) -> list[tuple[str, Image]]:
    if image.source is None:
        return []
    rows = run.rows("samples", source_image_id=image.source["image_id"], arm="generated")
    return [(row["sample_id"], decode(row["png"])) for row in rows if row["sample_id"] != image.id][:MOST_SAMPLES]
