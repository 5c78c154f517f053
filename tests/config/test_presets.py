"""Packaged recipes lie below a file's settings and the command line's."""

import pytest
from typer.testing import CliRunner

from vapray.cli.app import app
from vapray.config import Config
from vapray.config.loader import PRESETS, load_config
from vapray.errors import ConfigError


def test_the_paper_is_the_defaults_of_every_setting() -> None:
    assert load_config(preset="paper") == load_config() == Config()


def test_the_modern_recipe_is_another_and_fits_together() -> None:
    modern = load_config(preset="modern")
    assert (modern.diffusion.path, modern.diffusion.prediction, modern.train.optimizer) == ("flow", "x", "muon")
    assert modern.data == Config().data and modern.caption == Config().caption


def test_a_file_names_its_preset_and_overrides_it(tmp_path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("preset: modern\ntrain: {steps: 7}\nmodel: {depth: 6}\n")
    config = load_config(file, ["model.width=96"])
    modern = load_config(preset="modern")
    assert config.train == modern.train.model_copy(update={"steps": 7})
    assert config.model == modern.model.model_copy(update={"depth": 6, "width": 96})
    assert load_config(file, preset="paper").diffusion == Config().diffusion


def test_an_unknown_preset_is_told_where_it_stands(tmp_path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("run: {seed: 1}\npreset: modren\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml, line 2: preset = modren: unknown\. Accepted: modern, paper\."):
        load_config(file)
    with pytest.raises(ConfigError, match=r"--preset: preset = best: unknown"):
        load_config(preset="best")


def test_a_value_of_the_preset_that_does_not_fit_is_told_as_the_presets(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"train\.optimizer = muon: .*fsdp"):
        load_config(None, ["train.sharding=fsdp"], preset="modern")


@pytest.mark.parametrize("preset", PRESETS)
def test_the_command_says_which_preset_it_uses(preset, tmp_path) -> None:
    words = ["demo", "--dry-run", f"run.root={tmp_path / 'run'}"]
    done = CliRunner().invoke(app, [*words, *([] if preset == "modern" else ["--preset", preset])])
    assert done.exit_code == 0, done.output
    assert f"Preset: {preset}." in done.output


def test_the_command_says_which_preset_a_file_names(tmp_path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"preset: modern\nrun: {{root: {tmp_path / 'run'}}}\n")
    done = CliRunner().invoke(app, ["run", "pipeline", "--config", str(file), "--dry-run"])
    assert done.exit_code == 0, done.output
    assert f"Preset: modern, named by {file}." in " ".join(done.output.split())
