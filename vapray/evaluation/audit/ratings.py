"""Experts' ratings of captions: the file that the rating sheet saves, and what it says.

{"vapray_ratings": 1, "rater": "AB", "ratings": [
    {"image_id": "ISIC_0024306", "caption_key": "5f0c...", "verdicts": {"shape": "right", "size": "wrong"}}]}
"""

from typing import Literal, get_args

import fsspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vapray.errors import DataError

__all__ = ["VERDICTS", "RatedCaption", "read_ratings"]

Verdict = Literal["right", "wrong", "unsure"]
VERDICTS: tuple[str, ...] = get_args(Verdict)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RatedCaption(_Strict):
    """One caption, as one expert saw it."""

    image_id: str
    caption_key: str
    """Of the caption that was rated; another one has another key."""
    verdicts: dict[str, Verdict]
    """By attribute; those that were not rated are absent."""


class _Ratings(_Strict):
    vapray_ratings: Literal[1]
    rater: str = Field(min_length=1, max_length=100)
    ratings: list[RatedCaption]


def read_ratings(path: str) -> tuple[str, list[RatedCaption]]:
    """The rater and what was rated.

    Raises:
        DataError: the file cannot be read, or is not what a rating sheet saves.
    """
    try:
        with fsspec.open(path, "rb") as file:
            found = _Ratings.model_validate_json(file.read())
    except OSError as error:
        raise DataError(f"audit.ratings {path}: cannot be read ({error.strerror or type(error).__name__}).") from None
    except ImportError as error:
        raise DataError(f"audit.ratings {path}: {error.name} is not installed, which reads such an address.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(
            f"audit.ratings {path}: {where}: {first['msg']}. Give a file that the rating sheet saved."
        ) from None
    except ValueError as error:  # of an address that no file system knows
        raise DataError(f"audit.ratings {path}: cannot be read ({error}).") from None
    return found.rater, list(found.ratings)
