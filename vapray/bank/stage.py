"""Stage bank: table ``captions`` to table ``prompt_bank``.

in    image_id, label, split, group, caption
out   image_id, label, split, group, caption, context float16 [num_tokens, width], cut_tokens
1:1.  A caption that is longer than the encoder takes is cut at a sentence's end and counted. A caption without a token
      is a reject.

All splits are encoded (validation needs contexts too); the prompt bank that samples draw from takes the training split
only.
"""

from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from vapray.bank.caption_length import cut_to_fit
from vapray.bank.factory import build_text_encoder
from vapray.config import TextEncoderSection
from vapray.errors import DataError
from vapray.runtime.row_map import map_rows
from vapray.runtime.stage_context import StageContext
from vapray.store.tables import TABLES, build_part, pack

__all__ = ["run"]


def run(run: StageContext) -> None:
    """Run the stage."""
    pool = run.config.pools.bank
    map_rows(
        run,
        run.inputs["captions"],
        partial(_EncodeCaptions, run.config.text_encoder, pool.device),
        pool=pool,
        columns=["image_id", "label", "split", "group", "caption"],
    )
    parts = run.output.read_parts(["cut_tokens"])
    cut = sum(pc.sum(pc.greater(part.column("cut_tokens"), 0)).as_py() or 0 for part in parts)
    run.notes["cut_captions"] = cut
    if cut:
        most = run.config.text_encoder.max_tokens
        run.progress.log(f"{cut:,} captions were cut at a sentence's end to fit text_encoder.max_tokens = {most}")


class _EncodeCaptions:
    def __init__(self, bank: TextEncoderSection, device: str) -> None:
        self._encoder = build_text_encoder(bank, device)

    def __call__(self, rows: pa.Table) -> pa.Table:
        asked = [row | self._cut(row["caption"]) for row in rows.to_pylist()]
        done, rejects = [], {}
        for row, context in zip(asked, self._encoder.encode_each([row["caption"] for row in asked]), strict=True):
            if isinstance(context, DataError):
                rejects[row["image_id"]] = str(context)
            else:
                num_tokens, width = context.shape
                done.append(row | {"context": pack(context), "num_tokens": num_tokens, "width": width})
        return build_part(TABLES["prompt_bank"], done, rejects)

    def _cut(self, caption: str) -> dict[str, str | int]:
        kept, count = cut_to_fit(caption, self._encoder), self._encoder.count_tokens
        return {"caption": kept, "cut_tokens": 0 if kept == caption else count(caption) - count(kept)}
