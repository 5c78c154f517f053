"""Comparison with captions of other runs over the same images: other models, prompts or settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vapray.caption_audit.claims import AuditedImage
from vapray.caption_audit.findings import Consistency, Findings, RepeatedCaptions, find, find_consistency
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.prompt_set import PromptSet
from vapray.errors import DataError
from vapray.store.run_store import Store
from vapray.store.version import Version

__all__ = ["OtherCaptions", "compare_captions"]


@dataclass(frozen=True)
class OtherCaptions:
    """Audit of another run's captions of the same images.

    Attributes:
        root: Root of that run.
        model: Model that wrote the captions.
        findings: Results against the images.
        agreement: Agreement with this run's captions; None if none can be compared.
    """

    root: str
    model: str
    findings: Findings
    agreement: Consistency | None


def compare_captions(
    root: str, content: str, ours: Sequence[AuditedImage], prompt_set: PromptSet, *, seed: int
) -> OtherCaptions:
    """Audit another run's captions of the same images.

    Args:
        root: Root of that run.
        content: Content hash of its captions.
        ours: Audited images of this run.
        prompt_set: Prompt set with the attributes.
        seed: Seed of chance level and intervals.

    Raises:
        DataError: the captions are gone, or describe none of these images.
    """
    version = Store(root).find_by_content("captions", content)
    if version is None:
        raise DataError(f"caption_audit.others {root}: its captions are gone. Fix: run the command again.")
    captions = _of(version, {one.image_id for one in ours})
    if not captions:
        raise DataError(
            f"caption_audit.others {root}: captions of other images. Fix: give a run over the same dataset."
        )
    shared = [one for one in ours if one.image_id in captions]
    theirs = [replace(one, said=parse_caption(captions[one.image_id][0], prompt_set)) for one in shared]
    pairs = [RepeatedCaptions(one.image_id, (one.said, other.said)) for one, other in zip(shared, theirs, strict=True)]
    models = {model for _, model in captions.values()}
    return OtherCaptions(
        root,
        ", ".join(sorted(models)),
        find(theirs, prompt_set, seed=seed),
        find_consistency(pairs, prompt_set, seed=seed),
    )


def _of(version: Version, ids: set[str]) -> Mapping[str, tuple[str, str]]:
    return {
        row["image_id"]: (row["caption"], row["model"])
        for part in version.read_parts(["image_id", "caption", "model"])
        for row in part.to_pylist()
        if row["image_id"] in ids
    }
