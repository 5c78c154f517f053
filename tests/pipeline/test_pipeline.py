"""The whole walk, as a user runs it: finished work is skipped, changed work is done again, killed work goes on."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas
import pytest
from PIL import Image

from tests.conftest import ROOT, SMALL
from vapray.config import Config
from vapray.sampling.provenance import read_provenance

METRICS = {
    "fid", "kid", "inception_score", "precision", "recall", "fid_untrained", "fid_class_mean", "fid_real_split",
    "label_accuracy", "caption_adherence", "caption_adherence_shuffled", "caption_adherence_ceiling", "n_real",
    "n_generated", "features", "stages",
}  # fmt: skip
LONGER = ("train.steps=160", "train.validate_every=80", "train.workers=1")
STAGES = [
    "ingest",
    "caption",
    "caption_audit_sample",
    "audit",
    "bank",
    "autoencoder",
    "encode",
    "train",
    "sample",
    "evaluate",
]


@pytest.fixture
def run_copy(small_run, tmp_path) -> Path:
    root = tmp_path / "run"
    shutil.copytree(small_run, root)
    return root


def ran(done) -> list[str]:
    """The stages that did work."""
    assert done.returncode == 0, done.stdout + done.stderr
    return [stage for stage in STAGES if f"[{stage}] unchanged" not in done.stdout]


def test_every_stage_left_its_table(small_run):
    for table in ("images", "captions", "prompt_bank", "latents", "samples", "reference_measurements", "measurements"):
        parts = list((small_run / table).glob("*/parts/*.parquet"))
        frame = pandas.concat(pandas.read_parquet(part) for part in parts)
        assert len(frame)
        assert frame["reject"].isna().all(), frame["reject"].dropna().tolist()


def test_the_metrics_keep_their_contract(small_run):
    metrics = json.loads((small_run / "report" / "metrics.json").read_text())
    assert metrics.keys() >= METRICS
    assert list(metrics["stages"]) == STAGES
    for stage in metrics["stages"].values():
        assert stage.keys() == {"seconds", "rows", "rows_per_second"}
        assert stage["rows"] > 0
    assert metrics["n_generated"] == 20
    assert "no semantics" in metrics["features"]


def test_the_report_stands_alone_and_warns(small_run):
    page = (small_run / "report" / "index.html").read_text()
    assert "Not for clinical use" in page
    assert "<script" not in page
    loaded = re.findall(r"""(?:src|href|action)\s*=\s*["']?([^"'\s>]+)|url\(["']?([^"')]+)|@import""", page)
    assert loaded, "pictures and anchors"
    targets = {"".join(target) for target in loaded}
    assert all(target.startswith(("data:", "#")) for target in targets - {"../audit/index.html"})


def test_the_audit_of_the_captions_lies_beside_the_report(small_run):
    found = json.loads((small_run / "audit" / "audit.json").read_text())
    assert found["reference"] == "truth"
    assert found["findings"]["captions"] == found["captions"] == 90
    for link in re.findall(r'href="([^"]+)"', (small_run / "audit" / "index.html").read_text()):
        assert (small_run / "audit" / link).is_file()
    assert 'href="../audit/index.html"' in (small_run / "report" / "index.html").read_text()


def test_samples_are_an_image_folder_with_provenance(small_run):
    folder = next((small_run / "samples").glob("*/files/images/generated"))
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    assert len(lines) == 20
    for line in lines:
        path = folder / line["file_name"]
        assert path.parent.name == line["class"]
        with Image.open(path) as picture:
            assert picture.size == (32, 32)
        assert read_provenance(path.read_bytes())["Caption"] == line["caption"]


def test_the_same_command_again_is_a_no_op_without_ray(small_run, job):
    began = time.monotonic()
    done = job("pipeline", root=small_run)
    assert ran(done) == []
    assert "[ray]" not in done.stdout
    assert time.monotonic() - began < 60


def test_a_changed_guidance_scale_reruns_sampling_and_evaluation_only(run_copy, job):
    done = job("pipeline", "sample.guidance_scale=1.25", root=run_copy)
    assert ran(done) == ["sample", "evaluate"]
    default = Config().sample.guidance_scale
    assert f"[sample] runs again: sample.guidance_scale: {default} -> 1.25" in done.stdout
    assert "measuring the real images" not in done.stdout
    assert len(list(run_copy.glob("reference_measurements/*"))) == 1
    metrics = json.loads((run_copy / "report" / "metrics.json").read_text())
    assert metrics["provenance"]["guidance_scale"] == 1.25
    back = job("pipeline", root=run_copy)
    assert ran(back) == []
    metrics = json.loads((run_copy / "report" / "metrics.json").read_text())
    assert metrics["provenance"]["guidance_scale"] == default


def test_a_stage_without_its_inputs_says_what_to_run_first(tmp_path, job):
    done = job("bank", root=tmp_path / "empty")
    assert done.returncode == 3
    assert "Fix: run `python -m jobs.caption`" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_key_ends_with_code_2_and_no_traceback(tmp_path, job):
    done = job("pipeline", "sample.guidance_scle=2", root=tmp_path / "run")
    assert done.returncode == 2
    assert done.stderr.strip().endswith("unknown key sample.guidance_scle. Did you mean guidance_scale?")


def test_a_missing_dataset_ends_with_code_3(tmp_path, job):
    done = job("ingest", "data.source=isic2018", f"data.root={tmp_path / 'gone'}", root=tmp_path / "run")
    assert done.returncode == 3
    assert str(tmp_path / "gone") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stage_that_was_cut_off_does_only_the_rest(run_copy, job):
    """Half of the caption parts are gone, and so is the manifest, as after a kill."""
    version = next(path for path in (run_copy / "captions").iterdir())
    before = table_of(version)
    (version / "manifest.json").unlink()
    lost, *kept = sorted((version / "parts").iterdir())
    lost.unlink()
    times = {part: part.stat().st_mtime_ns for part in kept}
    done = job("caption", root=run_copy)
    assert done.returncode == 0, done.stderr
    assert "rows already done" in done.stdout
    assert {part: part.stat().st_mtime_ns for part in kept} == times
    assert table_of(version) == before


def test_too_many_bad_pictures_end_with_code_6_and_a_count(tmp_path, job):
    """So do pictures that vanish after ingest, with the error of the actor that misses them as it is."""
    folder, root = tmp_path / "photos" / "a", tmp_path / "run"
    folder.mkdir(parents=True)
    for number in range(8):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(folder / f"{number}.png")
    (folder / "half.jpg").write_bytes(b"<html>not a picture</html>")
    settings = ("data.source=folder", f"data.root={folder.parent}")
    done = job("ingest", *settings, root=root)
    assert done.returncode == 6, done.stdout + done.stderr
    assert "1 of 9 rows were rejected" in done.stderr
    assert "First: a/half." in done.stderr
    done = job("ingest", *settings, "run.max_reject_fraction=0.2", root=root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 rows" in done.stdout
    assert "1 rejects" in done.stdout
    for picture in folder.iterdir():
        _empty(picture)
    done = job("caption", *settings, "run.max_reject_fraction=0.2", root=root)
    assert done.returncode == 6, done.stdout + done.stderr
    assert "8 of 8 rows were rejected" in done.stderr
    assert "Traceback" not in done.stderr


def _empty(picture: Path) -> None:
    """Overwrite files at the same size and time, since ingest would run again for others."""
    before = picture.stat()
    picture.write_bytes(bytes(before.st_size))
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns))


