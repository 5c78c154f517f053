"""Checkpoints and finished runs of version 0.1.0 stay usable.

``run_0_1_0.tar.xz`` is a small run that 0.1.0 wrote: manifests, images and samples tables, report, final checkpoint.
``pixels_0_1_0.npz`` holds the images that 0.1.0 sampled from it. Pixels may differ by 1/255 on another CPU type.
"""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from serve.backend import ImageJob
from serve.deployments.image_decoding import decode_square
from serve.deployments.sampler import SamplerReplica
from serve.settings import ModelSettings
from tests.conftest import ROOT
from tests.export.test_pixels import ask
from vapray.compare.lineage import open_run
from vapray.compare.subject_lineage import find_subject
from vapray.config.loader import load_config
from vapray.config.renamed_keys import EXPERIMENT_KEYS, RENAMED_KEYS, RENAMED_VALUES, SERVICE_KEYS
from vapray.data.origins import OriginSummary, content_hash_of_same_images
from vapray.errors import DataError
from vapray.evaluation.service.real_images import find_real_images
from vapray.export.folder import export_checkpoint
from vapray.pipeline.dry_run import plan_run
from vapray.sampling.generated import SamplingSettings
from vapray.sampling.sampler import Sampler
from vapray.store.run_store import Store
from vapray.store.tables import RENAMED_TABLES, TABLES, build_part

HERE = Path(__file__).parent
TEXT = "a small red round lesion"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("old") / "run"
    with tarfile.open(HERE / "run_0_1_0.tar.xz") as archive:
        archive.extractall(root, filter="data")
    return root


@pytest.fixture(scope="module")
def checkpoint(run) -> Path:
    return next((run / "checkpoints").glob("*/files/final"))


@pytest.fixture(scope="module")
def pixels() -> dict[str, np.ndarray]:
    return dict(np.load(HERE / "pixels_0_1_0.npz"))


def assert_same(made, wanted) -> None:
    assert np.shape(made) == wanted.shape
    assert np.abs(np.asarray(made, dtype=int) - wanted).max() <= 1


