"""Versions behind a published report, found by content hash from the evaluation upwards."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vapray.config.dotted import leaves
from vapray.config.renamed_keys import rename_dotted
from vapray.errors import DataError
from vapray.evaluation.metrics import Metrics
from vapray.store.run_store import Store
from vapray.store.tables import TABLES
from vapray.store.version import Manifest, Version

__all__ = [
    "DATASET", "EVALUATION", "REPORT", "FinishedRun", "RunLineage", "finished_versions", "open_lineage", "open_run",
    "same_images",
]  # fmt: skip

REPORT = "report/metrics.json"
EVALUATION = "measurements"
LAST_TABLES = ("samples", "checkpoints")
"""Tables from whose newest version a lineage starts without an evaluation; the first one that is finished."""
DATASET = "ingest dataset"
WITHOUT_ROWS = ("autoencoder", "audits", "checkpoints")
"""Tables whose versions hold files and no rows."""


@dataclass(frozen=True)
class RunLineage:
    """One version with all versions that it depends on."""

    root: str
    manifests: Mapping[str, Manifest]
    """Manifests by stage, in the order in which they finished."""
    versions: Mapping[str, Version]
    """Versions by table."""

    @property
    def class_names(self) -> list[str]:
        """Class names, by label."""
        return list(self.manifests["ingest"].notes["class_names"])

    @property
    def settings(self) -> dict[str, Any]:
        """All config values that decided a result, by dotted key."""
        sections = {key: value for one in self.manifests.values() for key, value in one.sections.items()}
        found = {leaf: value for key, section in sections.items() for leaf, value in leaves(key, section)}
        return rename_dotted(found, source=self.root, warn=lambda _: None)

    @property
    def outside(self) -> dict[str, str]:
        """Hashes of the external inputs, such as the dataset, by stage and name."""
        tables = self.versions.keys()
        return {
            f"{stage} {name}": value
            for stage, manifest in self.manifests.items()
            for name, value in manifest.inputs.items()
            if name not in tables
        }


@dataclass(frozen=True)
class FinishedRun(RunLineage):
    """One evaluation with all versions that it depends on."""

    metrics: Metrics


def open_run(root: str) -> FinishedRun:
    """Open the evaluation whose report is published at ``root``, or the newest one if the report matches none.

    Raises:
        DataError: there is no finished evaluation, or its images or samples are gone.
    """
    store = Store(root)
    sealed = list(finished_versions(store))
    evaluation = _published_evaluation(store, sealed)
    if evaluation is None:
        raise DataError(
            f"{root}: no finished evaluation to compare. Fix: run `vapray run pipeline run.root={root}` "
            "with the settings of that run, or give another folder."
        )
    return FinishedRun(root, *_lineage(evaluation, sealed), _read_metrics(evaluation[0]))


def open_lineage(root: str) -> RunLineage:
    """Open the evaluation as :func:`open_run` does; without one, the newest samples, else the newest checkpoint.

    Raises:
        DataError: there is no trained model, or images or samples of the evaluation are gone.
    """
    store = Store(root)
    sealed = list(finished_versions(store))
    last = _published_evaluation(store, sealed) or next(
        (max(found, key=_finished) for table in LAST_TABLES if (found := _of_table(sealed, table))), None
    )
    if last is None:
        raise DataError(
            f"{root}: no trained model, so the run is not finished. Fix: run `vapray run pipeline run.root={root}` "
            "with the settings of that run, or give the run.root of another."
        )
    return RunLineage(root, *_lineage(last, sealed))


def same_images(first: FinishedRun, second: FinishedRun) -> bool:
    """Check that both runs read the same images with the same labels and splits, from any location."""
    columns = ["image_id", "label", "split", "sha256"]
    ours, theirs = (run.versions["images"].read(columns) for run in (first, second))
    return bool(ours.equals(theirs))


def finished_versions(store: Store) -> Iterator[tuple[Version, Manifest]]:
    """Yield every finished version; skips those with a damaged manifest."""
    for table in (*TABLES, *WITHOUT_ROWS):
        for version in store.finished(table):
            yield version, version.require_manifest()


Sealed = tuple[Version, Manifest]


def _finished(found: Sealed) -> float:
    return found[1].finished


def _of_table(sealed: Iterable[Sealed], table: str) -> list[Sealed]:
    return [found for found in sealed if found[0].table == table]


def _published_evaluation(store: Store, sealed: Iterable[Sealed]) -> Sealed | None:
    """Evaluation whose report is published, or the newest one."""
    evaluations = _of_table(sealed, EVALUATION)
    published = store.files.read(REPORT)
    newest = max(evaluations, key=_finished, default=None)
    return next((found for found in evaluations if _metrics_file(found[0]) == published), newest)


def _lineage(last: Sealed, sealed: Iterable[Sealed]) -> tuple[dict[str, Manifest], dict[str, Version]]:
    """Manifests by stage and versions by table of a version and its ancestors, in the order in which they finished."""
    chain = sorted(_ancestors(last, {found[1].content_hash: found for found in sealed}), key=_finished)
    return {manifest.stage: manifest for _, manifest in chain}, {version.table: version for version, _ in chain}


def _metrics_file(evaluation: Version) -> bytes | None:
    return evaluation.files.read(f"{evaluation.folder}/files/{REPORT}")


def _read_metrics(evaluation: Version) -> Metrics:
    return Metrics.from_json(_metrics_file(evaluation) or b"", f"{evaluation.uri}/files/{REPORT}")


def _ancestors(last: Sealed, by_content: Mapping[str, Sealed]) -> list[Sealed]:
    chain, waiting = {last[0].folder: last}, [last]
    while waiting:
        _, manifest = waiting.pop()
        for content in manifest.inputs.values():
            found = by_content.get(content)
            if found and found[0].folder not in chain:
                chain[found[0].folder] = found
                waiting.append(found)
    _require_complete(chain.values(), last[0])
    return list(chain.values())


def _require_complete(chain: Iterable[Sealed], last: Version) -> None:
    needed, use = ({"images", "samples"}, "measured") if last.table == EVALUATION else ({"images"}, "was made from")
    missing = needed - {version.table for version, _ in chain}
    if missing:
        raise DataError(
            f"{last.uri}: the {' and '.join(sorted(missing))} that it {use} are gone. "
            "Fix: run the pipeline again with the settings of that run."
        )
