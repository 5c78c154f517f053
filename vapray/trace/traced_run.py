"""Finished run as a trace reads it: versions of its tables, settings, and the trained model."""

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vapray.captioning.prompt_selection import configured_prompt_set
from vapray.captioning.prompt_set import PromptSet
from vapray.compare.lineage import EVALUATION, RunLineage, open_lineage
from vapray.config import Config
from vapray.config.renamed_keys import rename_settings
from vapray.errors import DataError
from vapray.sampling.checkpoint_loading import read_metadata
from vapray.sampling.sampler import Sampler, SamplingSettings
from vapray.store.run_store import Store
from vapray.store.version import Version
from vapray.trace.missing import run_stage

__all__ = ["TracedRun", "rows_with"]


class TracedRun:
    """Versions behind the published evaluation of a run, or behind its newest samples or checkpoint.

    Args:
        root: Folder or URI of the run.

    Raises:
        DataError: there is no trained model, or that of the samples is gone.
    """

    def __init__(self, root: str) -> None:
        self.root, self.store = root, Store(root)
        self.lineage: RunLineage = open_lineage(root)
        self.versions = self.lineage.versions
        if "checkpoints" not in self.versions:
            raise DataError(
                f"{root}: the checkpoint that generated its samples is gone. Fix: {run_stage(root, 'pipeline')}."
            )
        self.checkpoint = f"{self.versions['checkpoints'].uri}/files/final"

    @cached_property
    def config(self) -> Config:
        """Settings of the training, with those of the stages in the lineage."""
        tree = read_metadata(self.checkpoint).config.model_dump(mode="json")
        for manifest in self.lineage.manifests.values():
            found = rename_settings(_nested(manifest.sections), source=self.root, warn=lambda _: None)
            for section, values in found.items():
                tree[section].update(values)
        tree["run"]["root"] = self.root
        return Config.model_validate(tree)

    @cached_property
    def sampler(self) -> Sampler:
        """Trained model with the weights and settings of the run's samples."""
        return Sampler.load(self.checkpoint, weights=self.config.sample.weights, sample=self.config.sample)

    @cached_property
    def settings(self) -> SamplingSettings:
        """Settings of the run's samples."""
        return SamplingSettings.from_config(self.config)

    @cached_property
    def prompt_set(self) -> PromptSet:
        """Prompt set of the captions."""
        return configured_prompt_set(self.config)

    @cached_property
    def audit(self) -> Version | None:
        """Newest caption audit of these captions."""
        if "captions" not in self.versions:
            return None
        captions = self.versions["captions"].require_manifest().content_hash
        audits = self.store.finished("audits")
        return next((one for one in audits if one.require_manifest().inputs.get("captions") == captions), None)

    @cached_property
    def audit_measurements(self) -> Version | None:
        """Measurements that the audit reads."""
        content = self.audit and self.audit.require_manifest().inputs.get("audit_measurements")
        return self.store.find_by_content("audit_measurements", content) if content else None

    @cached_property
    def references(self) -> Version | None:
        """Measurements of real images that the evaluation compares with."""
        evaluation = self.versions.get(EVALUATION)
        fingerprint = evaluation and evaluation.require_manifest().notes.get("references")
        found = self.store.version("reference_measurements", fingerprint) if fingerprint else None
        return found if found and found.manifest() else None

    def rows(self, table: str, **wanted: str | Collection[str]) -> list[dict[str, Any]]:
        """Rows of a version of the lineage with one of these values in each of these columns; empty without it."""
        return rows_with(self.versions.get(table), **wanted)


def rows_with(version: Version | None, **wanted: str | Collection[str]) -> list[dict[str, Any]]:
    """Rows of a finished version with one of these values in each of these columns, rejects included.

    Only the named columns of every part are read, and the parts that hold such rows.
    """
    if version is None:
        return []
    values = {name: pa.array([one] if isinstance(one, str) else list(one), pa.string()) for name, one in wanted.items()}
    found = []
    for name in version.part_names():
        if _select(version.read_part(name, [*wanted]), values).num_rows:
            found += _select(version.read_part(name), values).to_pylist()
    return found


def _select(part: pa.Table, wanted: Mapping[str, pa.Array]) -> pa.Table:
    for column, values in wanted.items():
        part = part.filter(pc.is_in(part[column], values))
    return part


def _nested(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Nest settings by dotted key, ``SECTION`` or ``SECTION.NAME``."""
    tree: dict[str, Any] = {}
    for key, value in sections.items():
        section, _, name = key.partition(".")
        tree.setdefault(section, {}).update({name: value} if name else value)
    return tree
