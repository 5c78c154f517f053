"""The versions that a published report stands for, found by content from the evaluation upwards."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vapray.config.dotted import leaves
from vapray.errors import DataError
from vapray.evaluation.metrics import Metrics
from vapray.store import Manifest, Store, Version
from vapray.tables import TABLES

__all__ = ["DATASET", "REPORT", "FinishedRun", "open_run", "same_pictures"]

REPORT = "report/metrics.json"
EVALUATION = "measurements"
DATASET = "ingest dataset"
WITHOUT_ROWS = ("autoencoder", "checkpoints")
"""Versions that hold files and no table."""


@dataclass(frozen=True)
class FinishedRun:
    """One evaluation and everything it came from."""

    root: str
    metrics: Metrics
    manifests: Mapping[str, Manifest]
    """By stage, in the order in which they finished."""
    versions: Mapping[str, Version]
    """By table."""

    @property
    def class_names(self) -> list[str]:
        """In label order."""
        return list(self.manifests["ingest"].notes["class_names"])

    @property
    def settings(self) -> dict[str, Any]:
        """Dotted key -> value of every config value that decided a result."""
        sections = {key: value for one in self.manifests.values() for key, value in one.sections.items()}
        return {leaf: value for key, section in sections.items() for leaf, value in leaves(key, section)}

    @property
    def outside(self) -> dict[str, str]:
        """What was read besides config and tables, such as the dataset, by its signature."""
        tables = self.versions.keys()
        return {
            f"{stage} {name}": value
            for stage, manifest in self.manifests.items()
            for name, value in manifest.inputs.items()
            if name not in tables
        }


def open_run(root: str) -> FinishedRun:
    """The evaluation whose report is published at ``root``; the newest one, where that cannot be told.

    Raises:
        DataError: no finished evaluation, or a version that it came from is gone.
    """
    store = Store(root)
    sealed = list(_sealed(store))
    evaluations = [(version, manifest) for version, manifest in sealed if version.table == EVALUATION]
    if not evaluations:
        raise DataError(
            f"{root}: no finished evaluation, so there is nothing to compare. Run it with "
            f"`vapray run pipeline run.root={root}` and the settings of that run, or give another folder."
        )
    published = store.files.read(REPORT)
    newest = max(evaluations, key=lambda found: found[1].finished)
    evaluation = next((found for found in evaluations if _metrics_file(found[0]) == published), newest)
    chain = _ancestors(evaluation, {manifest.content_hash: (version, manifest) for version, manifest in sealed})
    chain.sort(key=lambda found: found[1].finished)
    return FinishedRun(
        root,
        _read_metrics(evaluation[0]),
        {manifest.stage: manifest for _, manifest in chain},
        {version.table: version for version, _ in chain},
    )


def same_pictures(first: FinishedRun, second: FinishedRun) -> bool:
    """Whether both runs read the same pictures with the same labels and splits, wherever these lie."""
    columns = ["image_id", "label", "split", "sha256"]
    ours, theirs = (run.versions["images"].read(columns) for run in (first, second))
    return bool(ours.equals(theirs))


def _sealed(store: Store) -> Iterator[tuple[Version, Manifest]]:
    """Every finished version; one whose manifest is damaged is as good as gone, and matters to its descendants only."""
    for table in (*TABLES, *WITHOUT_ROWS):
        for name in store.files.names(table):
            version, manifest = store.version(table, name), None
            with contextlib.suppress(DataError):
                manifest = version.manifest()
            if manifest:
                yield version, manifest


def _metrics_file(evaluation: Version) -> bytes | None:
    return evaluation.files.read(f"{evaluation.folder}/files/{REPORT}")


def _read_metrics(evaluation: Version) -> Metrics:
    return Metrics.from_json(_metrics_file(evaluation) or b"", f"{evaluation.uri}/files/{REPORT}")


def _ancestors(
    evaluation: tuple[Version, Manifest], by_content: Mapping[str, tuple[Version, Manifest]]
) -> list[tuple[Version, Manifest]]:
    chain, waiting = {evaluation[0].folder: evaluation}, [evaluation]
    while waiting:
        _, manifest = waiting.pop()
        for content in manifest.inputs.values():
            found = by_content.get(content)
            if found and found[0].folder not in chain:
                chain[found[0].folder] = found
                waiting.append(found)
    _require_complete(chain.values(), evaluation[0])
    return list(chain.values())


def _require_complete(chain: Iterable[tuple[Version, Manifest]], evaluation: Version) -> None:
    missing = {"images", "samples"} - {version.table for version, _ in chain}
    if missing:
        raise DataError(
            f"{evaluation.uri}: the {' and '.join(sorted(missing))} that it measured are gone. "
            "Run the pipeline again with the settings of that run."
        )
