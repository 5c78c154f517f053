"""The reference pages, made from the code, are complete; Sphinx is not needed to make them."""

import importlib

import pytest
import typer.main

from tests.conftest import ROOT
from vapray.cli.app import app
from vapray.config import Config
from vapray.config.dotted import leaves
from vapray.errors import VaprayError
from vapray.evaluation.metric_specs import METRIC_SPECS
from vapray.pipeline.stages import STAGES
from vapray.store.tables import TABLES


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_site"))
    return lambda name: importlib.import_module(f"generated.{name}").markdown()


def test_every_setting_has_its_key_default_and_help(page):
    text = page("settings")
    for section, values in Config().model_dump(mode="json").items():
        for key, _ in leaves(section, values):
            assert f"`{key}` — " in text
    assert "`train.steps` — integer ≥ 1, default `1250`, preset modern `1800`\n: " in text
    assert "`limits.body_mib` — number > 0, default `8`\n: " in text
    assert "\n: None" not in text


def test_every_command_and_option_is_listed(page):
    text = page("cli")
    for name, command in typer.main.get_command(app).commands.items():
        assert (f"\n## vapray {name}\n" in text) is not command.hidden
        for option in command.params if not command.hidden else ():
            assert option.hidden or option.param_type_name == "argument" or f"`{option.opts[0]}`" in text


def test_every_route_field_and_object_is_listed(page):
    text = page("http_api")
    assert "## POST /v1/images/generations\n" in text and "### ImageGenerationRequest\n" in text
    assert "`guidance_scale` — " in text or "`guidance_scale`\n" in text
    assert "| 429 |" in text


def test_tables_metrics_and_exit_codes_are_complete(page):
    text = page("tables") + page("metrics") + page("exit_codes")
    names = [*TABLES, *(stage.name for stage in STAGES), *(metric.key for metric in METRIC_SPECS)]
    assert [name for name in names if f"`{name}`" not in text] == []
    assert all(f"`{kind.__name__}`" in text for kind in VaprayError.__subclasses__())


def test_the_public_names_of_vapray_are_documented(page):
    import vapray

    text = page("python")
    names = [name for name in vapray.__all__ if name != "__version__"]
    assert [name for name in names if f"## vapray.{name}\n" not in text] == []
