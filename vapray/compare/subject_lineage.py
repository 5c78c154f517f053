"""Tables, models and samples of a run that rest on a subject, for a withdrawn consent.

A version rests on a subject if it has rows of its images, if it was trained on them, or if it was made with a model or
with samples that rest on it. The manifests' inputs lead from each version to the version of ``images`` whose ids its
rows hold. A work list has the fingerprint of the version that it was made for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vapray.compare.lineage import WITHOUT_ROWS, finished_versions
from vapray.data.origins import subject_spellings
from vapray.errors import DataError
from vapray.store.run_store import Store
from vapray.store.tables import TABLES
from vapray.store.version import Manifest, Version

__all__ = ["Dependent", "SubjectLineage", "find_subject"]

MEASURED = ("image", "reconstructed", "planted")
"""Prefixes of the keys of real images in tables of the evaluation."""
ID_COLUMNS = ("image_id", "source_image_id", "key", "pixel_neighbour", "feature_neighbour")
"""Columns that hold the id of an image, or the key of its measurement."""
GONE = ""
"""Stands for a version that is no longer in the run."""
SHOWN = ("samples", "audit_measurements")
"""Tables whose rows of the subject reach what is made with them: reports, pages and classifiers."""
TRAINED_ON = {"autoencoder": ("images",), "checkpoints": ("prompt_bank", "latents"), "downstream": ("images",)}
"""Tables of models, and the inputs whose common images of the train split they were trained on."""


LIMITS = (
    "Not searched: the pages in report/ and audit/ of the run, which show images; other runs, also those that draw",
    "captions from this one; caches of interrupted training in the temporary folders of the nodes; exports, served",
    "images, experiment records, trackers, backups and other copies.",
)


@dataclass(frozen=True)
class Dependent:
    """Version that rests on the subject.

    Attributes:
        version: the version.
        rows: number of its rows that are of the subject, or captioned by its images.
        trained: number of images of the subject that it was trained on.
        made_with: versions that rest on the subject and that it was made with, as TABLE/FINGERPRINT.
        is_finished: False for a work list, and for a version of an interrupted stage.
    """

    version: Version
    rows: int = 0
    trained: int = 0
    made_with: tuple[str, ...] = ()
    is_finished: bool = True

    @property
    def reasons(self) -> str:
        """Reasons in one text."""
        found = [f"{self.rows:,} rows of the subject"] if self.rows else []
        found += [f"trained on {self.trained:,} images of the subject"] if self.trained else []
        found += [f"made with {name}" for name in self.made_with]
        return "; ".join(found if self.is_finished else [*found, "unfinished, or a work list"])


@dataclass(frozen=True)
class SubjectLineage:
    """Result of :func:`find_subject`.

    Attributes:
        images: number of images of the subject, by version of ``images``.
        dependents: versions that rest on the subject, by table.
        unclear: versions that may rest on it: unfinished models, damaged files, inputs that are no longer in the run.
        files: files of the dataset that hold the images.
    """

    images: Mapping[str, int]
    dependents: tuple[Dependent, ...]
    unclear: tuple[Version, ...]
    files: tuple[str, ...]

    def lines(self) -> list[str]:
        """Format as text: images, versions, files, and the limits of the search."""
        found = [f"{folder}: {count:,} images of the subject" for folder, count in self.images.items() if count]
        width = max((len(one.version.folder) for one in self.dependents), default=0)
        found += ["", "These rest on the subject:"]
        found += [f"  {one.version.folder.ljust(width)}  {one.reasons}" for one in self.dependents]
        if self.unclear:
            found += ["", "These may rest on the subject (unfinished, damaged, or made with versions that are gone):"]
            found += [f"  {version.folder}" for version in self.unclear]
        found += ["", f"Files of the dataset with its images: {len(self.files):,}"]
        found += [f"  {file}" for file in self.files]
        return [*found, "", *LIMITS]


def find_subject(root: str, subject: str) -> SubjectLineage:
    """Find what rests on a subject; reads only.

    Args:
        root: folder or URI of the run.
        subject: patient or lesion, as in the dataset or as in the table ``images``; an image id where none is known.

    Raises:
        DataError: no version of ``images`` in the run, or none with the subject.
    """
    run = _Run(Store(root), subject)
    if not run.images:
        raise DataError(f"{root}: no finished version of images. Fix: give the run.root of a run.")
    if not any(run.ids.values()):
        raise DataError(
            f"{root}: no version of images has the subject {subject}. Fix: give its name as in the dataset, or as "
            "in the column subject or group of images; an image without a subject is found by its id."
        )
    dependents, unclear = run.search()
    return SubjectLineage(
        run.images,
        tuple(dependents),
        tuple(unclear),
        tuple(sorted(run.files)),
    )


class _Run:
    def __init__(self, store: Store, subject: str) -> None:
        self._store, self._names = store, pa.array(subject_spellings(subject), pa.string())
        self._found: dict[str, tuple[Version, Manifest]] = {}
        self._finished: dict[tuple[str, str], str] = {}
        self._owners: dict[str, str] = {}  # by fingerprint, which a work list shares with the version it was made for
        self.ids: dict[str, frozenset[str]] = {}
        self.images: dict[str, int] = {}
        self.files: set[str] = set()
        for version, manifest in finished_versions(store):
            content = manifest.content_hash
            self._found[content] = version, manifest
            self._finished[version.table, version.fingerprint] = self._owners[version.fingerprint] = content
            if version.table == "images":  # several versions with one content differ in origins only
                ids = self._ids_of(version)
                self.ids[content] = self.ids.get(content, frozenset()) | ids
                self.images[version.folder] = len(ids)
        self._roots: dict[str, frozenset[str]] = {}
        self._derived: dict[str, bool] = {}

    def _ids_of(self, images: Version) -> frozenset[str]:
        """Ids of the subject's images; of rejected ones, too, which only the work list of ingest describes."""
        found: set[str] = set()
        for version in (images, self._store.version("ingest_plan", images.fingerprint)):
            rows = version.read(["image_id", "group", "subject", "path"])
            named = [pc.is_in(rows[column], self._names) for column in ("subject", "group")]
            rows = rows.filter(pc.or_(*named))
            found.update(rows["image_id"].to_pylist())
            self.files.update(rows["path"].to_pylist())
        return frozenset(found)

    def search(self) -> tuple[list[Dependent], list[Version]]:
        """List the versions that rest on the subject, and those that may, in the order of the tables."""
        dependents, unclear = [], []
        for version in (one for table in (*TABLES, *WITHOUT_ROWS) for one in self._store.versions(table)):
            content = self._finished.get((version.table, version.fingerprint))
            try:
                found = self._finished_one(version, content) if content else self._unfinished_one(version)
            except DataError:
                unclear.append(version)
                continue
            if found.rows or found.trained or found.made_with:
                dependents.append(found)
            elif (GONE in self._roots_of(content)) if content else version.table in WITHOUT_ROWS:
                unclear.append(version)
        return dependents, unclear

    def _finished_one(self, version: Version, content: str) -> Dependent:
        rows = self._count(version, self._ids_below(content))
        return Dependent(version, rows, self._trained(content), self._made_with(self._found[content][1]))

    def _unfinished_one(self, version: Version) -> Dependent:
        owner = self._owners.get(version.fingerprint)
        ids = self._ids_below(owner) if owner else frozenset(one for ids in self.ids.values() for one in ids)
        return Dependent(version, self._count(version, ids), is_finished=False)

    def _roots_of(self, content: str) -> frozenset[str]:
        """Content hashes of the versions of images below a version; ``GONE`` for an input that is not in the run."""
        if content not in self._roots:
            inputs = self._found[content][1].inputs
            below = [made for name, made in inputs.items() if name in TABLES or name in WITHOUT_ROWS]
            own = {content} if content in self.ids else set()
            roots = (self._roots_of(made) if made in self._found else {GONE} for made in below)
            self._roots[content] = frozenset(own).union(*roots)
        return self._roots[content]

    def _ids_below(self, content: str) -> frozenset[str]:
        return frozenset(one for root in self._roots_of(content) for one in self.ids.get(root, ()))

    def _count(self, version: Version, ids: frozenset[str]) -> int:
        """Count the rows and rejects that name one of the images; a mirror image in ``latents`` is a row of its own."""
        columns = [name for name in ID_COLUMNS if version.table in TABLES and name in version.table_spec.schema.names]
        if not ids or not columns:
            return 0
        rows = (row for part in version.read_parts(columns, rejects=True) for row in part.select(columns).to_pylist())
        return sum(not ids.isdisjoint(_images_of(version.table, row)) for row in rows)

    def _trained(self, content: str) -> int:
        version, manifest = self._found[content]
        ids = self._ids_below(content)
        for table in TRAINED_ON.get(version.table, ()):
            source = self._found.get(manifest.inputs.get(table, ""))
            ids &= _training_ids(source[0]) if ids and source else frozenset()
        return len(ids) if version.table in TRAINED_ON else 0

    def _made_with(self, manifest: Manifest) -> tuple[str, ...]:
        below = [content for content in manifest.inputs.values() if content in self._found]
        return tuple(self._found[content][0].folder for content in below if self._is_derived(content))

    def _is_derived(self, content: str) -> bool:
        """Return True for a model or samples that rest on the subject, and for all that is made with such."""
        if content not in self._derived:
            version, manifest = self._found[content]
            has_rows = version.table in SHOWN and self._count(version, self._ids_below(content)) > 0
            self._derived[content] = has_rows or self._trained(content) > 0 or bool(self._made_with(manifest))
        return self._derived[content]


def _training_ids(version: Version) -> frozenset[str]:
    rows = version.read(["image_id", "split"])
    return frozenset(rows.filter(pc.equal(rows["split"], "train"))["image_id"].to_pylist())


def _images_of(table: str, row: Mapping[str, str | None]) -> Iterator[str]:
    """Ids of the images that a row names, directly or by the key of a latent or of a measurement."""
    for column, value in row.items():
        prefix, _, name = (value or "").partition("/")
        if value and column.endswith("image_id"):
            yield value
        elif value and table == "latents":
            yield value.rpartition("/")[0]
        elif prefix in MEASURED:
            yield name.rpartition("/")[0] if prefix == "planted" else name
