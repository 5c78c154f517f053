"""Stage ingest: dataset folder to table ``images``.

in    files of the dataset, read by the adapter of ``data.source``
out   image_id, label, split, group, class, path, text (the dataset's own caption), licence, source, subject, metadata,
      sha256, width, height
1:1.  Every image is decoded completely once; an undecodable image is a reject with the decoder's reason.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pyarrow as pa

from vapray.config import modality_name
from vapray.data.dataset import draw_phantoms, open_dataset
from vapray.data.decode import decode
from vapray.data.image_loading import read_bytes
from vapray.data.inventory import describe_identical, identical_images, take_inventory
from vapray.data.origins import OriginSummary, apply_settings, content_hash_of_same_images, metadata_cell
from vapray.data.records import ImageRecord
from vapray.errors import DataError, ImageDecodeError
from vapray.runtime.row_map import map_rows, write_work_list
from vapray.runtime.stage_context import StageContext
from vapray.store.tables import ORIGIN_COLUMNS, TABLES, build_part

__all__ = ["run"]


def run(run: StageContext) -> None:
    """Run the stage."""
    if run.config.data.source == "phantom":
        data = run.config.data
        run.progress.log(f"drawing {data.phantom.n_images:,} phantoms ({modality_name(data.modality)})")
        draw_phantoms(run.config)
    source = open_dataset(run.config)
    records = apply_settings(source.records(), run.config.data)
    check_class_names(source.class_names)
    planned = write_work_list(run, "ingest_plan", _to_table(records))
    inventory = take_inventory(source, records)
    warnings = [f"{found} {advice}" for found, advice in inventory.warnings.items()]
    run.notes["dataset"] = [*source.notes(), *warnings]
    for line in (*inventory.lines(), *run.notes["dataset"]):
        run.progress.log(line)
    run.notes["class_names"] = list(source.class_names)
    check = partial(_CheckImages, run.config.data.accept_identified_dicom)
    map_rows(run, planned, check, pool=run.config.pools.ingest, columns=planned.table_spec.schema.names)
    origins = OriginSummary.of_table(run.output.read(["split", *ORIGIN_COLUMNS]))
    run.notes["origins"] = origins.to_record()
    for line in origins.lines():
        run.progress.log(line)
    if kept := content_hash_of_same_images(run.output, run.config.run.root, source.class_names):
        run.progress.log("only licences, sources, subjects or metadata changed: later stages are kept")
        run.notes["content_hash"] = kept
    identical = identical_images(run.output.read(["sha256", "split", "class"]))
    run.notes["inventory"] = replace(inventory, identical=identical).to_dict()
    for line in describe_identical(identical):
        run.progress.log(line)
        run.notes["dataset"].append(line)


def _to_table(records: Sequence[ImageRecord]) -> pa.Table:
    columns = ["image_id", "label", "split", "group", "class_name", "path", "text", "licence", "source", "subject"]
    rows = pa.table({name: [getattr(record, name) for record in records] for name in columns})
    cells = pa.array([metadata_cell(record.metadata) for record in records], pa.string())
    return rows.rename_columns({"class_name": "class"}).append_column("metadata", cells)


def check_class_names(names: Sequence[str]) -> None:
    """Refuse class names that cannot be folder names, since samples are written by class.

    Raises:
        DataError: the message lists the first five.
    """
    bad = [name for name in names if not name.isprintable() or name.startswith(".") or set(name) & set("/\\")]
    if bad:
        raise DataError(
            f"class names {bad[:5]}: expected names without '/', '\\', a leading dot or control characters."
        )


class _CheckImages:
    def __init__(self, accept_identified: bool) -> None:
        self._accept_identified = accept_identified

    def __call__(self, rows: pa.Table) -> pa.Table:
        good, rejects = [], {}
        for row in rows.to_pylist():
            try:
                good.append(row | self._facts(read_bytes(row["path"])))
            except ImageDecodeError as error:
                rejects[row["image_id"]] = str(error)
        return build_part(TABLES["images"], good, rejects)

    def _facts(self, data: bytes) -> dict[str, object]:
        height, width, _ = decode(data, accept_identified=self._accept_identified).shape
        return {"sha256": hashlib.sha256(data).hexdigest(), "width": width, "height": height}
