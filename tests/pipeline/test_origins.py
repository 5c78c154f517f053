"""Licences and sources on their way from ``images`` to checkpoints; settings of origins keep later stages."""

import json
import shutil
from pathlib import Path

from tests.conftest import ONE_ACTOR
from tests.pipeline.test_dry_run import prospects
from vapray.export.export_source import open_checkpoint
from vapray.store.run_store import Store


def test_the_checkpoint_counts_the_training_images(small_run: Path, small_checkpoint: Path) -> None:
    (images,) = Store(str(small_run)).finished("images")
    rows = images.read(["split", "subject"]).to_pylist()
    train = [row["subject"] for row in rows if row["split"] == "train"]
    wanted = {"licences": {"CC0-1.0": len(train)}, "sources": {"vapray phantoms": len(train)}}
    wanted["subjects"] = len(set(train))
    assert images.require_manifest().notes["origins"] == wanted
    assert json.loads((small_checkpoint / "checkpoint.json").read_text())["origins"] == wanted


def test_other_origins_run_ingest_alone(small_run: Path, joined_job, tmp_path: Path) -> None:
    root = Path(shutil.copytree(small_run, tmp_path / "run"))
    setting = "data.licence=MIT"
    assert prospects(root, *ONE_ACTOR, setting)["ingest"].state == "would run"
    done = joined_job("ingest", setting, root=root)
    assert done.returncode == 0 and "later stages are kept" in done.stdout, done.stdout
    assert {plan.state for plan in prospects(root, *ONE_ACTOR, setting).values()} == {"unchanged"}
    old, new = (store_images(root)[position] for position in (1, 0))
    new.files.write(f"{new.folder}/manifest.json", other_source(new.files.read(f"{new.folder}/manifest.json")))
    final = next((root / "checkpoints").glob("*/files/final"))
    assert open_checkpoint(str(final)).origins.source_names == "ward 7", "as ingested last"
    assert old.require_manifest().content_hash == new.require_manifest().content_hash


def store_images(root: Path) -> list:
    return Store(str(root)).finished("images")


def other_source(manifest: bytes) -> bytes:
    card = json.loads(manifest)
    card["notes"]["origins"]["sources"] = {"ward 7": 9}
    del card["digest"]
    return json.dumps(card).encode()
