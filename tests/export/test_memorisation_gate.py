"""A model leaves only with a passed audit for copies, or with a card that says it has none."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.export.checkpoints import make_checkpoint
from vapray.cli.app import app
from vapray.errors import DataError
from vapray.export.folder import export_checkpoint
from vapray.store.checkpoint import manifest_sha256
from vapray.store.files import FileStore
from vapray.store.run_store import Store

REPORT = "files/report/memorisation.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("made"), "class")


@pytest.fixture
def checkpoint(made: Path, tmp_path: Path) -> Path:
    """As in a run that has not been evaluated."""
    return Path(shutil.copytree(made, tmp_path / "run" / "checkpoints" / "0123456789ab" / "files" / "final"))


def evaluate(checkpoint: Path, verdict: str, **other: Any) -> None:
    """Leave what an evaluation leaves; one after the other they are newer."""
    store = Store(str(checkpoint.parents[3]))
    version = store.version("measurements", f"{len(store.files.names('measurements')):012d}")
    origin = {"checkpoint_sha256": manifest_sha256(FileStore(str(checkpoint)), ""), "weights": "ema"}
    card = {"verdict": verdict, "why": f"Because {verdict}."} | origin | other
    version.files.write(f"{version.folder}/{REPORT}", json.dumps(card).encode())
    version.seal(stage="evaluate", sections={}, inputs={}, seconds=1.0, versions={}, notes={})


def card_of(checkpoint: Path, **options: Any) -> str:
    target = checkpoint.parents[4] / "model"
    export_checkpoint(str(checkpoint), str(target), **options)
    return (target / "README.md").read_text()


def test_a_passed_audit_lets_it_go_and_stands_on_the_card(checkpoint: Path) -> None:
    evaluate(checkpoint, "none found")
    card = card_of(checkpoint)
    assert "* Audit for copies of training pictures: none found. Because none found." in card
    assert "accept-unaudited" not in card


@pytest.mark.parametrize(
    ("audits", "said"),
    [
        ([], "No audit for copies of training pictures speaks of this model."),
        ([("copies found", {})], "copies found. Because copies found."),
        ([("cannot tell", {})], "cannot tell. Because cannot tell."),
        ([("copies found", {}), ("none found", {})], "copies found."),
        ([("none found", {"weights": "raw"})], "speaks of the ema weights; those audited are raw"),
        ([("none found", {"checkpoint_sha256": "0" * 64})], "speaks of this model"),
        ([("none found", {"why": None})], "speaks of this model"),
    ],
)
def test_anything_else_is_refused_unless_it_is_accepted(
    audits: list[tuple[str, dict[str, Any]]], said: str, checkpoint: Path
) -> None:
    for verdict, other in audits:
        evaluate(checkpoint, verdict, **other)
    with pytest.raises(DataError, match=r"Run `python -m jobs\.evaluate` with the config of its run") as refused:
        card_of(checkpoint)
    assert said in str(refused.value)
    assert not (checkpoint.parents[4] / "model").exists()
    card = card_of(checkpoint, accept_unaudited=True)
    assert "* **Exported with `--accept-unaudited`.**" in card and said in card


def test_one_passed_audit_is_enough_where_another_cannot_tell(checkpoint: Path) -> None:
    evaluate(checkpoint, "none found")
    evaluate(checkpoint, "cannot tell")
    assert "none found" in card_of(checkpoint)


def test_other_weights_than_the_audited_ones_are_refused(checkpoint: Path) -> None:
    evaluate(checkpoint, "none found")
    with pytest.raises(DataError, match="speaks of the raw weights; those audited are ema"):
        card_of(checkpoint, weights="raw")


def test_a_damaged_audit_says_nothing(checkpoint: Path) -> None:
    evaluate(checkpoint, "none found")
    (file,) = checkpoint.parents[3].glob(f"measurements/*/{REPORT}")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match="No audit"):
        card_of(checkpoint)


def test_a_checkpoint_outside_of_a_run_is_refused_by_the_command(made: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", str(made), str(tmp_path / "model")])
    assert done.exit_code == 3
    assert "--accept-unaudited" in done.output and "RUN/checkpoints/FINGERPRINT/files/final" in done.output
    assert not (tmp_path / "model").exists()
