"""Precomputed captions: a user's table, or the texts of a dataset."""

import csv
from collections.abc import Mapping
from typing import Any

from vapray.captioning.caption_filter import clean_text, reject_reason
from vapray.captioning.captioner import CaptionDraft, CaptionReject, digest
from vapray.errors import ConfigError

__all__ = ["PrecomputedCaptions"]


class PrecomputedCaptions:
    """Captioner that looks captions up by image id without reading images."""

    name = "given"
    sampling: Mapping[str, Any] = {}

    def __init__(self, captions: Mapping[str, str] | None) -> None:
        """Keep the captions.

        Args:
            captions: image_id -> caption; None: the dataset's own texts.
        """
        self._captions = captions
        self.revision = "dataset" if captions is None else digest(sorted(captions.items()))[:12]

    @classmethod
    def read(cls, path: str) -> "PrecomputedCaptions":
        """Read a UTF-8 CSV with the columns image_id and caption.

        Raises:
            ConfigError: the file cannot be read, or lacks a column.
        """
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                return cls({row["image_id"]: row["caption"] for row in csv.DictReader(file)})
        except (OSError, KeyError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"caption.captions_file {path}: {error!r}. Expected a UTF-8 CSV with the columns image_id and caption."
            ) from None

    def caption_for(self, image_id: str, text: str) -> CaptionDraft | CaptionReject:
        """Caption one image; an image without a usable caption is a reject.

        Args:
            image_id: id of the image.
            text: caption of the dataset.
        """
        found = text or None if self._captions is None else self._captions.get(image_id)
        if found is None:
            return CaptionReject("missing: no caption was given for this image")
        caption = clean_text(found)
        reason = reject_reason(caption)
        return CaptionReject(reason) if reason else CaptionDraft("", "", caption, finish_reason="given")
