"""Where a multimodal model's files lie: a folder, or the hub's cache, filled from the hub where that can be reached."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from vapray.errors import ConfigError
from vapray.model_hub import HUB, hub_folder

__all__ = ["ModelFiles", "find_model"]

SMALL = ["*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken"]


@dataclass(frozen=True)
class ModelFiles:
    """A model's folder.

    Attributes:
        name: as it was asked for.
        folder: in the hub's layout.
        revision: the hub's commit; of a plain folder a hash over its config and its files' names and sizes.
    """

    name: str
    folder: Path
    revision: str


def find_model(model: str, revision: str | None = None, *, download: bool = True) -> ModelFiles:
    """The files of a folder or a hub id.

    Args:
        model: folder, or OWNER/NAME.
        revision: of a hub id; None: main.
        download: fetch what the cache has not.

    Raises:
        ConfigError: no such folder, or one that holds no model.
        BackendError: not in the cache, and not to be had from the hub.
    """
    folder = Path(model)
    name = model.removeprefix(HUB)
    if folder.is_dir():
        if not _is_whole(folder):
            raise ConfigError(f"caption.model = {model}: no config.json with weights. Give a model's whole folder.")
        return ModelFiles(model, folder, _signature(folder))
    if name.startswith(("/", ".", "~")) or name.count("/") != 1:
        raise ConfigError(f"caption.model = {model}: no such folder. Give a folder, or a hub id: OWNER/NAME.")
    choices = [[*SMALL, "*.safetensors"], [*SMALL, "*.bin"]]
    folder = hub_folder(name, revision, choices, _is_whole, download)
    return ModelFiles(model, folder, folder.name)


def _is_whole(folder: Path) -> bool:
    weights = [path for pattern in ("*.safetensors", "*.bin") for path in folder.glob(pattern)]
    return (folder / "config.json").is_file() and bool(weights)


def _signature(folder: Path) -> str:
    seen = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(folder.iterdir()):
        seen.update(f"{path.name} {path.stat().st_size}\n".encode())
    return seen.hexdigest()[:12]
