"""Stage autoencoder: training images of the table ``images`` to f_E and f_D, fitted or pretrained.

in    path of the train split; of the validation split where a decoder is tuned
out   files/autoencoder in diffusers' layout

A tuned decoder is written by this stage, so that all readers of latents and the checkpoint use the same autoencoder.
"""

import tempfile
from collections.abc import Callable
from typing import Any

from vapray.board import watched
from vapray.checkpoint import folder_contents, write_checkpoint
from vapray.cluster import run_remote
from vapray.config import Config
from vapray.errors import DataError
from vapray.latents.autoencoder import Autoencoder
from vapray.latents.fitting.making import Paths, make_autoencoder, optimiser_steps
from vapray.latents.pixel_space import PixelSpace
from vapray.stage_run import StageRun
from vapray.store import Version

__all__ = ["run"]


def run(run: StageRun) -> None:
    """Run the stage."""
    if run.config.autoencoder.kind == "pixels":
        run.notes["sha256"] = _save(PixelSpace(), run.output)
        return
    run.progress.expect(optimiser_steps(run.config), "steps")
    with watched(run.progress) as board:
        pool = run.config.pools.autoencoder
        run.notes.update(
            run_remote(
                run.name,
                _make,
                run.config,
                run.inputs["images"],
                run.output,
                board.post,
                pool=pool,
                say=run.progress.say,
            )
        )


def _make(config: Config, images: Version, output: Version, report: Callable[..., None]) -> dict[str, Any]:
    rows = images.read(["split", "path"]).to_pylist()
    train, validation = ([row["path"] for row in rows if row["split"] == split] for split in ("train", "validation"))
    try:
        autoencoder, notes = make_autoencoder(config, Paths(train, validation), report)
    except DataError as error:
        raise DataError(f"{images.uri}: {error}") from error
    return notes | {"sha256": _save(autoencoder, output)}


def _save(autoencoder: Autoencoder, output: Version) -> str:
    with tempfile.TemporaryDirectory() as folder:
        autoencoder.save(folder)
        return write_checkpoint(output.files, f"{output.folder}/files/autoencoder", folder_contents(folder))
