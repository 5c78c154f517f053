"""autoencoder: the training images of the table ``images`` become f_E and f_D.

in    path of the train split
out   files/autoencoder in diffusers' layout
"""

import tempfile
from collections.abc import Callable
from typing import Any

from vapray.board import watched
from vapray.checkpoint import folder_contents, write_checkpoint
from vapray.cluster import run_remote
from vapray.config import Config
from vapray.data.frames import read_frames
from vapray.errors import DataError
from vapray.latents.autoencoder import Autoencoder, PixelSpace
from vapray.latents.fit import Recipe, fit_autoencoder
from vapray.stage_run import StageRun
from vapray.store import Version

__all__ = ["run"]


def run(run: StageRun) -> None:
    """Run the stage."""
    settings = run.config.autoencoder
    if settings.kind == "pixels":
        run.notes["sha256"] = _save(PixelSpace(), run.output)
        return
    run.progress.expect(settings.steps, "steps")
    with watched(run.progress) as board:
        pool = run.config.pools.autoencoder
        run.notes.update(run_remote(_fit, run.config, run.inputs["images"], run.output, board.post, pool=pool))


def _fit(config: Config, images: Version, output: Version, report: Callable[..., None]) -> dict[str, Any]:
    rows = images.read(["split", "path"]).to_pylist()
    paths = [row["path"] for row in rows if row["split"] == "train"]
    frames, _, _ = read_frames(paths, config.data.image_size)
    if len(frames) == 0:
        raise DataError(f"{images.uri}: no image of the train split can be read. The autoencoder is fitted to them.")
    settings = config.autoencoder
    recipe = Recipe(**settings.model_dump(exclude={"kind"}), seed=config.run.seed)
    autoencoder, fit = fit_autoencoder(
        frames,
        recipe,
        threads=max(1, round(config.pools.autoencoder.num_cpus)),
        device=config.pools.autoencoder.device,
        on_step=lambda step, loss: report(step, f"loss {loss:.4f}"),
    )
    return {
        "rows": settings.steps * settings.batch_size,
        "sha256": _save(autoencoder, output),
        "psnr_train": fit.psnr_train,
        "psnr_heldout": fit.psnr_heldout,
        "loss_curve": fit.loss_curve,
    }


def _save(autoencoder: Autoencoder, output: Version) -> str:
    with tempfile.TemporaryDirectory() as folder:
        autoencoder.save(folder)
        return write_checkpoint(output.files, f"{output.folder}/files/autoencoder", folder_contents(folder))
