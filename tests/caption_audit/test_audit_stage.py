"""The audit as a user runs it: what was put wrong into captions is what it finds, and ratings come back."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import PHANTOMS
from vapray.captioning.prompt_set import load_prompt_set
from vapray.data.phantom.layout import read_attributes

DERMOSCOPY = load_prompt_set("dermoscopy")
SHAPES = DERMOSCOPY.attributes["shape"].values


@pytest.fixture(scope="module")
def audited(small_run: Path, joined_job, tmp_path_factory) -> tuple[Path, set[str], list[str]]:
    """A run over true captions of which every fifth names another shape; which these are; its overrides."""
    root = tmp_path_factory.mktemp("audited") / "run"
    shutil.copytree(small_run / "images", root / "images")
    truth = read_attributes(next(PHANTOMS.iterdir()))
    wrong = set(sorted(truth)[::5])
    file = root / "captions.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["image_id", "caption"])
        for image, known in truth.items():
            shape = known["shape"]
            if image in wrong:
                shape = SHAPES[(SHAPES.index(shape) + 1) % len(SHAPES)]
            writer.writerow([image, f"A {shape} lesion of about {round(100 * known['size'])}% of the image."])
    overrides = ["caption.captioner=precomputed", f"caption.captions_file={file}"]
    for stage in ("caption", "audit"):
        done = joined_job(stage, *overrides, root=root)
        assert done.returncode == 0, done.stdout + done.stderr
    return root, wrong, overrides


def read(root: Path) -> dict:
    return json.loads((root / "audit" / "audit.json").read_text())


def test_what_was_put_wrong_is_what_is_found(audited) -> None:
    root, wrong, _ = audited
    found = {one["name"]: one for one in read(root)["findings"]["attributes"]}
    shape, size = found["shape"]["contradicted"], found["size"]["contradicted"]
    assert (shape["value"], shape["count"]) == (pytest.approx(len(wrong) / 90), 90)
    assert size["value"] == 0
    assert found["shape"]["by_chance"] > 0.4
    assert found["texture"]["mentioned"]["value"] == 0
    assert {one["image_id"] for one in read(root)["findings"]["worst"]} <= wrong
    page = (root / "audit" / "index.html").read_text()
    assert "20\u00a0% of the statements" not in page  # shapes and sizes together: half of that
    assert "10\u00a0% of the statements contradict their image" in page


def test_ratings_change_the_audit_in_seconds_and_nothing_else(audited, joined_job, tmp_path: Path) -> None:
    root, wrong, overrides = audited
    sheet = (root / "audit" / "rating_sheet.html").read_text()
    rated = [part.split('"')[:3:2] for part in sheet.split('data-image="')[1:]]
    assert len(rated) == 3
    verdicts = [
        {"image_id": image, "caption_key": key, "verdicts": {"shape": "wrong" if image in wrong else "right"}}
        for image, key in rated
    ]
    file = tmp_path / "ratings.json"
    file.write_text(json.dumps({"vapray_ratings": 1, "rater": "AB", "ratings": verdicts}))
    done = joined_job("audit", *overrides, f"caption_audit.ratings=[{file}]", root=root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[caption_audit_sample] unchanged" in done.stdout
    assert "[ray]" not in done.stdout
    assert read(root)["experts"]["raters"] == {"AB": 3}
    assert read(root)["experts"]["overall"]["value"] == len({image for image, _ in rated} & wrong) / 3


def test_other_runs_captions_are_audited_beside_these(audited, small_run: Path, joined_job) -> None:
    root, _, overrides = audited
    done = joined_job("audit", *overrides, f"caption_audit.others=[{small_run}]", root=root)
    assert done.returncode == 0, done.stdout + done.stderr
    (other,) = read(root)["others"]
    assert (other["model"], other["findings"]["captions"]) == ("measured", 90)
    assert 0 < other["agreement"]["overall"] < 1
    refused = joined_job("audit", *overrides, f"caption_audit.others=[{root}/nothing]", root=root)
    assert refused.returncode == 3
    assert "no finished captions" in refused.stderr
