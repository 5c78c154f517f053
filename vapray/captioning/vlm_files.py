"""Files of a multimodal language model."""

from dataclasses import dataclass
from pathlib import Path

from vapray.pretrained.model_files import ModelFileSpec, is_directory, resolve_model_folder, sha256_of

__all__ = ["VlmFiles", "find_vlm"]

SMALL = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.py")
"""Patterns of all other files; ``*.py`` is the code of models that need trust_remote_code."""
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
    """Find the files of ``caption.model``; see :func:`vapray.pretrained.model_files.resolve_model_folder`."""
    wanted = ModelFileSpec("caption.model", [[*SMALL, weights] for weights in WEIGHTS], _missing)
    folder = resolve_model_folder(model, revision, wanted, download=download)
    if not is_directory(model):
        return VlmFiles(model, folder, folder.name)
    # All files that decide an answer: weights, configurations, tokenizer, chat template, code.
    decisive = [*_weights(folder), *(path for pattern in SMALL for path in folder.glob(pattern))]
    return VlmFiles(model, folder, sha256_of(decisive)[:12])


def _missing(folder: Path) -> list[str]:
    wanted = {"config.json": (folder / "config.json").is_file(), f"weights ({', '.join(WEIGHTS)})": _weights(folder)}
    return [name for name, there in wanted.items() if not there]


def _weights(folder: Path) -> list[Path]:
    return next((found for pattern in WEIGHTS if (found := sorted(folder.glob(pattern)))), [])
