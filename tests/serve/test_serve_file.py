"""Serve config files: those of the project are sound, and what Serve would pass over is refused."""

from pathlib import Path

import pytest
import yaml

from serve.settings import ServiceSettings
from tests.conftest import ROOT
from vapray.errors import ConfigError
from vapray.service.serve_config import read_serve_config

FILES = sorted((ROOT / "serve").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_projects_files_hold_a_service(path):
    file = read_serve_config(str(path))
    service = ServiceSettings.model_validate(file.args)
    assert file.import_path == "serve.app:build"
    assert service.api_keys_file or file.host == "127.0.0.1"


def altered(tmp_path: Path, change) -> str:
    tree = yaml.safe_load((ROOT / "serve/laptop.yaml").read_text())
    change(tree)
    path = tmp_path / "service.yaml"
    path.write_text(yaml.safe_dump(tree))
    return str(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: tree.update(http_option={}), "unknown key http_option. Did you mean http_options?"),
        (lambda tree: tree["http_options"].update(prot=1), "unknown key http_options.prot"),
        (lambda tree: tree["applications"][0].update(arg={}), "Did you mean args?"),
        (
            lambda tree: tree["applications"][0].update(deployments=[{"name": "ingress", "num_replica": 2}]),
            "Did you mean num_replicas?",
        ),
        (lambda tree: tree.update(applications=[]), "expected a list of one application"),
        (lambda tree: tree["http_options"].update(port="many"), "http_options.port"),
        (
            lambda tree: tree["applications"][0].update(deployments=[{"name": "d", "autoscaling_config": 5}]),
            "deployments.0.autoscaling_config = 5: expected keys below it",
        ),
    ],
)
def test_what_serve_would_pass_over_is_refused(tmp_path, change, said):
    with pytest.raises(ConfigError, match=said.replace(".", r"\.").replace("?", r"\?")):
        read_serve_config(altered(tmp_path, change))


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        read_serve_config("nowhere.yaml")


def test_a_command_line_wins_over_the_file():
    file = read_serve_config(str(ROOT / "serve/laptop.yaml"))
    given = file.with_overrides([{"name": "a", "checkpoint": "b"}], "keys.yaml", None, 9000)
    aliases = ["dall-e-2", "dall-e-3", "gpt-image-1"]
    assert given.args["models"] == [{"aliases": aliases, "name": "a", "checkpoint": "b"}]
    assert (given.args["api_keys_file"], given.host, given.port) == ("keys.yaml", "127.0.0.1", 9000)
    assert file.port == 8000 and "api_keys_file" not in file.args


def test_names_of_a_command_line_win_over_the_aliases_of_the_file():
    file = read_serve_config(str(ROOT / "serve/laptop.yaml"))
    models = [{"name": "a", "checkpoint": "b"}, {"name": "dall-e-3", "checkpoint": "c"}]
    first, second = file.with_overrides(models, None, None, None).args["models"]
    assert first["aliases"] == ["dall-e-2", "gpt-image-1"] and second == models[1]
