"""Text encoders as components of a diffusers pipeline."""

import json
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from vapray.bank.hashing_encoder import HashingEncoder
from vapray.bank.text_encoder import TextEncoder
from vapray.bank.transformer_encoder import TransformerEncoder
from vapray.errors import CheckpointError, ConfigError

__all__ = ["FILES_FOLDER", "VapHashingText", "VapTowerText"]

CONFIG, FILES_FOLDER = "config.json", "files"


class VapHashingText:
    """The hashing encoder, which is code and needs no files.

    Args:
        id: of the encoder that the model was trained with.
        settings: section ``bank`` of the config that it was trained with.

    Raises:
        CheckpointError: this is another encoder.
    """

    def __init__(self, id: str, settings: dict[str, Any]) -> None:
        self.encoder: TextEncoder = _same(HashingEncoder(settings["width"], settings["max_tokens"]), id)

    @classmethod
    def from_pretrained(cls, folder: str | Path, **_: Any) -> Self:
        """Read ``config.json``; errors as of the constructor."""
        return cls(**_config(folder))

    def move(self, model: str) -> None:
        """Refuse: there are no files."""
        raise ConfigError(f"text_model = {model!r}: the text encoder of this model is code, and needs none.")


class VapTowerText:
    """A text tower of open_clip or transformers, opened at the first caption; its files may lie elsewhere.

    Args:
        id: of the encoder that the model was trained with, with the sha256 of its files.
        settings: section ``bank`` of the config that it was trained with.
    """

    def __init__(self, id: str, settings: dict[str, Any]) -> None:
        self.id, self.settings = id, settings

    @classmethod
    def from_pretrained(cls, folder: str | Path, **_: Any) -> Self:
        """Read ``config.json``, and see whether the files are there."""
        text_encoder = cls(**_config(folder))
        if (Path(folder) / FILES_FOLDER).is_dir():
            text_encoder.move(str(Path(folder) / FILES_FOLDER))
        return text_encoder

    def move(self, model: str) -> None:
        """Say where the files are: a folder, or hf-hub:OWNER/NAME."""
        self.settings = {**self.settings, "model": model, "revision": None}

    @cached_property
    def encoder(self) -> TextEncoder:
        """Opened.

        Raises:
            ConfigError: nobody said where its files are, or they are not there.
            CheckpointError: another one lies there.
            BackendError: open_clip or transformers is not installed, or the files are not to be had.
        """
        if self.settings["model"] is None:
            raise ConfigError(
                f"text_model = None: captions need the text encoder {self.id}, whose files are not in this folder. "
                "Load with from_pretrained(..., text_model=FOLDER) of them, or give prompt_embeds."
            )
        settings: Any = SimpleNamespace(**self.settings)
        return _same(TransformerEncoder(settings), self.id)


def _config(folder: str | Path) -> dict[str, Any]:
    path = Path(folder) / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return {"id": config["id"], "settings": dict(config["settings"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read as a text encoder: {error!r}. Copy the export again.") from None


def _same(encoder: TextEncoder, wanted: str) -> TextEncoder:
    if encoder.id != wanted:
        raise CheckpointError(
            f"text encoder: the model was trained with {wanted}; this one is {encoder.id}. Load with "
            "from_pretrained(..., text_model=FOLDER) of the one that it was trained with."
        )
    return encoder
