"""Release gate of an export: the audit of the run for copies of training images."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vapray.errors import DataError
from vapray.store.checkpoint import manifest_sha256, split_checkpoint_path
from vapray.store.files import FileStore
from vapray.store.run_store import Store

__all__ = ["AuditGate", "check_audits"]

AUDIT = "files/report/memorisation.json"
"""Path of the audit in a version of ``measurements``."""
PASSED, COPIES = "none found", "copies found"


@dataclass(frozen=True)
class AuditGate:
    """Outcome of the audits of a run for these weights."""

    passed: bool
    text: str
    """One or two sentences for the model card, without a path."""

    def require(self, checkpoint: str) -> None:
        """Refuse a model without a passed audit.

        Raises:
            DataError: names what is missing and what to run.
        """
        if not self.passed:
            raise DataError(
                f"{checkpoint}: {self.text} Run `python -m jobs.evaluate` with the config of its run, and export from "
                "RUN/checkpoints/FINGERPRINT/files/final; or give --accept-unaudited, which the model card states."
            )


def check_audits(checkpoint: str, weights: str) -> AuditGate:
    """Combine all audits of a checkpoint in its run: one that found copies outweighs others that found none.

    Args:
        checkpoint: ``final`` folder of the checkpoint.
        weights: ema or raw; an audit covers the weights that generated its images.
    """
    audits = list(_audits(checkpoint))
    of_weights = [audit for audit in audits if audit["weights"] == weights]
    for verdict in (COPIES, PASSED):
        if found := [audit for audit in of_weights if audit["verdict"] == verdict]:
            return AuditGate(verdict == PASSED, f"Audit for copies of training pictures: {verdict}. {found[0]['why']}")
    if of_weights:
        return AuditGate(False, f"The audit for copies of training pictures cannot tell. {of_weights[0]['why']}")
    others = f"the {weights} weights; those audited are {audits[0]['weights']}" if audits else "this model"
    return AuditGate(False, f"No audit for copies of training pictures speaks of {others}.")


def _audits(checkpoint: str) -> Iterator[dict[str, Any]]:
    """Audits of the checkpoint, newest first; a damaged one is skipped."""
    root, _ = split_checkpoint_path(checkpoint)
    if root is None:
        return
    store, wanted = Store(root), manifest_sha256(FileStore(checkpoint), "")
    for version in store.finished("measurements"):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            audit = json.loads(store.files.read(f"{version.folder}/{AUDIT}") or b"{}")
            if audit["checkpoint_sha256"] == wanted and audit["weights"] and audit["verdict"] and audit["why"]:
                yield audit
