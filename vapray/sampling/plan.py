"""Sampling plan: a class, a caption from the bank and a seed for each image."""

import hashlib
from collections.abc import Mapping
from typing import Any

from vapray.bank.prompt_bank import PromptBank

__all__ = ["ARMS", "arm_sizes", "label_counts", "plan_samples"]

ARMS = ("generated", "untrained")
MAX_UNTRAINED = 256
"""Maximum number of images of the untrained network: enough to show where the metrics start."""


def arm_sizes(n_images: int) -> dict[str, int]:
    """Number of images of each arm, for ``sample.n_images``."""
    return dict(zip(ARMS, (n_images, min(n_images, MAX_UNTRAINED)), strict=True))


def plan_samples(
    bank: PromptBank, texts: PromptBank, *, n_images: int, seed: int, uniform_labels: bool, arm: str
) -> list[dict[str, Any]]:
    """Build the rows of the table ``sample_plan``.

    Image i of two arms of equal size has the same class, caption and seed, so the arms are paired.

    Args:
        bank: Captions of training images; its class sizes are the training prior.
        texts: Captions to draw from: the same bank, or another, such as captions of held-out images.
        n_images: Number of rows.
        seed: Seed of the run.
        uniform_labels: Sample every class equally often instead of by the training prior.
        arm: Name of the arm, part of ``sample_id``.

    Raises:
        DataError: a class has no captions.
    """
    prior = {label: 1 if uniform_labels else len(bank.entries(label)) for label in bank.labels}
    labels = [label for label, count in label_counts(prior, n_images).items() for _ in range(count)]
    return [_row(texts, arm, number, label, seed) for number, label in enumerate(labels)]


def label_counts(prior: Mapping[int, int], n_images: int) -> dict[int, int]:
    """Number of images of each class, in proportion to ``prior`` by the largest-remainder method."""
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
