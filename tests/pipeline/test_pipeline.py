"""The whole walk, as a user runs it: finished work is skipped, changed work is done again."""

import json
import re
import time

import pandas
import pytest
from PIL import Image

from tests.pipeline.conftest import STAGES, ran
from vapray.captioning.prompt_set import load_prompt_set
from vapray.config import Config
from vapray.sampling.provenance import read_provenance

METRICS = {
    "fid", "kid", "inception_score", "precision", "recall", "fid_untrained", "fid_class_mean", "fid_real_split",
    "label_accuracy", "caption_adherence", "caption_adherence_shuffled", "caption_adherence_ceiling", "n_real",
    "n_generated", "features", "stages",
}  # fmt: skip


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
    assert re.search(r"Generated − shuffled, 95 %.*?<td>-?\d+ to -?\d+\s%</td>", page, re.DOTALL)
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
        chunks = read_provenance(path.read_bytes())
        assert chunks["Caption"] == line["caption"]
        assert chunks["Training-Licences"] == line["training_licence"] == "CC0-1.0"
        assert line["training_source"] == f"vapray, trained on {chunks['Training-Sources']}"
    assert "licences of the training images: CC0-1.0 (" in (folder / "README.md").read_text()


def test_the_same_command_again_is_a_no_op_without_ray(small_run, job):
    began = time.monotonic()
    done = job("pipeline", root=small_run)
    assert ran(done) == []
    assert "[ray]" not in done.stdout
    assert time.monotonic() - began < 60


def test_a_changed_guidance_scale_reruns_sampling_and_evaluation_only(run_copy, joined_job):
    done = joined_job("pipeline", "sample.guidance_scale=1.25", root=run_copy)
    assert ran(done) == ["sample", "evaluate"]
    default = Config().sample.guidance_scale
    assert f"[sample] runs again: sample.guidance_scale: {default} -> 1.25" in done.stdout
    assert "measuring the real images" not in done.stdout
    assert len(list(run_copy.glob("reference_measurements/*"))) == 1
    metrics = json.loads((run_copy / "report" / "metrics.json").read_text())
    assert metrics["provenance"]["guidance_scale"] == 1.25
    back = joined_job("pipeline", root=run_copy)
    assert ran(back) == []
    metrics = json.loads((run_copy / "report" / "metrics.json").read_text())
    assert metrics["provenance"]["guidance_scale"] == default


def test_the_attribute_judge_checks_adherence_a_second_time(run_copy, joined_job):
    done = joined_job("pipeline", "evaluate.judge_steps=5", root=run_copy)
    assert ran(done) == ["evaluate"]
    metrics = json.loads((run_copy / "report" / "metrics.json").read_text())
    measured, judge = metrics["caption_adherence_attributes"], metrics["attribute_judge"]
    assert measured.keys() == judge["attributes"].keys() == {*load_prompt_set("dermoscopy").attributes}
    assert metrics["caption_adherence_real"] > metrics["caption_adherence_shuffled"]
    for judged in judge["attributes"].values():
        low, high = judged["excess"]
        assert low <= judged["value"] - judged["shuffled"] <= high
    accuracies = [judged["accuracy"] for judged in judge["attributes"].values()]
    assert judge["accuracy"] == pytest.approx(sum(accuracies) / len(accuracies))
    assert len(list(run_copy.glob("reference_measurements/*/files/judge.safetensors"))) == 1
    assert "by the attribute judge" in (run_copy / "report" / "index.html").read_text()
    again = joined_job("pipeline", "evaluate.judge_steps=5", "sample.guidance_scale=1.25", root=run_copy)
    assert ran(again) == ["sample", "evaluate"]
    assert "measuring the real images" not in again.stdout


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
def test_baselines_of_table_1_run_in_the_same_harness(run_copy, joined_job, baseline):
    class_only = ("model.condition=class", "model.prototypes.enabled=false")
    done = joined_job("pipeline", *class_only, *baseline, root=run_copy)
    assert ran(done) == ["train", "sample", "evaluate"]
    metrics = json.loads((run_copy / "report" / "metrics.json").read_text())
    assert metrics["fid"] is not None
    described = metrics["provenance"]
    assert "class only" in described["network"]
    assert described["forward_flops"] > 0
    page = (run_copy / "report" / "index.html").read_text()
    assert "M parameters" in page
    assert "GFLOP per network evaluation" in page
