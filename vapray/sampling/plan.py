"""What to sample: for each image a class, a caption from the bank, and a seed."""

import hashlib
from collections.abc import Mapping
from typing import Any

from vapray.bank.prompt_bank import PromptBank

__all__ = ["ARMS", "arm_sizes", "label_counts", "plan_samples"]

ARMS = ("generated", "untrained")
MOST_UNTRAINED = 256
"""Images of the untrained network: enough to show where the metrics start."""


def arm_sizes(n_images: int) -> dict[str, int]:
    """Arm -> its images, for ``sample.n_images``."""
    return dict(zip(ARMS, (n_images, min(n_images, MOST_UNTRAINED)), strict=True))


def plan_samples(
    bank: PromptBank, texts: PromptBank, *, n_images: int, seed: int, uniform_labels: bool, arm: str
) -> list[dict[str, Any]]:
    """Rows of the table ``plan``.

    Image i of two arms of one size has the same class, caption and seed, so these are paired.

    Args:
        bank: captions of training images; its class sizes are the training prior.
        texts: what captions are drawn from: the same, or captions of held-out images.
        n_images: rows.
        seed: of the run.
        uniform_labels: every class equally often, instead of the training prior.
        arm: goes into ``sample_id``.

    Raises:
        DataError: a class without texts.
    """
    prior = {label: 1 if uniform_labels else len(bank.entries(label)) for label in bank.labels}
    labels = [label for label, count in label_counts(prior, n_images).items() for _ in range(count)]
    return [_row(texts, arm, number, label, seed) for number, label in enumerate(labels)]


def label_counts(prior: Mapping[int, int], n_images: int) -> dict[int, int]:
    """How many images of each class: in proportion to ``prior``, by largest remainder."""
    total = sum(prior.values())
    exact = {label: n_images * count / total for label, count in prior.items()}
    counts = {label: int(value) for label, value in exact.items()}
    by_remainder = sorted(exact, key=lambda label: (counts[label] - exact[label], label))
    for label in by_remainder[: n_images - sum(counts.values())]:
        counts[label] += 1
    return counts


def _row(texts: PromptBank, arm: str, number: int, label: int, seed: int) -> dict[str, Any]:
    image_seed = int.from_bytes(hashlib.blake2b(f"{seed} {number}".encode(), digest_size=4).digest(), "big")
    entry = texts.draw(label, image_seed)[0]
    return {
        "sample_id": f"{arm}-{number:06d}",
        "arm": arm,
        "label": label,
        "caption": entry.caption,
        "source_image_id": entry.image_id,
        "seed": image_seed,
    }
