"""Expert ratings of captions: parser of the files that the rating sheet saves.

{"vapray_ratings": 1, "rater": "AB", "ratings": [
    {"image_id": "ISIC_0024306", "caption_key": "5f0c...", "verdicts": {"shape": "right", "size": "wrong"}}]}
"""

from typing import Literal, get_args

import fsspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vapray.config.validation_errors import from_pydantic
from vapray.errors import DataError

__all__ = ["VERDICTS", "RatedCaption", "read_ratings"]

Verdict = Literal["right", "wrong", "unsure"]
VERDICTS: tuple[str, ...] = get_args(Verdict)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RatedCaption(_Strict):
    """One caption, as rated by one expert."""

    image_id: str
    caption_key: str
    """Key of the rated caption, which changes with the caption."""
    verdicts: dict[str, Verdict]
    """Verdicts by attribute; attributes that were not rated are absent."""


class _Ratings(_Strict):
    vapray_ratings: Literal[1]
    rater: str = Field(min_length=1, max_length=100)
    ratings: list[RatedCaption]


def read_ratings(path: str) -> tuple[str, list[RatedCaption]]:
    """Read a rating file; returns the rater and the ratings.

    Raises:
        DataError: the file cannot be read, or is not a file of a rating sheet.
    """
    try:
        with fsspec.open(path, "rb") as file:
            found = _Ratings.model_validate_json(file.read())
    except OSError as error:
        raise DataError(
            f"caption_audit.ratings {path}: cannot be read ({error.strerror or type(error).__name__})."
        ) from None
    except ImportError as error:
        raise DataError(
            f"caption_audit.ratings {path}: reading this address needs {error.name}. Fix: install it."
        ) from None
    except ValidationError as error:
        problem = from_pydantic(error.errors(), _Ratings, None)[0]
        raise DataError(
            f"caption_audit.ratings {path}: {problem.text} Fix: give a file that the rating sheet saved."
        ) from None
    except ValueError as error:  # the address has an unknown protocol
        raise DataError(f"caption_audit.ratings {path}: cannot be read ({error}).") from None
    return found.rater, list(found.ratings)
