"""caption: the table ``images`` becomes the table ``captions``.

in    image_id, label, split, group, path, sha256
out   image_id, label, split, group, t1, t2_id, caption, and how it was made
1:1.  A picture or an answer that cannot be used is a reject with a reason.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vapray.captioning.captioner import CaptionDraft, CaptionReject, cache_key
from vapray.captioning.opening import open_captioner, prompt_set_of
from vapray.captioning.prompt_set import load_prompt_set
from vapray.config import Config
from vapray.data.frames import read_frames
from vapray.row_map import map_rows
from vapray.stage_run import StageRun
from vapray.store import Version
from vapray.tables import TABLES, part_of

__all__ = ["run"]

TOKENS = ("prompt_tokens", "cached_tokens", "completion_tokens")


def run(run: StageRun) -> None:
    """Run the stage."""
    prompt_set_of(run.config)  # what is wrong with it is said here, not in every actor
    map_rows(
        run,
        run.inputs["images"],
        partial(_CaptionImages, run.config, run.output),
        pool=run.config.pools.caption,
        columns=["image_id", "label", "split", "group", "path", "sha256"],
    )
    run.notes.update({"captioner": run.config.caption.captioner, "knowledge": _settled(run.output) or {}})
    run.notes["tokens"] = _tokens(run.output)


class _CaptionImages:
    def __init__(self, config: Config, output: Version) -> None:
        self._side = config.caption.image_side
        self._captioner = open_captioner(config, partial(_settle, output))
        _settle(output, lambda: dict(self._captioner.knowledge))
        self._strategy = config.caption.strategy
        self._prompt_version = load_prompt_set(config.prompt_set).version

    def __call__(self, rows: pa.Table) -> pa.Table:
        images, kept, reasons = read_frames(rows.column("path").to_pylist(), self._side)
        asked = rows.to_pylist()
        ids = [asked[position]["image_id"] for position in kept]
        done, rejects = [], {asked[position]["image_id"]: reason for position, reason in reasons.items()}
        for position, answer in zip(kept, self._captioner.caption(images, ids), strict=True):
            if isinstance(answer, CaptionReject):
                rejects[asked[position]["image_id"]] = answer.reason
            else:
                done.append(asked[position] | self._row(asked[position]["sha256"], answer))
        return part_of(TABLES["captions"], done, rejects)

    def _row(self, sha256: str, draft: CaptionDraft) -> dict[str, Any]:
        captioner = self._captioner
        sampling = {"strategy": self._strategy, **captioner.sampling}
        return vars(draft) | {
            "cache_key": cache_key(sha256, captioner.name, captioner.revision, self._prompt_version, sampling),
            "model": captioner.name,
            "revision": captioner.revision,
            "strategy": self._strategy,
            "prompt_version": self._prompt_version,
            "sampling": json.dumps(sampling, sort_keys=True),
        }


def _settle(output: Version, ask: Callable[[], dict[str, str]]) -> dict[str, str]:
    """The knowledge texts of this version: all actors, and a run that goes on tomorrow, use the same."""
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
    rows = output.read(TOKENS)
    return {name: pc.sum(rows.column(name)).as_py() or 0 for name in TOKENS}
