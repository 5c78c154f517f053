"""The user's own captions."""

import csv
from collections.abc import Mapping, Sequence
from typing import Any

from vapray.captioning.captioner import CaptionDraft, CaptionReject, Pictures, digest
from vapray.captioning.hygiene import cleaned, fault
from vapray.errors import ConfigError

__all__ = ["GivenCaptioner", "read_captions"]


class GivenCaptioner:
    """Looks captions up by image id."""

    name = "given"

    def __init__(self, captions: Mapping[str, str]) -> None:
        """Take the captions; ``revision`` is a hash of all of them."""
        self.captions = dict(captions)
        self.revision = digest(sorted(self.captions.items()))[:12]
        self.sampling: Mapping[str, Any] = {}
        self.knowledge: Mapping[str, str] = {}

    def caption(self, images: Pictures, image_ids: Sequence[str]) -> list[CaptionDraft | CaptionReject]:
        """Look the captions up; an image without a usable one is a reject."""
        return [self._one(image_id) for image_id in image_ids]

    def _one(self, image_id: str) -> CaptionDraft | CaptionReject:
        if image_id not in self.captions:
            return CaptionReject("missing: no caption was given for this image")
        text = cleaned(self.captions[image_id])
        reason = fault(text)
        return CaptionReject(reason) if reason else CaptionDraft("", "", text, finish_reason="given")


def read_captions(path: str) -> dict[str, str]:
    """The captions of a UTF-8 CSV with the columns image_id and caption.

    Raises:
        ConfigError: it cannot be read, or lacks a column.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return {row["image_id"]: row["caption"] for row in csv.DictReader(file)}
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"caption.captions {path}: {error!r}. Wanted a UTF-8 CSV with the columns image_id and caption."
        ) from None
