"""What the audit reads besides tables and config values."""

import hashlib

from vapray.config import Config
from vapray.errors import DataError
from vapray.evaluation.audit.ratings import read_ratings
from vapray.store import Store, Version

__all__ = ["newest_captions", "others_signature", "ratings_signature"]


def ratings_signature(config: Config) -> str:
    """sha256 over what the rating files say, or nothing where there are none; raises DataError."""
    digest = hashlib.sha256()
    for path in config.audit.ratings:
        rater, rated = read_ratings(path)
        digest.update(repr((rater, [one.model_dump() for one in rated])).encode())
    return digest.hexdigest() if config.audit.ratings else ""


def others_signature(config: Config) -> str:
    """Content of the captions of ``audit.others``; raises DataError."""
    return " ".join(newest_captions(root).sealed().content_hash for root in config.audit.others)


def newest_captions(root: str) -> Version:
    """The captions of a run that were finished last.

    Raises:
        DataError: there are none.
    """
    if newest := next(iter(Store(root).finished("captions")), None):
        return newest
    raise DataError(f"audit.others {root}: no finished captions there. Give the run.root of a captioned run.")
