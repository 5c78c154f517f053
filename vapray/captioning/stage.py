"""caption: the table ``images`` becomes the table ``captions``.

in    image_id, label, split, group, path, sha256
out   image_id, label, split, group, t1, t2_id, caption, and how it was made
1:1.  A picture or an answer that cannot be used is a reject with a reason.
"""

import csv
from functools import partial
from typing import Any

import pyarrow as pa

from vapray.captioning.captioner import CaptionDraft, Captioner, CaptionReject, cache_key, make_captioner
from vapray.captioning.prompt_set import load_prompt_set
from vapray.captioning.wording import knowledge
from vapray.config import Config
from vapray.data.frames import read_frames
from vapray.errors import ConfigError
from vapray.row_map import map_rows
from vapray.stage_run import StageRun
from vapray.tables import TABLES, part_of

__all__ = ["run"]


def run(run: StageRun) -> None:
    """Run the stage."""
    captioner = _captioner(run.config)  # an unknown name or strategy fails here, not in every actor
    prompt_set = load_prompt_set(run.config.prompt_set)
    texts = dict(knowledge(prompt_set, number) for number in range(len(prompt_set.texts.knowledge)))
    run.notes.update({"captioner": captioner.name, "knowledge": texts})
    map_rows(
        run,
        run.inputs["images"],
        partial(_CaptionImages, run.config),
        pool=run.config.pools.caption,
        columns=["image_id", "label", "split", "group", "path", "sha256"],
    )


class _CaptionImages:
    def __init__(self, config: Config) -> None:
        self._side, self._captioner = config.caption.image_side, _captioner(config)
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
        key = cache_key(sha256, captioner.name, captioner.revision, self._prompt_version, {"strategy": self._strategy})
        return {
            "t1": draft.t1,
            "t2_id": draft.t2_id,
            "caption": draft.caption,
            "cache_key": key,
            "model": captioner.name,
            "revision": captioner.revision,
            "strategy": self._strategy,
            "prompt_version": self._prompt_version,
            "prompt_tokens": draft.prompt_tokens,
            "completion_tokens": draft.completion_tokens,
            "finish_reason": draft.finish_reason,
        }


def _captioner(config: Config) -> Captioner:
    given = config.caption.captions
    return make_captioner(
        config.caption.captioner,
        load_prompt_set(config.prompt_set),
        strategy=config.caption.strategy,
        seed=config.run.seed,
        captions=_read_captions(given) if given else None,
    )


def _read_captions(path: str) -> dict[str, str]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return {row["image_id"]: row["caption"] for row in csv.DictReader(file)}
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"caption.captions {path}: {error!r}. Wanted a UTF-8 CSV with the columns image_id and caption."
        ) from None
