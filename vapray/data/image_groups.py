"""Groups of images by a column of the table ``images``, such as the sex or age of the patient.

A column is one of the table's own, or one that ``data.metadata_columns`` keeps in the column ``metadata``. Texts are
groups as they are. Numbers are cut into bins: at ``evaluate.group_bins``; ages at 40 and 60; other numbers with more
than 10 values into thirds of the images. Missing values are the group ``unknown``.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from vapray.config import Config, Evaluate
from vapray.data.dataset import open_dataset
from vapray.data.origins import UNKNOWN, apply_settings
from vapray.errors import ConfigError, DataError
from vapray.store.tables import ORIGIN_COLUMNS, REJECT, TABLES
from vapray.store.version import Version

__all__ = ["Grouping", "group_images", "groups_content_hash"]

MISSING = frozenset({"", "unknown", "nan", "none", "null", "na", "n/a"})
"""Texts of a missing value, in any case."""
AGE, AGE_BOUNDS = re.compile(r"(?:^|[^a-z])age(?:$|[^a-z])", re.IGNORECASE), (40.0, 60.0)
AGE_UNITS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
AGE_TEXT = re.compile(r"(\d{3})([YMWD])")
"""Age as DICOM writes it (value representation AS), such as 058Y."""
MAX_NUMBERS = 10
"""Number of different numbers up to which each is a group of its own."""
METADATA = "metadata"


@dataclass(frozen=True)
class Grouping:
    """Groups of all real images of a run by one column.

    Attributes:
        column: Name of the column.
        rule: Description of the rule that makes groups from values.
        names: Groups in order: bins ascending, texts by name, ``unknown`` last.
        of_image: Group by image id.
    """

    column: str
    rule: str
    names: tuple[str, ...]
    of_image: Mapping[str, str]


def groups_content_hash(config: Config) -> str:
    """Hash the groups of all images, before any stage runs; empty if ``evaluate.groups`` is.

    The values of a column without influence on later stages are hashed; the others are in the hash of ``images``.

    Raises:
        ConfigError: the table ``images`` of this run does not carry a column.
        DataError: the dataset cannot be read, or a value of a column with bins is not a number.
    """
    settings, data = config.evaluate, config.data
    if not settings.groups:
        return ""
    if data.source == "phantom":  # nothing is drawn yet, and the settings decide all values
        _require_columns(settings.groups, (), ())
        values: list[Any] = [data.licence, data.hash_subjects]
    else:
        found = open_dataset(config).records()
        kept = [name for name in data.metadata_columns if name not in _own_columns()]
        _require_columns(settings.groups, kept, {name for record in found for name in record.metadata})
        rows = [
            {"image_id": record.image_id, "licence": record.licence, "source": record.source}
            | {"subject": record.subject, METADATA: json.dumps(dict(record.metadata))}
            for record in apply_settings(found, data)
        ]
        wanted = [name for name in settings.groups if name in ORIGIN_COLUMNS or name not in _own_columns()]
        values = [_values(rows, name) for name in wanted]
        for name, column in zip(wanted, values, strict=True):
            _grouping(name, column, settings)
    card = [settings.groups, settings.group_bins, settings.group_min_images, values]
    return hashlib.sha256(json.dumps(card).encode()).hexdigest()[:16]


def group_images(images: Version, settings: Evaluate) -> list[Grouping]:
    """Group the images of the table by each column of ``evaluate.groups``.

    Raises:
        ConfigError: the table does not carry a column.
        DataError: a value of a column with bins is not a number.
    """
    own = [name for name in settings.groups if name in _own_columns()]
    rows = images.read(list(dict.fromkeys(["image_id", METADATA, *own]))).to_pylist()
    _require_columns(settings.groups, {name for row in rows for name in json.loads(row[METADATA] or "{}")}, ())
    return [_grouping(name, _values(rows, name), settings) for name in settings.groups]


def _own_columns() -> list[str]:
    return [name for name in TABLES["images"].schema.names if name not in (METADATA, REJECT)]


def _require_columns(groups: Sequence[str], kept: Iterable[str], tables: Iterable[str]) -> None:
    """Check the columns; ``kept`` are in the column metadata, ``tables`` in the dataset's own tables."""
    carried = [*_own_columns(), *sorted(kept)]
    missing = [name for name in groups if name not in carried]
    if not missing:
        return
    add = [name for name in missing if name in {*tables}]
    fix = f"set data.metadata_columns=[{','.join([*sorted(kept), *add])}]" if add else "name some of these columns"
    raise ConfigError(
        f"evaluate.groups: the table images has no column {', '.join(missing)}. It has {', '.join(carried)}. "
        f"Fix: {fix}."
    )


def _values(rows: Sequence[Mapping[str, Any]], column: str) -> dict[str, str]:
    """Text of a column by image id; empty where it is missing."""
    if column in _own_columns():
        found = {row["image_id"]: row[column] for row in rows}
    else:
        found = {row["image_id"]: json.loads(row[METADATA] or "{}").get(column) for row in rows}
    texts = {image_id: "" if value is None else str(value).strip() for image_id, value in found.items()}
    return {image_id: "" if text.lower() in MISSING else text for image_id, text in texts.items()}


def _grouping(column: str, values: Mapping[str, str], settings: Evaluate) -> Grouping:
    known = sorted({text for text in values.values() if text})
    numbers = {text: number for text in known if (number := _number(text)) is not None}
    bounds = settings.group_bins.get(column) or (AGE_BOUNDS if AGE.search(column) else None)
    if bounds and len(numbers) < len(known) and (numbers or column in settings.group_bins):
        text = next(text for text in known if text not in numbers)
        raise DataError(
            f"evaluate.groups, column {column}: {text!r} is not a number, so it is in no bin. "
            "Fix: correct the dataset's table, or leave the cell empty."
        )
    if not numbers or len(numbers) < len(known):
        return _named(column, "values as they are", known, {}, values)
    if bounds is None and len(numbers) <= MAX_NUMBERS:
        return _named(column, "values as they are", sorted(known, key=numbers.__getitem__), {}, values)
    rule = "cut at {}"
    if bounds is None:
        bounds = _thirds([numbers[text] for text in values.values() if text])
        rule = "cut into thirds of the images, at {}"
    labels = _labels(bounds)
    bins = {text: labels[int(np.searchsorted(bounds, number, side="right"))] for text, number in numbers.items()}
    rule = rule.format(" and ".join(f"{bound:g}" for bound in bounds))
    return _named(column, rule, [label for label in labels if label in bins.values()], bins, values)


def _named(
    column: str, rule: str, names: Sequence[str], bins: Mapping[str, str], values: Mapping[str, str]
) -> Grouping:
    of_image = {image_id: bins.get(text, text) or UNKNOWN for image_id, text in values.items()}
    rest = [UNKNOWN] if UNKNOWN in of_image.values() else []
    return Grouping(column, rule, (*names, *rest), of_image)


def _number(text: str) -> float | None:
    if match := AGE_TEXT.fullmatch(text):
        return int(match[1]) * AGE_UNITS[match[2]]
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _thirds(numbers: Sequence[float]) -> tuple[float, ...]:
    return tuple(np.unique(np.quantile(numbers, [1 / 3, 2 / 3], method="higher")).tolist())


def _labels(bounds: Sequence[float]) -> list[str]:
    texts = [f"{bound:g}" for bound in bounds]
    between = [f"{low} to under {high}" for low, high in pairwise(texts)]
    return [f"under {texts[0]}", *between, f"{texts[-1]} and over"]
