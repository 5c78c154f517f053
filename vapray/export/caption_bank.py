"""The prompt bank as a component of a diffusers pipeline: captions in JSON, without the ids of their images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from vapray.bank.prompt_bank import BankEntry, PromptBank
from vapray.errors import CheckpointError, DataError

__all__ = ["CAPTIONS_FILE", "CaptionBank", "captions_file"]

CAPTIONS_FILE = "captions.json"


class CaptionBank(PromptBank):
    """Draws the captions that the bank draws which it was made from."""

    @classmethod
    def from_pretrained(cls, folder: str | Path, **_: Any) -> Self:
        """Read ``captions.json``: for each class, by label, its captions in the order of the bank.

        Raises:
            CheckpointError: missing or damaged.
        """
        path = Path(folder) / CAPTIONS_FILE
        try:
            by_class = json.loads(path.read_text(encoding="utf-8"))
            captions = [(label, text) for label, texts in enumerate(by_class.values()) for text in texts]
            return cls(BankEntry(f"{row:012d}", label, text) for row, (label, text) in enumerate(captions))
        except (OSError, ValueError, TypeError, AttributeError, DataError) as error:
            raise CheckpointError(f"{path}: cannot be read as a prompt bank: {error}. Copy the export again.") from None


def captions_file(bank: PromptBank, class_names: Sequence[str]) -> bytes:
    """``captions.json`` of a bank: every class in the order of labels, also one without captions."""
    by_class = {name: bank.captions(label) if label in bank.labels else () for label, name in enumerate(class_names)}
    return json.dumps(by_class, indent=1, ensure_ascii=False).encode()
