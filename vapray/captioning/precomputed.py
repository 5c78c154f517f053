"""Precomputed captions: a user's table, or the texts of a dataset."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vapray.captioning.caption_filter import clean_text, reject_reason
from vapray.captioning.captioner import CaptionDraft, CaptionReject, digest
from vapray.data.image_files import is_image_file
from vapray.data.label_tables import duplicates, missing_columns, raise_problems, read_rows

__all__ = ["PrecomputedCaptions"]


class PrecomputedCaptions:
    """Captioner that looks captions up by image id without reading images."""

    name = "given"
    sampling: Mapping[str, Any] = {}

    def __init__(self, captions: Mapping[str, str] | None) -> None:
        """Keep the captions.

        Args:
            captions: image_id, or file name of the image -> caption; None: the dataset's own texts.
        """
        names = captions or {}
        self._captions = None if captions is None else {**{_to_id(name): names[name] for name in names}, **names}
        self._example = next(iter(names), "")
        self.revision = "dataset" if captions is None else digest(sorted(captions.items()))[:12]

    @classmethod
    def read(cls, path: str) -> "PrecomputedCaptions":
        """Read a UTF-8 CSV with the columns image_id and caption.

        Raises:
            DataError: the file cannot be read, lacks a column, has a row with more or fewer cells than the header, or
                two captions for one image.
        """
        rows = read_rows(Path(path))
        raise_problems(Path(path), missing_columns(rows, ("image_id", "caption")))
        raise_problems(Path(path), duplicates(_to_id(row["image_id"]) for row in rows))
        return cls({row["image_id"]: row["caption"] for row in rows})

    def caption_for(self, image_id: str, text: str) -> CaptionDraft | CaptionReject:
        """Caption one image; an image without a usable caption is a reject.

        Args:
            image_id: id of the image.
            text: caption of the dataset.
        """
        found = text or None if self._captions is None else self._captions.get(image_id)
        if found is None:
            known = f"; the file has ids such as {self._example}" if self._example else ""
            return CaptionReject(f"missing: no caption was given for this image{known}")
        caption = clean_text(found)
        reason = reject_reason(caption)
        return CaptionReject(reason) if reason else CaptionDraft("", "", caption, finish_reason="given")


def _to_id(name: str) -> str:
    """Id of an image that a table names by its file: the name without the suffix."""
    path = Path(name)
    return path.with_suffix("").as_posix() if is_image_file(path) else name
