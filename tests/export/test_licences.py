"""A model leaves with the licences of its training images, and with unknown ones only where that is accepted."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.export.checkpoints import make_checkpoint
from vapray.cli.app import app
from vapray.data.origins import OriginSummary
from vapray.sampling.provenance import read_provenance
from vapray.sampling.sampler import Sampler

KNOWN = OriginSummary({"MIT": 6, "CC0-1.0": 3}, {"ward 7": 9}, 4)
UNKNOWN = {
    "of a part": (OriginSummary({"MIT": 6, "": 3}, {"ward 7": 9}, 4), "MIT (6), unknown (3)"),
    "of all": (OriginSummary({"": 9}, {"": 9}), "unknown (9)"),
    "not recorded": (OriginSummary(), "unknown"),
}


def export(checkpoint: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(
        app, ["export", str(checkpoint), str(checkpoint.parent / "model"), "--accept-unaudited", *words]
    )
    return done.exit_code, done.output


def card_of(checkpoint: Path) -> str:
    return (checkpoint.parent / "model" / "README.md").read_text()


def test_known_licences_are_printed_and_on_the_card(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path, "class", KNOWN)
    code, said = export(checkpoint)
    assert code == 0 and "licences of the training images: CC0-1.0 (3), MIT (6)\n" in said
    assert "| licences of the training images | CC0-1.0, MIT |" in card_of(checkpoint)
    assert "| sources of the training images | ward 7 |\n| known subjects | 4 |" in card_of(checkpoint)
    assert "--accept-unknown-licences" not in card_of(checkpoint)


@pytest.mark.parametrize(("origins", "named"), UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_licences_are_refused_unless_they_are_accepted(
    origins: OriginSummary, named: str, tmp_path: Path
) -> None:
    checkpoint = make_checkpoint(tmp_path, "class", origins)
    code, said = export(checkpoint)
    assert code == 3 and not (tmp_path / "model" / "README.md").exists()
    assert f"licences of the training images: {named};" in said and "--accept-unknown-licences" in said
    assert export(checkpoint, "--accept-unknown-licences")[0] == 0
    assert "* **Exported with `--accept-unknown-licences`.**" in card_of(checkpoint)


def test_a_generated_image_names_the_licences_and_the_sources(tmp_path: Path) -> None:
    sampler = Sampler.load(str(make_checkpoint(tmp_path, "class", KNOWN)))
    chunks = read_provenance(sampler.generate(0)[0].to_png())
    assert (chunks["Training-Licences"], chunks["Training-Sources"]) == ("CC0-1.0, MIT", "ward 7")
