"""Checkpoint in half precision, to ship: ``python -m vapray.export.half_precision CHECKPOINT FOLDER``."""

import argparse
import json
import sys

from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from vapray.errors import ConfigError, VaprayError
from vapray.export.memorisation_gate import check_audits
from vapray.store.checkpoint import read_checkpoint, write_checkpoint
from vapray.store.files import FileStore

__all__ = ["write_half_precision"]


def write_half_precision(checkpoint: str, folder: str) -> dict[str, int]:
    """Copy a checkpoint with its averaged weights as float16 and without those of the last step.

    Args:
        checkpoint: ``final`` folder of the checkpoint: local path or URI.
        folder: Output folder, new or empty.

    Returns:
        Size of each file in bytes, by name.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        ConfigError: the folder has content.
        DataError: the run has no passed audit for copies of training images.
    """
    target = FileStore(folder)
    if target.names(""):
        raise ConfigError(f"{folder}: has content. Fix: remove it, or give another folder.")
    check_audits(checkpoint, "ema").require(checkpoint)
    contents = read_checkpoint(FileStore(checkpoint), "")
    contents.pop("raw.safetensors", None)
    weights = load_safetensors(contents["ema.safetensors"])
    contents["ema.safetensors"] = save_safetensors({name: weight.half() for name, weight in weights.items()})
    contents["checkpoint.json"] = json.dumps(json.loads(contents["checkpoint.json"]), separators=(",", ":")).encode()
    write_checkpoint(target, "", contents)
    return {name: len(data) for name, data in contents.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="files/final folder of a checkpoint")
    parser.add_argument("folder", help="output folder, new or empty")
    asked = parser.parse_args()
    try:
        sizes = write_half_precision(asked.checkpoint, asked.folder)
    except VaprayError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    print("\n".join(f"{size:>14,} bytes  {file}" for file, size in sizes.items()))
