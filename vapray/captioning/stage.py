"""Stage caption: the table ``images`` to the table ``captions``.

in    image_id, label, split, group, path, text, sha256
out   image_id, label, split, group, impression, knowledge_id, caption, and how it was made
1:1.  An unreadable image or an unusable answer is a reject with a reason.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vapray.captioning.captioner import CaptionDraft, Captioner, CaptionReject, cache_key
from vapray.captioning.factory import build_captioner, uses_language_model
from vapray.captioning.ground_truth import GroundTruthCaptions
from vapray.captioning.precomputed import PrecomputedCaptions
from vapray.captioning.prompt_selection import configured_prompt_set, select_prompt_set
from vapray.config import Config
from vapray.data.dataset import true_attributes
from vapray.data.image_loading import load_square_images
from vapray.runtime.row_map import RowMapper, map_rows
from vapray.runtime.stage_context import StageContext
from vapray.store.tables import TABLES, build_part
from vapray.store.version import Version

__all__ = ["CaptionImages", "run"]

TOKENS = ("prompt_tokens", "cached_tokens", "completion_tokens")


def run(run: StageContext) -> None:
    """Run the stage."""
    cache = KnowledgeCache(run.output)
    opens: dict[str, Callable[[], RowMapper]] = {
        "precomputed": partial(_open_precomputed, run.config),
        "ground_truth": partial(_open_ground_truth, run.config),
    }
    map_rows(
        run,
        run.inputs["images"],
        opens.get(run.config.caption.captioner, partial(_open, run.config, cache)),
        pool=run.config.pools.caption,
        columns=["image_id", "label", "split", "group", "path", "text", "sha256"],
        pilot=run.config.caption.pilot if uses_language_model(run.config) else 0,
    )
    run.notes.update({"captioner": run.config.caption.captioner, "knowledge": cache.read() or {}})
    run.notes["tokens"] = _tokens(run.output)
    if cut := _cut_off(run.output):
        run.progress.log(f"{cut:,} captions end with their last whole sentence within caption.max_tokens")
    run.notes["cut_off"] = cut


class KnowledgeCache:
    """Knowledge texts of a table version, in one file: the same for all actors and after a restart."""

    def __init__(self, output: Version) -> None:
        """Choose the file below the version's folder."""
        self._files, self._path = output.files, f"{output.folder}/files/knowledge.json"

    def read(self) -> dict[str, str] | None:
        """Read the texts; None if no actor has stored any."""
        data = self._files.read(self._path)
        return None if data is None else json.loads(data)

    def read_or_store(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Read the texts of the first actor; store ``texts`` if this is the first."""
        if (stored := self.read()) is None:
            self._files.create_exclusive(self._path, json.dumps(dict(texts), ensure_ascii=False).encode())
            stored = self.read()
        assert stored is not None
        return stored


def _open(config: Config, cache: KnowledgeCache) -> "CaptionImages":
    captioner = build_captioner(config, cache.read())
    captioner.knowledge = cache.read_or_store(captioner.knowledge)
    return CaptionImages(config, captioner)


class CaptionImages:
    """Map worker that captions images: rows of ``images`` to rows of ``captions``."""

    def __init__(self, config: Config, captioner: Captioner) -> None:
        """Keep the captioner, with its model loaded."""
        self._side, self._captioner = config.caption.image_size, captioner
        self._made = _provenance(config, captioner)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Build a part of ``captions``."""
        images, kept, reasons = load_square_images(rows.column("path").to_pylist(), self._side)
        asked = rows.to_pylist()
        answers: list[CaptionDraft | CaptionReject] = [CaptionReject(reasons.get(n, "")) for n in range(len(asked))]
        ids = [asked[position]["image_id"] for position in kept]
        for position, answer in zip(kept, self._captioner.caption(images, ids), strict=True):
            answers[position] = answer
        return _part(asked, answers, self._made)


class _CaptionWithoutImages:
    """Map worker that reads no image; ingest has checked that each is readable."""

    def __init__(self, config: Config, captions: PrecomputedCaptions | GroundTruthCaptions, column: str) -> None:
        self._captions, self._column = captions, column
        self._made = _provenance(config, captions)

    def __call__(self, rows: pa.Table) -> pa.Table:
        asked = rows.to_pylist()
        return _part(
            asked, [self._captions.caption_for(row["image_id"], row[self._column]) for row in asked], self._made
        )


def _open_precomputed(config: Config) -> RowMapper:
    path = config.caption.captions_file
    return _CaptionWithoutImages(config, PrecomputedCaptions.read(path) if path else PrecomputedCaptions(None), "text")


def _open_ground_truth(config: Config) -> RowMapper:
    caption, truth = config.caption, true_attributes(config) or {}
    captions = GroundTruthCaptions(
        truth,
        select_prompt_set(config),
        config.run.seed,
        caption.omit,
        caption.corruption_rate,
        caption.corrupted_attributes,
    )
    return _CaptionWithoutImages(config, captions, "split")


def _provenance(config: Config, captioner: Captioner | PrecomputedCaptions | GroundTruthCaptions) -> dict[str, str]:
    """Return the columns that all captions of one captioner share."""
    strategy = config.caption.strategy
    return {
        "model": captioner.name,
        "revision": captioner.revision,
        "strategy": strategy,
        "prompt_version": configured_prompt_set(config).version,
        "sampling": json.dumps({"strategy": strategy, **captioner.sampling}, sort_keys=True),
    }


def _part(asked: list[dict[str, Any]], answers: list[CaptionDraft | CaptionReject], made: dict[str, str]) -> pa.Table:
    done, rejects = [], {}
    for row, answer in zip(asked, answers, strict=True):
        if isinstance(answer, CaptionReject):
            rejects[row["image_id"]] = answer.reason
        else:
            done.append(row | vars(answer) | made | {"cache_key": cache_key(row["sha256"], made)})
    return build_part(TABLES["captions"], done, rejects)


def _tokens(output: Version) -> dict[str, int]:
    total = dict.fromkeys(TOKENS, 0)
    for part in output.read_parts(TOKENS):
        total = {name: count + (pc.sum(part.column(name)).as_py() or 0) for name, count in total.items()}
    return total


def _cut_off(output: Version) -> int:
    """Count the captions whose answer reached the limit of tokens."""
    parts = output.read_parts(["finish_reason"])
    return sum(pc.sum(pc.equal(part.column("finish_reason"), "length")).as_py() or 0 for part in parts)
