"""Checks of the path of a checkpoint, with the path of a checkpoint nearby."""

import os

from vapray.errors import CheckpointError
from vapray.store.files import FileStore

__all__ = ["open_checkpoint_folder"]

PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin")
NEVER_OPENED = "a pickle, and those are never opened: loading one runs the code in it"


def open_checkpoint_folder(path: str) -> FileStore:
    """Open a checkpoint's ``final`` folder.

    Raises:
        CheckpointError: ``path`` is no such folder (suggests one nearby), or is incomplete.
    """
    if os.path.isfile(path):
        what = f"{NEVER_OPENED}." if path.endswith(PICKLES) else "a file, not a folder."
        raise CheckpointError(f"{path}: {what} {_advice(FileStore(os.path.dirname(path) or '.'))}")
    files = FileStore(path)
    names = files.names("")
    absent = [name for name in ("checkpoint.json", "manifest.json") if name not in names]
    if absent:
        pickles = [name for name in names if name.endswith(PICKLES)]
        aside = f" {pickles[0]} is {NEVER_OPENED}." if pickles and "manifest.json" in absent else ""
        what = f"no complete checkpoint, it has no {' and no '.join(absent)}" if names else "no such folder"
        raise CheckpointError(f"{path}: {what}.{aside} {_advice(files)}")
    return files


def _advice(files: FileStore) -> str:
    """Suggest the path of a checkpoint near a folder of a run or of a checkpoint."""
    base = files.path("").rstrip("/")
    above = [base.rsplit("/", steps)[0] for steps in (1, 2) if base.count("/") > steps]
    inside = ("", "*/files/", "files/", "checkpoints/*/files/", "*/checkpoints/*/files/")
    below = [f"{base}/{folders}" for folders in inside]
    places = [*(f"{folder}final" for folder in below), *above, *(f"{folder}/final" for folder in above)]
    found = [hit for place in places for hit in files.filesystem.glob(f"{place}/checkpoint.json")]
    folders = list(dict.fromkeys(str(hit).rsplit("/", 1)[0] for hit in found))
    if len(folders) == 1:
        return f"Did you mean {folders[0]}?"
    if folders:
        return f"Found: {', '.join(folders[:5])}."
    if any(files.filesystem.glob(f"{folder}steps/step-*/manifest.json") for folder in below):
        return "Its training is not finished. Fix: continue it by `python -m jobs.train` with its config."
    return "Fix: give RUN/checkpoints/FINGERPRINT/files/final, which `python -m jobs.train` writes."
