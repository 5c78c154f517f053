"""The lineage of subjects in a finished run of the pipeline."""

from pathlib import Path

from vapray.compare.subject_lineage import find_subject
from vapray.store.run_store import Store

MODELS = {"autoencoder", "checkpoints"}


def test_a_training_lesion_is_in_all_tables_and_models(small_run: Path) -> None:
    rows = Store(str(small_run)).finished("images")[0].read(["image_id", "split", "subject"]).to_pylist()
    subject = next(row["subject"] for row in rows if row["split"] == "train")
    count = sum(row["subject"] == subject for row in rows)
    lineage = find_subject(str(small_run), subject)
    found = {one.version.table: one for one in lineage.dependents}
    assert lineage.unclear == () and [*lineage.images.values()] == [count] and len(lineage.files) == count
    tables = ("ingest_plan", "images", "captions", "prompt_bank", "latents")
    assert {name: found[name].rows for name in tables} == dict.fromkeys(tables, count) | {"latents": 2 * count}
    assert {name: found[name].trained for name in MODELS} == dict.fromkeys(MODELS, count)
    assert found["checkpoints"].version.folder in found["samples"].made_with
    assert found["samples"].version.folder in found["measurements"].made_with


def test_a_held_out_image_is_in_no_model(small_run: Path) -> None:
    rows = Store(str(small_run)).finished("images")[0].read(["image_id", "split"]).to_pylist()
    held_out = next(row["image_id"] for row in rows if row["split"] == "test")
    lineage = find_subject(str(small_run), held_out)
    tables = {one.version.table for one in lineage.dependents}
    assert tables >= {"ingest_plan", "images", "captions", "prompt_bank", "latents", "reference_measurements"}
    assert not tables & (MODELS | {"samples"}) and lineage.unclear == ()
