"""Stage bank: table ``captions`` to table ``prompt_bank``.

in    image_id, label, split, group, caption; with caption.trust=audited the untrusted attributes, from the audit
out   image_id, label, split, group, caption, context float16 [num_tokens, width], cut_tokens
1:1.  A caption that is longer than the encoder takes is cut at a sentence's end and counted. A caption without a token
      is a reject. With caption.trust=audited a caption loses its statements about untrusted attributes first.

All splits are encoded (validation needs contexts too); the prompt bank that samples draw from takes the training split
only.
"""

from collections.abc import Sequence
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from vapray.bank.caption_length import cut_to_fit
from vapray.bank.factory import build_text_encoder
from vapray.captioning.prompt_selection import configured_prompt_set
from vapray.captioning.statement_removal import remove_statements
from vapray.config import Config
from vapray.errors import DataError
from vapray.runtime.row_map import map_rows
from vapray.runtime.stage_context import StageContext
from vapray.store.tables import TABLES, build_part, pack

__all__ = ["run"]


def run(run: StageContext) -> None:
    """Run the stage."""
    pool, untrusted = run.config.pools.bank, _untrusted(run)
    map_rows(
        run,
        run.inputs["captions"],
        partial(_EncodeCaptions, run.config, tuple(untrusted)),
        pool=pool,
        columns=["image_id", "label", "split", "group", "caption"],
    )
    parts = run.output.read_parts(["cut_tokens"])
    cut = sum(pc.sum(pc.greater(part.column("cut_tokens"), 0)).as_py() or 0 for part in parts)
    run.notes.update({"cut_captions": cut, "untrusted": untrusted})
    if cut:
        most = run.config.text_encoder.max_tokens
        run.progress.log(f"{cut:,} captions were cut at a sentence's end to fit text_encoder.max_tokens = {most}")


def _untrusted(run: StageContext) -> dict[str, str]:
    """Read the attributes to leave out, with the reason of each."""
    audits = run.inputs.get("audits")
    return audits.require_manifest().notes["untrusted"] if audits else {}


class _EncodeCaptions:
    def __init__(self, config: Config, untrusted: Sequence[str]) -> None:
        self._encoder = build_text_encoder(config.text_encoder, config.pools.bank.device)
        self._untrusted, self._prompt_set = untrusted, None
        if untrusted:
            self._prompt_set = configured_prompt_set(config)

    def __call__(self, rows: pa.Table) -> pa.Table:
        asked, done, rejects = [], [], {}
        for row in rows.to_pylist():
            if (caption := self._trusted(row["caption"])) is None:
                rejects[row["image_id"]] = f"untrusted: nothing is left without {', '.join(self._untrusted)}"
            else:
                asked.append(row | self._cut(caption))
        for row, context in zip(asked, self._encoder.encode_each([row["caption"] for row in asked]), strict=True):
            if isinstance(context, DataError):
                rejects[row["image_id"]] = str(context)
            else:
                num_tokens, width = context.shape
                done.append(row | {"context": pack(context), "num_tokens": num_tokens, "width": width})
        return build_part(TABLES["prompt_bank"], done, rejects)

    def _trusted(self, caption: str) -> str | None:
        if self._prompt_set is None:
            return caption
        removed = remove_statements(caption, self._prompt_set, self._untrusted)
        return removed.text if removed else None

    def _cut(self, caption: str) -> dict[str, str | int]:
        kept, count = cut_to_fit(caption, self._encoder), self._encoder.count_tokens
        return {"caption": kept, "cut_tokens": 0 if kept == caption else count(caption) - count(kept)}
