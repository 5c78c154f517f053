"""The YAML files that ship with the jobs."""

from pathlib import Path

import pytest

from vapray.cli.app import DEFAULT_PRESET
from vapray.config import Config
from vapray.config.loader import load_config

CONFIGS = sorted((Path(__file__).parents[2] / "jobs" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_loads_and_opens_with_what_to_expect(path):
    assert isinstance(load_config(path), Config)
    opening = path.read_text().split("\n\n")[0]
    assert all(line.startswith("#") for line in opening.splitlines())
    assert all(word in opening for word in ("Command:", "Hardware:", "Duration:", "Expected:"))


def test_the_demo_is_what_the_command_runs_without_a_file():
    assert load_config(next(path for path in CONFIGS if path.stem == "demo")) == load_config(preset=DEFAULT_PRESET)
