"""What a finished run says, wherever it lies, without how fast it was made."""

import io
import json
from typing import Any

import pandas
from PIL import Image

from vapray.store.files import FileStore

__all__ = ["TABLES", "digests_of_the_weights", "frame", "metrics"]

TABLES = ["images", "captions", "prompt_bank", "latents", "samples", "reference_measurements", "measurements"]


def frame(files: FileStore, table: str) -> pandas.DataFrame:
    """All rows; pictures as pixels, since their provenance names a checkpoint that notes how fast it was trained."""
    (version,) = files.names(table)
    parts = json.loads(files.read(f"{table}/{version}/manifest.json"))["parts"]
    data = (io.BytesIO(files.read(f"{table}/{version}/parts/{part['name']}")) for part in parts)
    whole = pandas.concat(pandas.read_parquet(part) for part in data)
    if "png" in whole:
        whole["png"] = [Image.open(io.BytesIO(png)).tobytes() for png in whole["png"]]
    return whole.sort_values(whole.columns[0]).reset_index(drop=True)


def metrics(files: FileStore) -> dict[str, Any]:
    """Without speeds, and without the checkpoint's digest, which covers its speed."""
    card = json.loads(files.read("report/metrics.json"))
    del card["stages"], card["provenance"]["checkpoint_sha256"]
    return card


def digests_of_the_weights(files: FileStore) -> dict[str, str]:
    """Of the last and the averaged weights of the run's only checkpoint."""
    (version,) = files.names("checkpoints")
    digests = json.loads(files.read(f"checkpoints/{version}/files/final/manifest.json"))
    return {name: digests[name] for name in ("raw.safetensors", "ema.safetensors")}
