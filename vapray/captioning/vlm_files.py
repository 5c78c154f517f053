"""Files of a multimodal language model."""

from dataclasses import dataclass
from pathlib import Path

from vapray.model_files import Wanted, find_folder, is_directory, sha256_of

__all__ = ["VlmFiles", "find_vlm"]

SMALL = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
WEIGHTS = ("*.safetensors", "*.bin")
"""Patterns of weight files, in vLLM's order of preference."""


@dataclass(frozen=True)
class VlmFiles:
    """Folder of a model.

    Attributes:
        name: requested name.
        folder: folder in the hub's layout.
        revision: the hub's commit; for a directory the beginning of a hash over its content.
    """

    name: str
    folder: Path
    revision: str


def find_vlm(model: str, revision: str | None = None, *, download: bool = True) -> VlmFiles:
    """Find the files of ``caption.model``; see :func:`vapray.model_files.find_folder`."""
    wanted = Wanted("caption.model", [[*SMALL, weights] for weights in WEIGHTS], _missing)
    folder = find_folder(model, revision, wanted, download=download)
    return VlmFiles(model, folder, _content(folder)[:12] if is_directory(model) else folder.name)


def _missing(folder: Path) -> list[str]:
    wanted = {"config.json": (folder / "config.json").is_file(), f"weights ({', '.join(WEIGHTS)})": _weights(folder)}
    return [name for name, there in wanted.items() if not there]


def _weights(folder: Path) -> list[Path]:
    return next((found for pattern in WEIGHTS if (found := sorted(folder.glob(pattern)))), [])


def _content(folder: Path) -> str:
    """Hash all files that decide an answer: weights, configurations, tokenizer, chat template."""
    return sha256_of([*_weights(folder), *(path for pattern in SMALL for path in folder.glob(pattern))])
