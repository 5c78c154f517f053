"""One measurement of ``tests.benchmarks.flat_cost`` in a process of its own, by vapray of any commit.

    PYTHONPATH=CHECKOUT python flat_cost_process.py WORK ARGUMENTS...

It imports vapray alone, prints one JSON line, and is no part of a test.
"""

import hashlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

ROWS_OF_A_PART, ROWS_OF_AN_ITEM = 512, 256
WIDTH, CLASSES = 64, 4
MODALITY = ("data.source=phantom", "data.modality=chest_xray", "caption.captioner=ground_truth")
COLUMNS = ["image_id", "label", "split", "group"]


def caption(rows: pa.Table) -> pa.Table:
    """Captions that cost nothing."""
    from vapray.store.tables import REJECT, TABLES

    schema = TABLES["captions"].schema
    columns = {name: rows.column(name).combine_chunks() for name in COLUMNS}
    columns |= {"caption": columns["image_id"], REJECT: pa.nulls(rows.num_rows, pa.string())}
    arrays = [columns.get(field.name, pa.nulls(rows.num_rows, field.type)) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def build() -> Any:
    """For an actor."""
    return caption


def images(begin: int, end: int) -> pa.Table:
    """Rows of ``images``."""
    from vapray.store.tables import TABLES

    schema, count = TABLES["images"].schema, end - begin
    ids = pa.array([f"{number:012d}" for number in range(begin, end)])
    known = {"image_id": ids, "label": pa.array([0] * count, pa.int32()), "split": pa.array(["train"] * count)}
    known |= {"group": ids, "path": ids}
    return pa.Table.from_arrays([known.get(field.name, pa.nulls(count, field.type)) for field in schema], schema=schema)


def version(folder: str, table: str, name: str) -> Any:
    """A version in a folder."""
    import vapray.store.version as store

    if hasattr(store, "Store"):  # an earlier commit
        return store.Store(folder).version(table, name)
    from vapray.store.run_store import Store

    return Store(folder).version(table, name)


def seal(of: Any, stage: str) -> None:
    """Seal a version."""
    of.seal(stage=stage, sections={}, inputs={}, seconds=1.0, versions={}, notes={})


def write(folder: str, rows: int) -> None:
    """Write a source."""
    source = version(folder, "images", f"v{rows}")
    for begin in range(0, rows, ROWS_OF_A_PART):
        source.write_part(images(begin, min(rows, begin + ROWS_OF_A_PART)))
    seal(source, "ingest")


def map_all(folder: str, rows: int, output: str) -> dict[str, Any]:
    """Map a source with Ray, seal, and give the driver's memory."""
    from vapray.config import Cluster, Config, Pool
    from vapray.runtime.cluster import ray_session
    from vapray.runtime.progress import StageProgress
    from vapray.runtime.row_map import map_rows
    from vapray.runtime.stage_context import StageContext

    target = version(folder, "captions", output)
    with ray_session(Cluster(num_cpus=2)):
        run = StageContext("caption", Config(), {}, target, StageProgress("caption", None), time.monotonic(), {})
        pool = Pool(batch_rows=ROWS_OF_AN_ITEM, max_size=2, min_size=2)
        began = time.monotonic()
        map_rows(run, version(folder, "images", f"v{rows}"), build, pool=pool, columns=COLUMNS)
        seal(target, "caption")
        seconds = time.monotonic() - began
    assert target.require_manifest().rows == rows
    return {"seconds": seconds, "imports_torch": "torch" in sys.modules}


def resume(folder: str, rows: int, output: str) -> dict[str, Any]:
    """Start a stage of which all but the last item is done: from its lease to its first work item."""
    source, target = version(folder, "images", f"v{rows}"), version(folder, "captions", output)
    began = time.monotonic()
    if hasattr(target, "adopt_parts"):
        from vapray.runtime.work_plan import WorkPlan

        target.adopt_parts(print)
        plan, _ = WorkPlan.of(source, target.receipts.spans, ROWS_OF_AN_ITEM, None)
        first: Any = next(plan.stretches(1))
        left = plan.rows
    else:
        from vapray.runtime.row_map import _plan  # type: ignore[attr-defined]

        target.remove_damaged(print)
        items, _ = _plan(source, target.committed_keys(), "{}", ROWS_OF_AN_ITEM, None)
        first, left = items[0], sum(len(item.rows) for item in items)
    assert first
    assert left == ROWS_OF_AN_ITEM, left
    return {"seconds": time.monotonic() - began}


def instantly(folder: str, rows: int, output: str) -> dict[str, Any]:
    """Plan, hand out, log and seal with an engine that answers at once and parts that nobody wrote."""
    from vapray.runtime.work_plan import WorkPlan, work_items
    from vapray.store.manifest import Manifest, Part
    from vapray.store.part_list import PartList
    from vapray.store.receipts import Receipt

    def part(kind: str, number: int, count: int) -> Part:
        digest = hashlib.sha256(f"{kind} {number}".encode()).hexdigest()
        return Part(f"{digest[:24]}.parquet", digest, 1000, count, 0)

    source, target = version(folder, "images", output), version(folder, "captions", output)
    parts = PartList.of(part("source", number, ROWS_OF_A_PART) for number in range(rows // ROWS_OF_A_PART))
    source._sealed = Manifest("ingest", "f", {}, {}, parts, rows, 0, 1.0, 1.0)
    committed, began = 0, time.process_time()

    def entries() -> Iterator[tuple[str, int]]:
        return ((part("output", number, 0).name, 1000) for number in range(committed))

    target._parts.entries = entries
    target.adopt_parts(print)
    plan, _ = WorkPlan.of(source, target.receipts.spans, ROWS_OF_AN_ITEM, None)
    for stretch in plan.stretches(8):
        for item in work_items(stretch):
            target.receipts.add([Receipt(part("output", committed, item.span.asked), item.span)])
            committed += 1
    del plan
    seal(target, "caption")
    assert target.require_manifest().rows == rows
    return {"seconds": time.process_time() - began}


def measured(prefix: str, name: str, ids: pa.Array, labels: pa.Array, seed: int) -> pa.Table:
    """Rows of ``reference_measurements`` with drawn features."""
    import numpy as np

    from vapray.store.tables import TABLES

    rng, schema, count = np.random.default_rng(seed), TABLES["reference_measurements"].schema, len(ids)
    drawn = {"features": rng.standard_normal((count, WIDTH), np.float32)}
    drawn["probabilities"] = rng.dirichlet(np.ones(CLASSES), count).astype(np.float32)
    known = {key: pa.array([row.tobytes() for row in values]) for key, values in drawn.items()}
    known |= {"key": pa.compute.binary_join_element_wise(prefix, ids, "/"), "set": pa.array([name] * count)}
    known["label"] = labels
    columns = [known.get(field.name, pa.nulls(count, field.type)).cast(field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def write_measured(folder: str, rows: int) -> None:
    """Write images of two splits, a quarter of them held out, and their measurements."""
    from vapray.store.receipts import Span
    from vapray.store.tables import TABLES

    source, target = version(folder, "images", f"e{rows}"), version(folder, "reference_measurements", f"e{rows}")
    schema, size = TABLES["images"].schema, 8192
    for begin in range(0, rows, size):
        count = min(size, rows - begin)
        ids = pa.array([f"{number:012d}" for number in range(begin, begin + count)])
        labels = pa.array([number % CLASSES for number in range(count)], pa.int32())
        split = "test" if begin // size % 4 == 3 else "train"
        known = {"image_id": ids, "label": labels, "split": pa.array([split] * count), "group": ids}
        columns = [known.get(field.name, pa.nulls(count, field.type)) for field in schema]
        source.write_part(pa.Table.from_arrays(columns, schema=schema), Span("images", begin, begin + count, count))
        sets = (
            [("image", "reference")]
            if split == "train"
            else [("image", "held_out"), ("reconstructed", "reconstructed")]
        )
        for prefix, name in sets:
            part = measured(prefix, name, ids, labels, begin)
            target.write_part(part, Span(name, begin, begin + count, count))
    some = pa.array([f"{number:06d}" for number in range(2000)])
    labels = pa.array([number % CLASSES for number in range(2000)], pa.int32())
    for prefix, name in (("class_mean", "class_mean"), ("sample", "untrained"), ("made", "generated")):
        target.write_part(measured(prefix, name, some, labels, 1), Span(name, 0, 2000, 2000))
    seal(source, "ingest")
    seal(target, "evaluate")


def evaluate(folder: str, rows: int) -> dict[str, Any]:
    """Draw the samples, read their measurements and reduce them to metrics, as the driver of ``evaluate`` does."""
    from vapray.captioning.prompt_set import load_prompt_set
    from vapray.config.loader import load_config
    from vapray.evaluation.extractors.extractor import FeatureSpace
    from vapray.evaluation.image_samples import RealSamples, images_of
    from vapray.evaluation.reference_set import _statistics
    from vapray.evaluation.summary import summarize
    from vapray.memorisation.candidates import ungrouped_held_out

    began = time.monotonic()
    config = load_config(None, [*MODALITY, "evaluate.half_samples=4", "evaluate.bootstrap_samples=20"])
    source, target = version(folder, "images", f"e{rows}"), version(folder, "reference_measurements", f"e{rows}")
    samples = RealSamples.draw(source, config.evaluate.reference_images, config.evaluate.held_out_images)
    ungrouped_held_out(samples.held_out_rows, images_of(source, ["group"], "train"))
    _statistics(target, samples)
    seconds = time.monotonic() - began
    read = samples.measured(target, [name for name in target.table_spec.schema.names if name != "pixels"]).to_pylist()
    space = FeatureSpace("drawn", "0" * 64, WIDTH, 64)
    found = summarize(read, {}, {}, {}, load_prompt_set("chest_xray"), space, config)
    return {"seconds": seconds, "fid": found.scores.fid, "n": [found.n_real, found.n_held_out, found.n_generated]}


def main() -> None:
    """Do one piece of work and print what it took."""
    work, *arguments = sys.argv[1:]
    values = [int(argument) if argument.isdigit() else argument for argument in arguments]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    works: list[Any] = [write, map_all, resume, instantly, write_measured, evaluate]
    found = {one.__name__: one for one in works}[work](*values) or {}
    found["peak_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found["peak_bytes_before"] = 1024 * before
    print(json.dumps(found), flush=True)
    os._exit(0) if work != "map_all" else None


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))  # Ray's actors import this module by its name
    main()
