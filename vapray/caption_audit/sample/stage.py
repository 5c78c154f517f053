"""Stage caption_audit_sample: measure a sample of the captioned images, and caption it again with other seeds.

in    images, captions
out   the table ``audit_measurements``: image_id, label, split, group, path, caption, cache_key, measured, recaptions
1:1 over the sample, in the captioner's actor pool. An image that can no longer be read becomes a reject.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vapray.captioning.captioner import CaptionDraft
from vapray.captioning.factory import build_vlm_captioner, uses_language_model
from vapray.captioning.measured.dermoscopy import measure_dermoscopy
from vapray.config import Config
from vapray.config.captioning import MEASURED_MODALITY
from vapray.data.image_loading import load_square_images
from vapray.runtime.row_map import map_rows, write_work_list
from vapray.runtime.stage_context import StageContext
from vapray.store.receipts import Span
from vapray.store.tables import TABLES, build_part
from vapray.store.version import Version

__all__ = ["run"]

CAPTIONED = ["image_id", "label", "split", "group", "caption", "cache_key"]


def run(run: StageContext) -> None:
    """Run the stage."""
    sample = _sample(run)
    if run.config.caption.captioner == "measured":  # it would be compared with itself
        rows = build_part(TABLES["audit_measurements"], sample.to_pylist())
        run.output.write_part(rows, Span.whole("sample", rows.num_rows))
        return
    map_rows(
        run,
        write_work_list(run, "audit_plan", sample),
        partial(_MeasureAndRecaption, run.config, run.upstream["caption"].notes["knowledge"]),
        pool=run.config.pools.caption,
        columns=[*CAPTIONED, "path", "repeated"],
    )


def _sample(run: StageContext) -> pa.Table:
    """Draw captions without repetition; the first ones are marked to be captioned again."""
    audit, captions = run.config.caption_audit, run.inputs["captions"]
    ids = captions.read(["image_id"]).column(0).to_pylist()
    order = np.random.default_rng(run.config.run.seed).permutation(len(ids))
    drawn = [ids[number] for number in order[: audit.images]]
    rows, paths = (
        _select_rows(captions, CAPTIONED, drawn),
        _select_rows(run.inputs["images"], ["image_id", "path"], drawn),
    )
    again = drawn[: audit.repeated_images] if audit.repeats else []
    repeated = pc.is_in(rows.column("image_id"), pa.array(again, pa.string()))
    return rows.append_column("path", paths.column("path")).append_column("repeated", repeated)


def _select_rows(version: Version, columns: Sequence[str], ids: Sequence[str]) -> pa.Table:
    """Read the rows of these images, sorted by id, part by part."""
    wanted = pa.array(ids, pa.string())
    parts = [part.filter(pc.is_in(part.column("image_id"), wanted)) for part in version.read_parts(columns)]
    return pa.concat_tables(parts).select(list(columns)).sort_by("image_id")


class _MeasureAndRecaption:
    """Row map that measures images and captions them again."""

    def __init__(self, config: Config, knowledge: Mapping[str, str]) -> None:
        """Open the captioner, if a model must caption images again."""
        self._config = config
        self._again = []
        if uses_language_model(config) and config.caption_audit.repeats:
            captioner = build_vlm_captioner(config, knowledge)
            seeds = range(config.run.seed + 1, config.run.seed + 1 + config.caption_audit.repeats)
            self._again = [captioner.reseeded(seed, config.caption_audit.temperature) for seed in seeds]

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Build a part of ``audit_measurements``."""
        asked = rows.to_pylist()
        frames, kept, reasons = load_square_images([row["path"] for row in asked], self._config.caption.image_size)
        done = [asked[n] | {"measured": self._measured(frame)} for n, frame in zip(kept, frames, strict=True)]
        self._caption_again(done, frames)
        rejects = {asked[n]["image_id"]: reason for n, reason in reasons.items()}
        return build_part(TABLES["audit_measurements"], done, rejects)

    def _measured(self, frame: NDArray[np.uint8]) -> str | None:
        if self._config.data.modality != MEASURED_MODALITY:
            return None
        return json.dumps(measure_dermoscopy(frame, self._config.caption.detail))

    def _caption_again(self, done: list[dict[str, Any]], frames: NDArray[np.uint8]) -> None:
        """Caption the marked images again; drops failed captions, which cannot be compared."""
        chosen = [number for number, row in enumerate(done) if row["repeated"]]
        pictures, ids = frames[chosen], [done[number]["image_id"] for number in chosen]
        answers = [captioner.caption(pictures, ids) for captioner in self._again]
        for number, *of_one in zip(chosen, *answers, strict=True):
            done[number]["recaptions"] = [one.caption for one in of_one if isinstance(one, CaptionDraft)]