def table_of(version: Path) -> list[dict[str, object]]:
    frame = pandas.concat(pandas.read_parquet(part) for part in (version / "parts").iterdir())
    return frame.sort_values("image_id").to_dict("records")


def start(root: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jobs.pipeline", f"run.root={root}", *SMALL, *LONGER, *overrides]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_more(path: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    deadline, before = time.monotonic() + 240, set(path.glob(pattern))
    while not set(path.glob(pattern)) - before:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_interrupted_in_training_the_same_command_continues(run_copy, job):
    """Ctrl-C after the first checkpoint; then the identical command ends with what an unbroken run ends with."""
    process = start(run_copy)
    wait_for_more(run_copy, "checkpoints/*/files/steps/step-*/manifest.json", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues" in errors
    assert "Traceback" not in errors
    unfinished = [path for path in (run_copy / "checkpoints").iterdir() if not (path / "manifest.json").exists()]
    assert len(unfinished) == 1
    newest = max((unfinished[0] / "files" / "steps").glob("step-*/manifest.json")).parent
    saved = json.loads((newest / "state.json").read_text())["curve"]
    done = job("pipeline", *LONGER, root=run_copy)
    assert ran(done) == ["train", "sample", "evaluate"]
    curve = json.loads((unfinished[0] / "manifest.json").read_text())["notes"]["curve"]
    assert [point["step"] for point in curve] == list(range(2, 161, 2))
    assert 0 < len(saved) < len(curve)
    assert curve[: len(saved)] == saved  # the speeds too: what was trained was not trained again


def test_sigterm_ends_with_143_also_while_the_driver_waits_inside_of_ray(run_copy):
    shutil.rmtree(run_copy / "autoencoder")
    process = start(run_copy, "autoencoder.steps=100000")
    for line in process.stdout:
        if "[autoencoder]" in line and "100,000" in line:
            break
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors == "Terminated. Committed work is kept; the same command continues from there.\n"


def test_a_damaged_autoencoder_is_told_as_it_is(run_copy, job):
    """What an actor meets while it opens its model, too, comes back with its own type and code."""
    shutil.rmtree(run_copy / "latents")
    weights = next((run_copy / "autoencoder").glob("*/files/autoencoder/*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    done = job("encode", root=run_copy)
    assert done.returncode == 4, done.stdout + done.stderr
    assert weights.name in done.stderr
    assert "sha256" in done.stderr
    assert "Traceback" not in done.stderr


def test_more_workers_than_the_cluster_has_is_refused_at_once(run_copy, job):
    done = job("train", "train.workers=64", "train.batch_size=64", root=run_copy)
    assert done.returncode == 5
    assert "train.workers 64 needs 64 CPUs and the cluster has" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "baseline",
    [("model.network=dit",), ("model.network=unet", "train.cbdm_weight=0.001")],
    ids=["DiT", "U-Net with class balancing"],
)
def test_baselines_of_table_1_run_in_the_same_harness(run_copy, job, baseline):
    class_only = ("model.condition=class", "model.prototypes.enabled=false")
    done = job("pipeline", *class_only, *baseline, "train.workers=1", root=run_copy)
    assert ran(done) == ["train", "sample", "evaluate"]
    metrics = json.loads((run_copy / "report" / "metrics.json").read_text())
    assert metrics["fid"] is not None
    described = metrics["provenance"]
    assert "class only" in described["network"]
    assert described["forward_flops"] > 0
    page = (run_copy / "report" / "index.html").read_text()
    assert "M parameters" in page
    assert "GFLOP per network evaluation" in page
