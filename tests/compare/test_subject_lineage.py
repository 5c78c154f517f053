"""The lineage of a subject: exactly the versions that have its rows, or were trained on them or made with them."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.bad_inputs.refusal import DATA, refused
from vapray.cli.app import app
from vapray.compare.subject_lineage import find_subject
from vapray.data.origins import pseudonym
from vapray.store.run_store import Store
from vapray.store.tables import TABLES, build_part
from vapray.store.version import Version

Rows = list[dict[str, Any]]
SPLIT = {"a": "train", "b": "train", "c": "test", "d": "validation"}
SUBJECT = {"a": "p", "b": "q", "c": "r", "d": ""}


class Run:
    """Run whose tables hold the images a, b, c and d; a version's fingerprint is given."""

    def __init__(self, root: Path) -> None:
        self.root, self.store = str(root), Store(str(root))

    def write(self, name: str, rows: Rows, *inputs: str, sealed: bool = True) -> Version:
        """Write a version, by TABLE/FINGERPRINT, that was made from others."""
        table, _, fingerprint = name.partition("/")
        version = self.store.version(table, fingerprint)
        if table in TABLES:
            version.write_part(build_part(TABLES[table], rows))
        read = {one.partition("/")[0]: self._content(one) for one in inputs}
        if sealed:
            version.seal(stage=table, sections={}, inputs=read, seconds=1.0, versions={}, notes={})
        return version

    def find(self, subject: str) -> dict[str, tuple[int, int, tuple[str, ...]]]:
        """Versions that rest on a subject, with their rows, training images and inputs."""
        found = find_subject(self.root, subject).dependents
        return {one.version.folder: (one.rows, one.trained, one.made_with) for one in found}

    def _content(self, name: str) -> str:
        table, _, fingerprint = name.partition("/")
        return self.store.version(table, fingerprint).require_manifest().content_hash


