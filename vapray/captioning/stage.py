"""Stage caption: the table ``images`` to the table ``captions``.

in    image_id, label, split, group, path, text, sha256
out   image_id, label, split, group, t1, t2_id, caption, and how it was made
1:1.  An unreadable image or an unusable answer is a reject with a reason.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vapray.captioning.captioner import CaptionDraft, Captioner, CaptionReject, cache_key
from vapray.captioning.factory import build_captioner
from vapray.captioning.ground_truth import GroundTruthCaptions
from vapray.captioning.precomputed import PrecomputedCaptions
from vapray.captioning.prompt_selection import select_prompt_set
from vapray.captioning.prompt_set import load_prompt_set
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
    blind: dict[str, Callable[[], RowMapper]] = {
        "given": partial(_TakeCaptions, run.config),
        "drawn": partial(_WordTruth, run.config),
    }
    map_rows(
        run,
        run.inputs["images"],
        blind.get(run.config.caption.captioner, partial(_open, run.config, run.output)),
        pool=run.config.pools.caption,
        columns=["image_id", "label", "split", "group", "path", "text", "sha256"],
    )
    run.notes.update({"captioner": run.config.caption.captioner, "knowledge": _settled(run.output) or {}})
    run.notes["tokens"] = _tokens(run.output)


def _open(config: Config, output: Version) -> "CaptionImages":
    captioner = build_captioner(config, partial(_settle, output))
    _settle(output, lambda: dict(captioner.knowledge))
    return CaptionImages(config, captioner)


class CaptionImages:
    """Map worker that captions images: rows of ``images`` to rows of ``captions``."""

    def __init__(self, config: Config, captioner: Captioner) -> None:
        """Keep the captioner, with its model loaded."""
        self._side, self._captioner = config.caption.image_side, captioner
        self._made = _provenance(config, captioner.name, captioner.revision, captioner.sampling)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Build a part of ``captions``."""
        images, kept, reasons = load_square_images(rows.column("path").to_pylist(), self._side)
        asked = rows.to_pylist()
        answers: list[CaptionDraft | CaptionReject] = [CaptionReject(reasons.get(n, "")) for n in range(len(asked))]
        ids = [asked[position]["image_id"] for position in kept]
        for position, answer in zip(kept, self._captioner.caption(images, ids), strict=True):
            answers[position] = answer
        return _part(asked, answers, self._made)


class _TakeCaptions:
    """Map worker that looks captions up; ingest has checked that each image is readable."""

    def __init__(self, config: Config) -> None:
        path = config.caption.captions
        self._given = PrecomputedCaptions.read(path) if path else PrecomputedCaptions(None)
        self._made = _provenance(config, self._given.name, self._given.revision, {})

    def __call__(self, rows: pa.Table) -> pa.Table:
        asked = rows.to_pylist()
        return _part(asked, [self._given.caption_for(row["image_id"], row["text"]) for row in asked], self._made)


class _WordTruth:
    """Map worker that words true attributes."""

    def __init__(self, config: Config) -> None:
        caption = config.caption
        self._drawn = GroundTruthCaptions(
            true_attributes(config) or {}, select_prompt_set(config), config.run.seed, caption.omit, caption.corrupted
        )
        self._made = _provenance(config, self._drawn.name, self._drawn.revision, self._drawn.sampling)

    def __call__(self, rows: pa.Table) -> pa.Table:
        asked = rows.to_pylist()
        return _part(asked, [self._drawn.caption_for(row["image_id"], row["split"]) for row in asked], self._made)


def _provenance(config: Config, name: str, revision: str, sampling: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns that all captions of one captioner share."""
    strategy = config.caption.strategy
    return {
        "model": name,
        "revision": revision,
        "strategy": strategy,
        "prompt_version": load_prompt_set(config.prompt_set).version,
        "sampling": json.dumps({"strategy": strategy, **sampling}, sort_keys=True),
    }


def _part(asked: list[dict[str, Any]], answers: list[CaptionDraft | CaptionReject], made: dict[str, str]) -> pa.Table:
    done, rejects = [], {}
    for row, answer in zip(asked, answers, strict=True):
        if isinstance(answer, CaptionReject):
            rejects[row["image_id"]] = answer.reason
        else:
            done.append(row | vars(answer) | made | {"cache_key": cache_key(row["sha256"], made)})
    return build_part(TABLES["captions"], done, rejects)


def _settle(output: Version, ask: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Return the knowledge texts of this version: the same for all actors and after a restart."""
    settled = _settled(output)
    if settled is None:
        output.files.create(_knowledge_file(output), json.dumps(ask(), ensure_ascii=False).encode())
        settled = _settled(output)
    assert settled is not None
    return settled


def _settled(output: Version) -> dict[str, str] | None:
    data = output.files.read(_knowledge_file(output))
    return None if data is None else json.loads(data)


def _knowledge_file(output: Version) -> str:
    return f"{output.folder}/files/knowledge.json"


def _tokens(output: Version) -> dict[str, int]:
    total = dict.fromkeys(TOKENS, 0)
    for part in output.read_parts(TOKENS):
        total = {name: count + (pc.sum(part.column(name)).as_py() or 0) for name, count in total.items()}
    return total
