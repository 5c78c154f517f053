"""Stage encode: tables ``images`` and ``autoencoder`` to table ``latents``.

in    image_id, label, split, group, path
out   key, image_id, label, split, group, flipped, moments float16 [2 * channels, height, width],
      teacher int8 [features, grid, grid] with alignment.kind=teacher
1:2.  Each image and its mirror image; both are in one part.
"""

from functools import partial

import numpy as np
import pyarrow as pa

from vapray.config import Config
from vapray.data.image_loading import load_square_images
from vapray.latents.latent_space import LatentSpace, LatentStatistics, flip_pair
from vapray.latents.loading import load_run_autoencoder
from vapray.latents.teacher import load_teacher
from vapray.runtime.cluster import run_remote
from vapray.runtime.row_map import map_rows
from vapray.runtime.stage_context import StageContext
from vapray.store.tables import TABLES, build_part, pack, unpack
from vapray.store.version import Version

__all__ = ["run"]


def run(run: StageContext) -> None:
    """Run the stage."""
    pool = run.config.pools.encode
    map_rows(
        run,
        run.inputs["images"],
        partial(_EncodeImages, run.config, run.inputs["autoencoder"]),
        pool=pool,
        columns=["image_id", "label", "split", "group", "path"],
    )
    run.notes["latent_space"] = run_remote(
        run.name, _latent_space, run.config, run.inputs["autoencoder"], run.output, pool=pool, log=run.progress.log
    )
    if run.config.alignment.kind == "teacher":
        run.notes["teacher_shape"] = _teacher_shape(run.output, run.config.patch_grid)


class _EncodeImages:
    def __init__(self, config: Config, autoencoder: Version) -> None:
        self._side = config.data.image_size
        self._autoencoder = load_run_autoencoder(autoencoder, config.pools.encode.device)
        self._teacher = load_teacher(config, config.pools.encode.device)

    def __call__(self, rows: pa.Table) -> pa.Table:
        frames, kept, reasons = load_square_images(rows.column("path").to_pylist(), self._side)
        asked = rows.to_pylist()
        done = []
        for flipped, images in enumerate(flip_pair(frames)) if kept else ():
            moments = self._autoencoder.encode_moments(images).cpu().numpy().astype(np.float16)
            features = self._teacher(images) if self._teacher else [None] * len(kept)
            for position, moment, feature in zip(kept, moments, features, strict=True):
                done.append(asked[position] | _row(asked[position]["image_id"], bool(flipped), moment, feature))
        rejects = {f"{asked[position]['image_id']}/0": reason for position, reason in reasons.items()}
        return build_part(TABLES["latents"], done, rejects)


def _row(image_id: str, flipped: bool, moment: np.ndarray, feature: np.ndarray | None) -> dict[str, object]:
    channels, height, width = moment.shape
    key = f"{image_id}/{int(flipped)}"
    return {
        "key": key,
        "flipped": flipped,
        "moments": pack(moment),
        "channels": channels // 2,
        "height": height,
        "width": width,
        "teacher": None if feature is None else pack(feature),
    }


def _teacher_shape(latents: Version, grid: int) -> list[int]:
    """Get the shape of a row's features from the first part with rows."""
    for part in latents.read_parts(["teacher"]):
        if part.num_rows:
            return [len(part.column("teacher")[0].as_py()) // grid**2, grid, grid]
    return [0, grid, grid]


def _latent_space(config: Config, autoencoder: Version, latents: Version) -> dict[str, object]:
    """Get the published latent space, or measure that of the training split: mean 0 and sd 1 per channel."""
    encoder, side = load_run_autoencoder(autoencoder), config.latent_side
    if encoder.published_scaling:
        return LatentSpace.published(encoder.published_scaling, encoder.channels, side).to_record()
    statistics = LatentStatistics()
    for part in latents.read_parts():
        for row in part.to_pylist():
            if row["split"] == "train":
                moments = unpack(row["moments"], "float16", 1, 2 * row["channels"], row["height"], row["width"])
                statistics.update(moments.astype(np.float32))
    return statistics.space(side).to_record()
