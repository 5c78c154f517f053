"""Limit of rejects of a stage, at its end and after its pilot."""

from collections import Counter

import pyarrow.compute as pc

from vapray.errors import RejectLimitError
from vapray.runtime.stage_context import StageContext
from vapray.store.tables import REJECT

__all__ = ["check_rejects"]

EXAMPLES = 5


def check_rejects(run: StageContext, asked: int, *, unstarted: int = 0) -> None:
    """Compare the committed rejects of a stage with ``run.max_reject_fraction``.

    Args:
        run: Context of the stage.
        asked: Rows that have a result.
        unstarted: Rows that the stage has not started, because these rows are its pilot.

    Raises:
        RejectLimitError: more rows were rejected than allowed; the message has examples with their reasons.
    """
    limit, count = run.config.run.max_reject_fraction, 0
    if run.output.receipts.rejects <= limit * asked:
        return
    reasons: Counter[str] = Counter()
    first: dict[str, str] = {}
    for part in run.output.read_parts([REJECT], rejects=True):
        rejects = part.filter(~pc.field(REJECT).is_null())
        count += rejects.num_rows
        found = rejects.column(REJECT).to_pylist()
        reasons.update(found)
        for key, reason in zip(rejects.column(run.output.table_spec.key).to_pylist(), found, strict=True):
            first[reason] = min(key, first.get(reason, key))
    if count <= limit * asked:
        return
    rows = f"the first {asked:,} of {asked + unstarted:,}" if unstarted else f"{asked:,}"
    common = sorted(reasons.items(), key=lambda one: (-one[1], first[one[0]]))[:EXAMPLES]
    shown = "; ".join(f"{times:,} such as {first[reason]}: {reason}" for reason, times in common)
    stopped = " The others were not started." if unstarted else ""
    raise RejectLimitError(
        f"{run.output.uri}: {count:,} of {rows} rows were rejected, more than run.max_reject_fraction {limit:g} allows."
        f"{stopped} By reason: {shown}. Fix: correct the settings or the data and run again, or raise "
        f"run.max_reject_fraction. If both are correct, delete {run.output.uri} and run again."
    )