def vapray(*words: object) -> str:
    command = [sys.executable, "-c", "from vapray.cli.app import main; main()", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_checkpoint_samples_the_same_pixels(checkpoint, pixels):
    sampler = Sampler.load(str(checkpoint))
    assert_same([made.pixels for made in sampler.generate("NV", seed=9, n=2)], pixels["from_bank"])
    assert_same([made.pixels for made in sampler.generate("BCC", TEXT, seed=2)], pixels["from_text"])


def test_a_checkpoint_is_served_with_the_same_pixels(checkpoint, pixels):
    replica = SamplerReplica(ModelSettings(name="old", checkpoint=str(checkpoint)))
    label = replica._sampler.class_names.index("BCC")
    settings = SamplingSettings.from_config(replica._sampler.config)
    made = asyncio.run(replica.generate(ImageJob("old", label, TEXT, 2, settings)))
    assert_same(decode_square(made.png, 32), pixels["from_text"][0])


def test_a_checkpoint_exports_the_same_pixels(checkpoint, pixels, tmp_path):
    vapray("export", checkpoint, tmp_path / "exported", "--accept-unaudited", "--accept-unknown-licences")
    asked = {
        "bank": (tmp_path / "exported", {}, {"label": "NV", "seed": 9, "n": 2}),
        "text": (tmp_path / "exported", {}, {"label": "BCC", "caption": TEXT, "seed": 2}),
    }
    answers = ask(tmp_path / "elsewhere", asked)
    assert answers.errors == {}
    assert_same(answers.pixels["bank"], pixels["from_bank"])
    assert_same(answers.pixels["text"], pixels["from_text"])


def test_its_licences_are_unknown_until_its_images_are_ingested_again(run, checkpoint, tmp_path):
    (tmp_path / "run").mkdir()
    copied = shutil.copytree(run, tmp_path / "run", dirs_exist_ok=True)
    final = str(copied / checkpoint.relative_to(run))
    with pytest.raises(DataError, match=r"licences of the training images: unknown;.*--accept-unknown-licences"):
        export_checkpoint(final, str(tmp_path / "exported"), accept_unaudited=True)
    store = Store(str(copied))
    (old,) = store.finished("images")
    rows = [row | {"licence": "CC0-1.0", "source": "vapray phantoms"} for row in old.read().to_pylist()]
    again = store.version("images", "again")
    again.write_part(build_part(TABLES["images"], rows))
    names = old.require_manifest().notes["class_names"]
    kept = content_hash_of_same_images(again, store.files.root, names)
    assert kept == old.require_manifest().content_hash
    notes = {"class_names": names, "content_hash": kept, "origins": OriginSummary.of_table(again.read()).to_record()}
    again.seal(stage="ingest", sections={}, inputs={}, seconds=1.0, versions={}, notes=notes)
    exported = export_checkpoint(final, str(tmp_path / "exported"), accept_unaudited=True)
    assert exported.origins[0].startswith("licences of the training images: CC0-1.0 (")


def test_the_config_with_old_names_loads_and_runs_every_stage_once_more(run, checkpoint, tmp_path, capfd):
    """Old names are reported once; fingerprints hold names, so the finished versions stay beside the new ones."""
    settings = json.loads((checkpoint / "checkpoint.json").read_text())["config"]
    settings["run"]["root"], settings["data"]["root"] = str(run), str(tmp_path)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    plans = plan_run(load_config(str(tmp_path / "run.yaml")))
    assert "run.max_bad_fraction was renamed to run.max_reject_fraction" in capfd.readouterr().err
    assert {plan.state for plan in plans} == {"would run"} and len(plans) == 10
    assert all(plan.reasons for plan in plans)


def test_the_page_on_upgrading_lists_every_renamed_setting_and_table():
    page = (ROOT / "docs" / "how-to" / "upgrading.md").read_text()
    values = {
        (f"{key}={old}", f"{key}={str(new).lower()}")
        for key, renamed in RENAMED_VALUES.items()
        for old, new in renamed.items()
    }
    keys = {*RENAMED_KEYS.items(), *EXPERIMENT_KEYS.items(), *SERVICE_KEYS.items()}
    tables = {(old, new) for new, old in RENAMED_TABLES.items()}
    listed = set(re.findall(r"^\| `([^`]+)`[^|]* \| `([^`]+)` \|$", page, re.MULTILINE))
    assert {pair for pair in listed if not pair[0].startswith("vapray ")} == values | keys | tables


def test_its_subjects_are_found_by_their_groups(run):
    rows = Store(str(run)).finished("images")[0].read(["image_id", "group", "split"]).to_pylist()
    group = next(row["group"] for row in rows if row["split"] == "train" and row["group"] != row["image_id"])
    found = find_subject(str(run), group)
    assert [*found.images.values()] == [sum(row["group"] == group for row in rows)]


def test_a_finished_run_is_compared(run):
    text = vapray("compare", run, run)
    assert "The two runs are identical" in text
    assert "FID" in text


@pytest.mark.parametrize("table", ["prompt_bank", "audit_measurements", "reference_measurements"])
def test_a_renamed_table_is_found_in_its_old_folder(run, table):
    store = Store(str(run))
    (version,) = store.finished(table)
    assert version.folder == f"{RENAMED_TABLES[table]}/{version.fingerprint}"
    assert store.latest(table).parts
    assert store.version(table, version.fingerprint).manifest() == version.manifest()


def test_renamed_tables_are_inputs_of_a_finished_run_and_measured_images_of_its_checkpoint(run, checkpoint):
    finished = open_run(str(run))
    assert finished.versions["prompt_bank"].folder.startswith("bank/")
    inputs = {"images", "autoencoder", "prompt_bank", "latents", "initial weights"}
    assert finished.manifests["train"].inputs.keys() == inputs
    assert "caption captions file" in finished.outside
    assert not {key.partition(" ")[2] for key in finished.outside} & TABLES.keys()
    real = find_real_images(str(checkpoint), finished.class_names)
    assert [version.table for version in real.references] == ["reference_measurements"]


def test_every_setting_of_a_checkpoint_is_one_of_today(checkpoint):
    """The configuration that a 0.1.0 checkpoint holds loads with its values."""
    sampler = Sampler.load(str(checkpoint))
    assert sampler.config.model.width == 16
    assert sampler.config != load_config(None)
