"""Stage autoencoder: training images of the table ``images`` to f_E and f_D, fitted or pretrained.

in    path of the train split; of the validation split where a decoder is tuned
out   files/autoencoder in diffusers' layout

A tuned decoder is written by this stage, so that all readers of latents and the checkpoint use the same autoencoder.
"""

import tempfile
from collections.abc import Callable
from typing import Any

from vapray.config import Config
from vapray.errors import DataError
from vapray.latents.autoencoder import Autoencoder
from vapray.latents.fitting.build import ImagePaths, optimizer_steps, prepare_autoencoder
from vapray.latents.pixel_space import PixelSpace
from vapray.runtime.cluster import run_remote
from vapray.runtime.driver_channel import open_driver_channel
from vapray.runtime.stage_context import StageContext
from vapray.store.checkpoint import read_folder_bytes, write_checkpoint
from vapray.store.version import Version

__all__ = ["run"]


def run(run: StageContext) -> None:
    """Run the stage."""
    if run.config.autoencoder.kind == "pixels":
        run.notes["sha256"] = _save(PixelSpace(), run.output)
        return
    run.progress.set_total(optimizer_steps(run.config), "steps")
    with open_driver_channel(run.progress) as board:
        pool = run.config.pools.autoencoder
        run.notes.update(
            run_remote(
                run.name,
                _make,
                run.config,
                run.inputs["images"],
                run.output,
                board.report_progress,
                pool=pool,
                log=run.progress.log,
            )
        )


def _make(config: Config, images: Version, output: Version, report: Callable[..., None]) -> dict[str, Any]:
    rows = images.read(["split", "path"]).to_pylist()
    train, validation = ([row["path"] for row in rows if row["split"] == split] for split in ("train", "validation"))
    try:
        autoencoder, notes = prepare_autoencoder(config, ImagePaths(train, validation), report)
    except DataError as error:
        raise DataError(f"{images.uri}: {error}") from error
    return notes | {"sha256": _save(autoencoder, output)}


def _save(autoencoder: Autoencoder, output: Version) -> str:
    with tempfile.TemporaryDirectory() as folder:
        autoencoder.save(folder)
        return write_checkpoint(output.files, f"{output.folder}/files/autoencoder", read_folder_bytes(folder))
