"""Versions behind a published report, found by content hash from the evaluation upwards."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vapray.config.dotted import leaves
from vapray.config.renamed_keys import rename_dotted
from vapray.errors import DataError
from vapray.evaluation.metrics import Metrics
from vapray.store.tables import TABLES
from vapray.store.version import Manifest, Store, Version

__all__ = ["DATASET", "REPORT", "FinishedRun", "finished_versions", "open_run", "same_images"]

REPORT = "report/metrics.json"
EVALUATION = "measurements"
DATASET = "ingest dataset"
WITHOUT_ROWS = ("autoencoder", "audits", "checkpoints")
"""Tables whose versions hold files and no rows."""


@dataclass(frozen=True)
class FinishedRun:
    """One evaluation with all versions that it depends on."""

    root: str
    metrics: Metrics
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


def open_run(root: str) -> FinishedRun:
    """Open the evaluation whose report is published at ``root``, or the newest one if the report matches none.

    Raises:
        DataError: there is no finished evaluation, or its images or samples are gone.
    """
    store = Store(root)
    sealed = list(finished_versions(store))
    evaluations = [(version, manifest) for version, manifest in sealed if version.table == EVALUATION]
    if not evaluations:
        raise DataError(
            f"{root}: no finished evaluation to compare. Fix: run `vapray run pipeline run.root={root}` "
            "with the settings of that run, or give another folder."
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
            "Fix: run the pipeline again with the settings of that run."
        )