def image_rows(ids: str = "abcd", **other: Any) -> Rows:
    return [
        {"image_id": one, "split": SPLIT[one], "group": one, "subject": SUBJECT[one], "path": f"/{one}.png"} | other
        for one in ids
    ]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two models of one table of images: ``with`` was trained on a and b, ``without`` on b alone."""
    made = Run(tmp_path / "run")
    made.write("images/i", image_rows())
    made.write("captions/c", image_rows(caption="x"), "images/i")
    latents = [row | {"key": f"{row['image_id']}/{mirror}"} for row in image_rows() for mirror in (0, 1)]
    made.write("latents/l", latents, "images/i")
    for name, ids in (("with", "abcd"), ("without", "bcd")):
        made.write(f"prompt_bank/{name}", image_rows(ids, caption="x"), "captions/c")
        made.write(f"checkpoints/{name}", [], "images/i", f"prompt_bank/{name}", "latents/l")
        drawn = [{"sample_id": f"generated-{number}", "source_image_id": one} for number, one in enumerate("bb")]
        made.write(f"samples/{name}", drawn, f"prompt_bank/{name}", f"checkpoints/{name}")
        keys = [{"key": f"sample/{row['sample_id']}"} for row in drawn]
        made.write(f"measurements/{name}", keys, "images/i", f"samples/{name}", f"checkpoints/{name}")
    return made


def test_a_training_subject_is_in_the_models_trained_on_it_and_in_what_they_made(run: Run) -> None:
    assert run.find("p") == {
        "images/i": (1, 0, ()),
        "captions/c": (1, 0, ()),
        "latents/l": (2, 0, ()),
        "prompt_bank/with": (1, 0, ()),
        "checkpoints/with": (0, 1, ()),
        "samples/with": (0, 0, ("checkpoints/with",)),
        "measurements/with": (0, 0, ("checkpoints/with", "samples/with")),
    }


def test_samples_rest_on_the_subjects_of_their_captions(run: Run) -> None:
    found = run.find("q")
    assert found["samples/without"] == (2, 0, ("checkpoints/without",))
    assert found["checkpoints/with"] == found["checkpoints/without"] == (0, 1, ())


def test_a_held_out_subject_is_in_no_model(run: Run) -> None:
    tables = {"images/i": 1, "captions/c": 1, "latents/l": 2, "prompt_bank/with": 1, "prompt_bank/without": 1}
    assert run.find("r") == {name: (rows, 0, ()) for name, rows in tables.items()}


def test_an_image_without_a_subject_is_found_by_its_id(run: Run) -> None:
    assert run.find("d")["images/i"] == (1, 0, ())


def test_the_same_id_in_other_images_is_another_image(run: Run) -> None:
    before = run.find("p")
    run.write("images/other", image_rows(subject="s", group="s"))
    run.write("captions/other", image_rows(caption="x"), "images/other")
    assert run.find("p") == before
    assert set(run.find("s")) == {"images/other", "captions/other"}


def test_a_model_passes_the_subject_on_to_tables_without_it(run: Run) -> None:
    run.write("autoencoder/x", [], "images/i")
    run.write("latents/x", [{"key": "b/0", "image_id": "b"}], "images/i", "autoencoder/x")
    found = run.find("p")
    assert found["autoencoder/x"] == (0, 1, ()) and found["latents/x"] == (0, 0, ("autoencoder/x",))


@pytest.mark.parametrize(
    ("table", "row", "is_of_a"),
    [
        ("reference_measurements", {"key": "image/a"}, True),
        ("reference_measurements", {"key": "reconstructed/a"}, True),
        ("reference_measurements", {"key": "planted/a/copied"}, True),
        ("reference_measurements", {"key": "class_mean/a"}, False),
        ("nearest_training", {"key": "sample/x", "pixel_neighbour": "image/a"}, True),
        ("nearest_training", {"key": "sample/x", "feature_neighbour": "image/a"}, True),
        ("nearest_training", {"key": "sample/a"}, False),
        ("latents", {"key": "a/1"}, True),
        ("latents", {"key": "a/b/1"}, False),
        ("captions", {"image_id": "a/b"}, False),
        ("audit_measurements", {"image_id": "a"}, True),
    ],
)
def test_keys_of_images(table: str, row: dict[str, str], is_of_a: bool, run: Run) -> None:
    run.write(f"{table}/x", [row], "images/i")
    assert (f"{table}/x" in run.find("p")) == is_of_a


def test_pages_rest_on_the_images_that_they_show(run: Run) -> None:
    run.write("audit_measurements/x", image_rows("b"), "images/i")
    run.write("audits/x", [], "audit_measurements/x")
    assert "audits/x" not in run.find("p")
    assert run.find("q")["audits/x"] == (0, 0, ("audit_measurements/x",))


def test_work_lists_and_interrupted_stages_count_too(run: Run) -> None:
    run.write("ingest_plan/i", image_rows(), sealed=False)
    run.write("captions/begun", image_rows("ab"), sealed=False)
    run.write("checkpoints/begun", [], sealed=False).files.write("checkpoints/begun/files/steps/x", b"x")
    found = find_subject(run.root, "p")
    unfinished = {one.version.folder: one.rows for one in found.dependents if not one.is_finished}
    assert unfinished == {"ingest_plan/i": 1, "captions/begun": 1}
    assert [version.folder for version in found.unclear] == ["checkpoints/begun"]


def test_what_the_run_no_longer_tells_is_unclear(run: Run) -> None:
    (part,) = Path(run.root, "prompt_bank/with/parts").iterdir()
    part.write_bytes(part.read_bytes()[:-9])
    Path(run.root, "captions/c/manifest.json").unlink()
    folders = [version.folder for version in find_subject(run.root, "p").unclear]
    assert {"prompt_bank/with", "checkpoints/with", "samples/with", "prompt_bank/without"} <= {*folders}


@pytest.mark.parametrize("name", ["12", pseudonym("patient", "12")])
@pytest.mark.parametrize("kept", ["12", pseudonym("patient", "12"), pseudonym("subject", "12")])
def test_a_hashed_subject_is_found_by_its_name(name: str, kept: str, tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write("images/i", image_rows("a", subject=kept))
    if name != "12" and kept != name:
        refused(DATA, lambda: run.find(name), f"no version of images has the subject {name}")
    else:
        assert run.find(name) == {"images/i": (1, 0, ())}


def test_nothing_to_find_is_an_error(run: Run, tmp_path: Path) -> None:
    refused(DATA, lambda: find_subject(run.root, "nobody"), "no version of images has the subject nobody. Fix:")
    refused(DATA, lambda: find_subject(str(tmp_path / "none"), "p"), "no finished version of images. Fix:")


def test_the_command_prints_versions_files_and_limits(run: Run) -> None:
    done = CliRunner().invoke(app, ["lineage", run.root, "--subject", "p"])
    assert done.exit_code == 0
    assert "images/i: 1 images of the subject" in done.output
    lines = {" ".join(line.split()) for line in done.output.splitlines()}
    assert lines >= {"checkpoints/with trained on 1 images of the subject", "samples/with made with checkpoints/with"}
    assert "/a.png" in done.output and "/b.png" not in done.output
    assert "Not searched:" in done.output and "exports" in done.output
