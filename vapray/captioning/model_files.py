"""Where a model's files lie: a folder, or the hub's cache, filled from the hub where that can be reached."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from vapray.errors import BackendError

__all__ = ["ModelFiles", "find_model"]


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


def find_model(model: str, revision: str | None = None) -> ModelFiles:
    """The files of a folder or a hub id, downloaded if need be.

    Raises:
        BackendError: there are none, or the hub cannot be reached and the cache does not hold them.
    """
    folder = Path(model)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise BackendError(f"{model}: holds no config.json. Give a folder in the layout of a model hub.")
        return ModelFiles(model, folder, _signature(folder))
    if model.startswith(("/", ".", "~")) or model.count("/") != 1:
        raise BackendError(f"{model}: no such folder. Give a folder, or a hub id such as organisation/model.")
    return _from_hub(model, revision)


def _from_hub(model: str, revision: str | None) -> ModelFiles:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "10")
    try:
        folder = Path(snapshot_download(model, revision=revision, ignore_patterns=["*.pth", "*.gguf", "original/*"]))
    except RepositoryNotFoundError as error:
        raise BackendError(
            f"{model}: the hub knows no such model, or it wants a login (set HF_TOKEN). Mind the spelling."
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise BackendError(
            f"{model}: not in the cache {os.environ.get('HF_HOME', '~/.cache/huggingface')}, and the hub cannot be "
            f"reached{' (HF_HUB_OFFLINE is set)' if os.environ.get('HF_HUB_OFFLINE') else ''}. Download it once with "
            f"`hf download {model}`, or give the folder that holds it."
        ) from error
    return ModelFiles(model, folder, folder.name)


def _signature(folder: Path) -> str:
    seen = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(folder.iterdir()):
        seen.update(f"{path.name} {path.stat().st_size}\n".encode())
    return seen.hexdigest()[:12]
