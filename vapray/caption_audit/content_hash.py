"""Hashes of the external inputs of the caption audit."""

import hashlib

from vapray.caption_audit.ratings import read_ratings
from vapray.config import Config
from vapray.errors import DataError
from vapray.store.run_store import Store

__all__ = ["others_content_hash", "ratings_content_hash"]


def ratings_content_hash(config: Config) -> str:
    """sha256 of the contents of all rating files; empty without rating files.

    Raises:
        DataError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in config.caption_audit.ratings:
        rater, rated = read_ratings(path)
        digest.update(repr((rater, [one.model_dump() for one in rated])).encode())
    return digest.hexdigest() if config.caption_audit.ratings else ""


def others_content_hash(config: Config) -> str:
    """Content hashes of the newest captions of each run in ``caption_audit.others``, separated by spaces.

    Raises:
        DataError: a run has no finished captions.
    """
    return " ".join(_newest_captions(root) for root in config.caption_audit.others)


def _newest_captions(root: str) -> str:
    if newest := Store(root).latest("captions"):
        return newest.content_hash
    raise DataError(f"caption_audit.others {root}: no finished captions. Fix: give the run.root of a captioned run.")
